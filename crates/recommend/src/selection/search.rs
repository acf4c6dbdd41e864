//! A search for the algorithm, or the parameters of one, that do best on pairs that are kept apart,
//! by successive halving (Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and
//! Hyperparameter Optimization", AISTATS 2016): all are tried with a sample of the users, the best
//! third of them with more, and the best of those with all.

use serde_json::{Map, Value, json};
use teller_numeric::{Control, OptionError, Options};
use teller_payload::SharedBytes;

use super::space;
use super::split::{Parted, Sample, Split};
use super::stages::{Stage, Stages, Telling};
use super::takes;
use super::validated::{key, measure, nothing, validation_memory};
use crate::algorithm::{self, Algorithm, Size, Takes};
use crate::{Dataset, Error, FittedRecommender};

/// Grows whenever the checkpoint's arrays change their meaning.
const REVISION: u32 = 2;
/// Of so many that are tried, one is tried again with so many times the users.
const THIRD: usize = 3;
/// A round has so many users at least, or all: of the 105 to 630 in a ninth or a third of MovieLens 100K
/// and Last.FM, the choice was up to 8 % worse than of all.
const LEAST_USERS: f64 = 2_000.0;
/// Of the pairs, where none is said.
const SHARE: f64 = 0.1;

/// Names and values.
type Figures = Vec<(String, f64)>;

/// Several candidates, the best of which is trained on all data.
#[derive(Debug)]
pub(crate) struct Search {
    split: Split,
    metric: &'static str,
    candidates: Vec<Candidate>,
}

#[derive(Debug)]
struct Candidate {
    options: Value,
    algorithm: Box<dyn Algorithm>,
}

impl Candidate {
    fn read(options: Value) -> Result<Self, OptionError> {
        let mut given = Options::new("a trial", &options)?;
        let algorithm = algorithm::read(&mut given)?;
        given.finish()?;
        Ok(Self { options, algorithm })
    }
}

impl Search {
    /// Reads `tune`: which parameters of the algorithm of `options` are tried.
    pub(crate) fn tune(
        options: &mut Options<'_>,
        tune: &Value,
        share: f64,
    ) -> Result<Self, OptionError> {
        let seed = algorithm::read(options)?.seed().unwrap_or(42);
        let all = Value::Object(options.given().clone());
        let mut known = Options::new("recommendation", &all)?;
        algorithm::read(&mut known)?;
        let known = known.known();
        let own = options.given().iter().filter(|(name, _)| known.contains(&name.as_str()));
        let own: Map<String, Value> =
            own.map(|(name, value)| (name.clone(), value.clone())).collect();
        let mut tune = Options::new("tune", tune)?;
        let metrics = ["ndcg@10", "recall@10", "map@10", "mrr@10"].map(|name| (name, name));
        let metric = tune.choice("metric", &metrics)?;
        let candidate = |changed: Map<String, Value>| {
            let mut options = own.clone();
            options.extend(changed);
            Candidate::read(Value::Object(options))
        };
        let space = space::read(&mut tune, seed)?;
        tune.finish()?;
        let candidates = space.into_iter().map(candidate).collect::<Result<_, OptionError>>()?;
        Ok(Self { split: split(share), metric, candidates })
    }

    /// The families of algorithms, each as it does best on most data.
    pub(crate) fn automatic(options: &mut Options<'_>, share: f64) -> Result<Self, OptionError> {
        let seed = options.integer("seed", 42, 0..=i64::MAX)?;
        let mut candidates = vec![
            json!({"algorithm": "popular"}),
            json!({"algorithm": "item_knn"}),
            json!({"algorithm": "item_knn", "similarity": "cosine"}),
            json!({"algorithm": "svd", "seed": seed}),
            json!({"algorithm": "ease"}),
            json!({"algorithm": "als", "factors": 32, "seed": seed}),
            json!({"algorithm": "als", "factors": 64, "seed": seed}),
            json!({"algorithm": "als", "factors": 64, "alpha": 30, "seed": seed}),
        ];
        if options.given().get("items").is_some_and(|items| !items.is_null()) {
            candidates.push(json!({"algorithm": "content", "seed": seed}));
        }
        if options.given().get("graph").is_some_and(|graph| !graph.is_null()) {
            candidates.push(json!({"algorithm": "knowledge_graph", "seed": seed}));
        }
        let candidates = candidates.into_iter().map(Candidate::read);
        let candidates = candidates.collect::<Result<_, OptionError>>()?;
        Ok(Self { split: split(share), metric: "ndcg@10", candidates })
    }

