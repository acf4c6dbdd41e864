//! Several recommenders as one: each is trained on a part of the data, how much it counts is
//! learned on the rest, and then each is trained on all of it.

use serde_json::{Value, json};
use teller_numeric::{Control, OptionError, Options};
use teller_payload::SharedBytes;

use super::split::{Parted, Split};
use super::stages::{Stage, Stages, Telling};
use super::takes;
use super::validated::{NDCG, key, measure, validation_memory};
use super::weights;
use crate::algorithm::{self, Algorithm, Size, Takes};
use crate::fitted::Numbers;
use crate::recommender::{Blend, load_fitted};
use crate::{Dataset, Error, FittedRecommender, Recommender};

/// Grows whenever a training's numbers or the checkpoint's arrays change their meaning.
const REVISION: u32 = 2;
/// Of the pairs, by which the weights are learned.
const SHARE: f64 = 0.1;
const MOST_MEMBERS: usize = 16;

/// A weighted sum of several recommenders.
#[derive(Debug)]
pub(crate) struct Hybrid {
    split: Split,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    /// As it was asked for.
    options: Value,
    algorithm: Box<dyn Algorithm>,
}

impl Member {
    /// With that seed, if it has one and no other is given.
    fn read(mut given: Value, seed: i64) -> Result<Self, OptionError> {
        let read = |given: &Value| {
            let mut options = Options::new("a member", given)?;
            let algorithm = algorithm::read(&mut options)?;
            options.finish()?;
            Ok(algorithm)
        };
        let mut algorithm = read(&given)?;
        if algorithm.seed().is_some() && given.get("seed").is_none() {
            given["seed"] = json!(seed);
            algorithm = read(&given)?;
        }
        Ok(Self { options: given, algorithm })
    }
}

impl Hybrid {
    /// Reads `members`, an array of objects with the options of an algorithm each, and `seed`.
    pub(crate) fn read(options: &mut Options<'_>) -> Result<Box<dyn Algorithm>, OptionError> {
        let usual;
        let members = match options.value("members") {
            Some(given) => given,
            None => {
                usual = usual_members();
                &usual
            }
        };
        let some = members.as_array().filter(|members| (1..=MOST_MEMBERS).contains(&members.len()));
        let Some(some) = some else {
            let expected = format!("an array of 1 to {MOST_MEMBERS} objects of options");
            return Err(options.invalid("members", members, expected));
        };
        let some = some.clone();
        let seed = options.integer("seed", 42, 0..=i64::MAX)?;
        let members = some
            .into_iter()
            .map(|given| Member::read(given, seed))
            .collect::<Result<_, OptionError>>()?;
        Ok(Box::new(Self { split: Split { share: SHARE }, members }))
    }

    /// The weights of the members, and the figures of each, of which the best is alone the best.
    fn learn(&self, parted: Option<&Parted>, stages: &mut Stages<'_>) -> Result<Vec<f32>, Error> {
        let count = self.members.len();
        let Some(parted) = parted else { return Ok(vec![1.0 / count as f32; count]) };
        let rows = parted.training.interactions.len() as u64;
        let mut fitted = Vec::new();
        for (at, Member { algorithm, .. }) in self.members.iter().enumerate() {
            let telling = Telling::Steps((2 * count - at) as u32);
            let stage = stages.run(telling, Some(NDCG), rows, |resume, control| {
                let (fitted, figures) = measure(&**algorithm, parted, resume, control)?;
                Ok(Stage { figures, parts: fitted.parts })
            })?;
            fitted.push(stage);
        }
        let learned = stages.run(Telling::None, None, rows, |_, control| {
            let members = fitted
                .iter()
                .map(|stage| load_fitted(&stage.parts))
                .collect::<Result<Vec<Recommender>, Error>>()?;
            let (weights, ndcg) = weights::learn(&members, &parted.held_out, control)?;
            let mut figures = vec![(NDCG.to_owned(), ndcg)];
            let name = |member| format!("weight {member}");
            figures.extend((0..).zip(weights).map(|(at, weight)| (name(at), f64::from(weight))));
            Ok(Stage { figures, parts: Vec::new() })
        })?;
        // They were trained on a part of the data only.
        stages.forget_parts();
        let weight =
            |member| learned.figure(&format!("weight {member}")).unwrap_or_default() as f32;
        Ok((0..count).map(weight).collect())
    }
}