    /// With other candidates.
    fn with(&self, candidates: Vec<Candidate>) -> Box<dyn Algorithm> {
        Box::new(Self { split: self.split.clone(), metric: self.metric, candidates })
    }

    fn rounds(&self, parted: &Parted) -> Vec<(usize, f64)> {
        rounds(self.candidates.len(), parted.training.interactions.users().len())
    }

    /// Tries the candidates: which one is the best, its figures, and what was tried.
    fn choose(
        &self,
        parted: &Parted,
        stages: &mut Stages<'_>,
        control: &dyn Control,
    ) -> Result<(usize, Figures, Vec<Value>), Error> {
        let rounds = self.rounds(parted);
        let mut left: usize = rounds.iter().map(|&(tried, _)| tried).sum();
        let mut alive: Vec<usize> = (0..self.candidates.len()).collect();
        let mut trials = Vec::new();
        let mut best = (0, Vec::new());
        for (tried, share) in rounds {
            alive.truncate(tried);
            let sample = sample(parted, share, control)?;
            let parted = sample.as_ref().unwrap_or(parted);
            let rows = parted.training.interactions.len() as u64;
            let mut round: Vec<(usize, f64, Figures)> = Vec::new();
            for &at in &alive {
                let Candidate { options, algorithm } = &self.candidates[at];
                let telling = Telling::One(left as u32);
                let stage = stages.run(telling, Some(self.metric), rows, |resume, control| {
                    let figures = match measure(&**algorithm, parted, resume, control) {
                        Ok((_, figures)) => figures,
                        // The others may still be good.
                        Err(Error::Diverged { .. } | Error::NoRows(_)) => {
                            vec![(self.metric.to_owned(), 0.0)]
                        }
                        Err(error) => return Err(error),
                    };
                    Ok(Stage { figures, parts: Vec::new() })
                })?;
                left -= 1;
                let value = stage.figure(self.metric).unwrap_or_default();
                let step = trials.len() + 1;
                trials.push(json!({
                    "step": step, "options": options, "interactions": rows, self.metric: value,
                }));
                round.push((at, value, stage.figures));
            }
            // Of equal ones the first.
            round.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            alive = round.iter().map(|&(at, ..)| at).collect();
            if let Some((at, _, figures)) = round.into_iter().next() {
                best = (at, figures);
            }
        }
        Ok((best.0, best.1, trials))
    }
}

fn split(share: f64) -> Split {
    Split { share: if share == 0.0 { SHARE } else { share } }
}

/// How many candidates are tried with which share of so many users, one after the other.
fn rounds(candidates: usize, users: usize) -> Vec<(usize, f64)> {
    let mut rounds = vec![candidates];
    while rounds.len() < THIRD && rounds[rounds.len() - 1] > THIRD {
        rounds.push(rounds[rounds.len() - 1].div_ceil(THIRD));
    }
    let last = rounds.len() - 1;
    let least = LEAST_USERS / users.max(1) as f64;
    let share = |round: usize| (1.0 / THIRD.pow((last - round) as u32) as f64).max(least).min(1.0);
    let rounds = rounds.into_iter().enumerate().map(|(round, tried)| (tried, share(round)));
    let mut rounds: Vec<(usize, f64)> = rounds.collect();
    // The same users would say the same again.
    rounds.dedup_by_key(|&mut (_, share)| share);
    rounds
}

/// A share of the users, on both sides; nothing for all, or where none would be left.
fn sample(parted: &Parted, share: f64, control: &dyn Control) -> Result<Option<Parted>, Error> {
    if share >= 1.0 {
        return Ok(None);
    }
    let sample = Sample { share, salt: 2 };
    let Parted { training, held_out } = parted;
    let some = training.subset(|user, _| sample.has(&training.interactions, user), control)?;
    let held = held_out.subset(|user, _| sample.has(held_out, user), false, control)?;
    Ok(some.zip(held).map(|(training, held_out)| Parted { training, held_out }))
}

impl Algorithm for Search {
    fn name(&self) -> &'static str {
        self.candidates.first().map_or("auto", |candidate| candidate.algorithm.name())
    }

    fn takes(&self) -> Takes {
        takes(self.candidates.iter().map(|candidate| candidate.algorithm.takes()))
    }

    fn seed(&self) -> Option<u64> {
        self.candidates.iter().find_map(|candidate| candidate.algorithm.seed())
    }

    fn with_fewer_factors(&self, factors: usize) -> Option<Box<dyn Algorithm>> {
        let mut fewer = false;
        let mut candidates = Vec::new();
        for Candidate { options, algorithm } in &self.candidates {
            let mut options = options.clone();
            if algorithm.with_fewer_factors(factors).is_some() {
                options["factors"] = json!(factors);
                fewer = true;
            }
            candidates.push(Candidate::read(options).ok()?);
        }
        fewer.then(|| self.with(candidates))
    }

    fn with_less_memory(&self) -> Option<Box<dyn Algorithm>> {
        let mut less = false;
        let mut candidates = Vec::new();
        for Candidate { options, algorithm } in &self.candidates {
            candidates.push(match algorithm.with_less_memory() {
                Some(algorithm) => {
                    less = true;
                    Candidate { options: options.clone(), algorithm }
                }
                None => Candidate::read(options.clone()).ok()?,
            });
        }
        less.then(|| self.with(candidates))
    }

    fn working_memory(&self, size: &Size) -> u64 {
        let each = self.candidates.iter();
        let each = each.map(|candidate| validation_memory(&*candidate.algorithm, size));
        // A sample of the users beside the rest.
        each.max().unwrap_or_default().saturating_add(size.matrix()).saturating_add(size.texts)
    }

    fn stored_memory(&self, size: &Size) -> u64 {
        let each = self.candidates.iter().map(|candidate| candidate.algorithm.stored_memory(size));
        each.max().unwrap_or_default()
    }

    fn fit(
        &self,
        data: &Dataset,
        resume: Option<SharedBytes>,
        control: &dyn Control,
    ) -> Result<FittedRecommender, Error> {
        let parted = self.split.part(data, control)?;
        let rounds = parted.as_ref().map(|parted| self.rounds(parted)).unwrap_or_default();
        let most = rounds.iter().map(|&(tried, _)| tried).sum();
        let key = key(&format!("search {REVISION} {self:?}"), data, parted.as_ref(), control)?;
        let mut stages = Stages::begin(key, resume, most, control)?;
        let (best, figures, trials) = match &parted {
            Some(parted) => self.choose(parted, &mut stages, control)?,
            None => (0, nothing(), Vec::new()),
        };
        drop(parted);
        let Some(Candidate { options, algorithm }) = self.candidates.get(best) else {
            return Err(Error::NoRows("candidates"));
        };
        let fitted = stages.finish(|resume, control| algorithm.fit(data, resume, control))?;
        let reason = match figures.iter().find(|(name, _)| name == self.metric) {
            Some((name, value)) => {
                format!("{options} had the best {name}, {value:.4}, of {} trials", trials.len())
            }
            None => format!("{options} is the first, as there are too few rows to keep any apart"),
        };
        let model = json!({"chosen": options, "reason": reason, "trials": trials});
        let algorithm = Some(algorithm.name());
        Ok(FittedRecommender { validation: figures, algorithm, model, ..fitted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_round_has_few_users() {
        assert_eq!(rounds(20, 90_000), [(20, 1.0 / 9.0), (7, 1.0 / 3.0), (3, 1.0)]);
        assert_eq!(rounds(9, 90_000), [(9, 1.0 / 3.0), (3, 1.0)]);
        assert_eq!(rounds(3, 90_000), [(3, 1.0)]);
        assert_eq!(rounds(20, 8_000), [(20, 0.25), (7, 1.0 / 3.0), (3, 1.0)]);
        assert_eq!(rounds(20, 5_000), [(20, 0.4), (3, 1.0)]);
        assert_eq!(rounds(20, 2_000), [(20, 1.0)]);
        assert_eq!(rounds(20, 0), [(20, 1.0)]);
    }
}