/// Of different kinds, and several of the kind that is most often the best: what is wrong in few
/// factors is wrong in another way than in many.
fn usual_members() -> Value {
    json!([
        {"algorithm": "ease"},
        {"algorithm": "als", "factors": 8},
        {"algorithm": "als", "factors": 16},
        {"algorithm": "als", "factors": 32},
        {"algorithm": "als", "factors": 64},
        {"algorithm": "als", "factors": 128},
        {"algorithm": "als", "factors": 64, "alpha": 30},
        {"algorithm": "item_knn", "similarity": "cosine", "neighbors": 200},
        {"algorithm": "item_knn"},
        {"algorithm": "svd", "factors": 12},
    ])
}

impl Algorithm for Hybrid {
    fn name(&self) -> &'static str {
        "hybrid"
    }

    fn takes(&self) -> Takes {
        takes(self.members.iter().map(|member| member.algorithm.takes()))
    }

    fn seed(&self) -> Option<u64> {
        self.members.iter().find_map(|member| member.algorithm.seed())
    }

    fn with_fewer_factors(&self, factors: usize) -> Option<Box<dyn Algorithm>> {
        let mut fewer = false;
        let mut members = Vec::new();
        for Member { options, algorithm } in &self.members {
            let mut options = options.clone();
            if algorithm.with_fewer_factors(factors).is_some() {
                options["factors"] = json!(factors);
                fewer = true;
            }
            members.push(options);
        }
        let given = json!({"members": members});
        let read = Self::read(&mut Options::new("hybrid", &given).ok()?).ok()?;
        fewer.then_some(read)
    }

    fn with_less_memory(&self) -> Option<Box<dyn Algorithm>> {
        let smaller = self.members.iter().map(|member| member.algorithm.with_less_memory());
        let smaller: Vec<Option<Box<dyn Algorithm>>> = smaller.collect();
        if smaller.iter().all(Option::is_none) {
            return None;
        }
        let mut members = Vec::new();
        for (Member { options, .. }, smaller) in self.members.iter().zip(smaller) {
            // As it was read once, so it is again.
            let member = match smaller {
                Some(algorithm) => Member { options: options.clone(), algorithm },
                None => Member::read(options.clone(), 0).ok()?,
            };
            members.push(member);
        }
        Some(Box::new(Self { split: self.split.clone(), members }))
    }

    fn working_memory(&self, size: &Size) -> u64 {
        let users = size.users;
        let each = self.members.iter().map(|member| validation_memory(&*member.algorithm, size));
        // What is fitted, a checkpoint with it, and what the weights are learned from.
        each.max()
            .unwrap_or_default()
            .saturating_add(self.stored_memory(size).saturating_mul(3))
            .saturating_add(weights::memory(self.members.len() as u64, users, size))
    }

    fn stored_memory(&self, size: &Size) -> u64 {
        let each = self.members.iter().map(|member| member.algorithm.stored_memory(size));
        let seen = size.matrix().saturating_mul(self.members.len() as u64);
        each.fold(seen, u64::saturating_add)
    }

    fn fit(
        &self,
        data: &Dataset,
        resume: Option<SharedBytes>,
        control: &dyn Control,
    ) -> Result<FittedRecommender, Error> {
        let parted = self.split.part(data, control)?;
        let count = self.members.len();
        let key = key(&format!("hybrid {REVISION} {self:?}"), data, parted.as_ref(), control)?;
        let mut stages = Stages::begin(key, resume, 2 * count + 1, control)?;
        let weights = self.learn(parted.as_ref(), &mut stages)?;
        drop(parted);
        let rows = data.interactions.len() as u64;
        let mut members = Vec::new();
        for (at, Member { algorithm, .. }) in self.members.iter().enumerate() {
            let telling = Telling::Steps((count - at) as u32);
            let stage = stages.run(telling, None, rows, |resume, control| {
                let parts = algorithm.fit(data, resume, control)?.parts;
                Ok(Stage { figures: Vec::new(), parts })
            })?;
            members.push(stage.parts);
        }
        let parts = vec![("hybrid", Blend::payload(&weights, &members))];
        let numbers = Numbers { parts, ..Numbers::default() };
        let mut fitted = FittedRecommender::new(data, numbers);
        let seen =
            fitted.parts.iter().find(|(name, _)| name == "seen").map(|(_, seen)| seen.clone());
        fitted.parts.extend(Blend::parts(&members, seen.as_deref()));
        let told = self
            .members
            .iter()
            .zip(weights)
            .map(|(member, weight)| json!({"options": member.options, "weight": weight}));
        fitted.model = json!({"members": told.collect::<Vec<Value>>()});
        Ok(fitted)
    }
}
