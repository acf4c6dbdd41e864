//! How well a classifier does on labelled images.

use std::collections::BTreeMap;

use rayon::prelude::*;
use teller_numeric::Control;

use crate::calibration::calibration_error;
use crate::judging::rows_at_once;
use crate::layer::softmax;
use crate::{Error, ImageClassifier, ImageDataset, best};

/// The least probability that the log loss reckons with, so that one sure mistake is not infinite.
const LEAST_PROBABILITY: f64 = 1e-15;

/// A classifier's answers to some images of a dataset.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    answers: Vec<Answer>,
    /// The classifier's labels.
    labels: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Answer {
    /// The most probable label.
    best: u32,
    /// Its probability.
    confidence: f32,
    /// The image's own label, if the classifier knows it.
    target: Option<u32>,
    /// Its probability.
    of_target: f32,
}

impl Predictions {
    /// What an answer takes.
    pub(crate) const BYTES_PER_ROW: u64 = size_of::<Answer>() as u64;

    /// Before it was asked for `rows` images.
    pub(crate) fn none(labels: &[String], rows: usize) -> Self {
        Self { answers: Vec::with_capacity(rows), labels: labels.to_vec() }
    }

    /// Adds the answer to a row of that label, if the classifier knows it.
    pub(crate) fn push(&mut self, probabilities: &[f32], target: Option<u32>) {
        self.answers.push(Answer::new(probabilities, target));
    }

    /// The answers to all rows of a dataset with these labels and targets: `logits_of` some rows
    /// are rows x classes, and are multiplied with `sharpness`.
    pub(crate) fn gather(
        labels: &[String],
        (their_labels, targets): (&[String], &[u32]),
        sharpness: f32,
        mut logits_of: impl FnMut(&[u32]) -> Result<Vec<f32>, Error>,
    ) -> Result<Self, Error> {
        let known = known(labels, their_labels);
        let classes = labels.len();
        let mut all = Self::none(labels, targets.len());
        let rows: Vec<u32> = (0..targets.len() as u32).collect();
        for rows in rows.chunks(rows_at_once(classes)) {
            let mut logits = logits_of(rows)?;
            for (&row, logits) in rows.iter().zip(logits.chunks_exact_mut(classes)) {
                logits.iter_mut().for_each(|logit| *logit *= sharpness);
                softmax(logits, classes);
                all.push(logits, known[targets[row as usize] as usize]);
            }
        }
        Ok(all)
    }

    /// Asks for the images of `rows`, on the threads of the ambient rayon pool.
    pub fn new(
        classifier: &ImageClassifier,
        data: &ImageDataset,
        rows: &[u32],
        control: &dyn Control,
    ) -> Result<Self, Error> {
        let known = known(classifier.labels(), data.labels());
        let answers = rows
            .par_iter()
            .with_min_len(64)
            .map_init(
                || classifier.workspace(),
                |workspace, &row| {
                    control.check()?;
                    let workspace = workspace.as_mut().map_err(|error| error.clone())?;
                    let raster = data.raster(row as usize);
                    let answer = classifier.probabilities(raster, workspace, control)?;
                    Ok(Answer::new(answer, known[data.targets()[row as usize] as usize]))
                },
            )
            .collect::<Result<_, Error>>()?;
        Ok(Self { answers, labels: classifier.labels().to_vec() })
    }

    /// Share of images whose label was the most probable one.
    pub fn accuracy(&self) -> f64 {
        let hits = self.answers.iter().filter(|answer| answer.is_hit()).count();
        hits as f64 / self.answers.len().max(1) as f64
    }

    /// Mean of `-ln` of the probability of the image's own label.
    pub fn log_loss(&self) -> f64 {
        let loss = |answer: &Answer| -libm::log(f64::from(answer.of_target).max(LEAST_PROBABILITY));
        self.answers.iter().map(loss).sum::<f64>() / self.answers.len().max(1) as f64
    }

    /// How far the probabilities are from how often they are right, 0 to 1.
    pub fn calibration_error(&self) -> f64 {
        calibration_error(self.answers.iter().map(|answer| (answer.confidence, answer.is_hit())))
    }

    /// How often each label (first) was taken for each (second), where it was at all. Images with
    /// labels that the classifier does not know are left out.
    pub fn confusion(&self) -> Confusion {
        let mut counts = BTreeMap::new();
        for answer in &self.answers {
            if let Some(target) = answer.target {
                *counts.entry((target, answer.best)).or_insert(0) += 1;
            }
        }
        Confusion(counts)
    }

    /// All figures by name: `rows`, `accuracy`, `log_loss`, `calibration_error`, `macro_f1`, of two labels `auc`, and
    /// for each label that was seen or answered `precision(label)`, `recall(label)`, `f1(label)`.
    pub fn figures(&self) -> Vec<(String, f64)> {
        let mut figures = vec![
            ("rows".to_owned(), self.answers.len() as f64),
            ("accuracy".to_owned(), self.accuracy()),
            ("log_loss".to_owned(), self.log_loss()),
            ("calibration_error".to_owned(), self.calibration_error()),
        ];
        figures.push(("macro_f1".to_owned(), self.macro_f1()));
        figures.extend(self.auc().map(|auc| ("auc".to_owned(), auc)));
        for (score, label) in self.scores().iter().zip(&self.labels) {
            if let Some(Score { precision, recall, f1 }) = score {
                figures.push((format!("precision({label})"), *precision));
                figures.push((format!("recall({label})"), *recall));
                figures.push((format!("f1({label})"), *f1));
            }
        }
        figures
    }

    /// Of two labels, the share of pairs of rows, one of each, in which the row of the second has
    /// the higher probability of it, ties counting half: the area under the receiver operating
    /// characteristic (Hanley and McNeil 1982). Nothing for other numbers of labels, or if either
    /// was not seen.
    pub fn auc(&self) -> Option<f64> {
        if self.labels.len() != 2 {
            return None;
        }
        // The same whatever the row's own label, so that equal ones are equal.
        let score = |answer: &Answer| match answer.best {
            1 => answer.confidence,
            _ => 1.0 - answer.confidence,
        };
        let scores =
            self.answers.iter().filter_map(|answer| Some((score(answer), answer.target? == 1)));
        let mut scores: Vec<(f32, bool)> = scores.collect();
        scores.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let (mut below, mut pairs) = (0u64, 0.0);
        for equal in scores.chunk_by(|a, b| a.0 == b.0) {
            let second = equal.iter().filter(|(_, second)| *second).count() as u64;
            let first = equal.len() as u64 - second;
            pairs += second as f64 * (below as f64 + 0.5 * first as f64);
            below += first;
        }
        let second = scores.len() as u64 - below;
        (below > 0 && second > 0).then(|| pairs / (below as f64 * second as f64))
    }

    /// The mean F1 of the labels that were seen or answered.
    pub fn macro_f1(&self) -> f64 {
        let scores = self.scores();
        let f1 = || scores.iter().flatten().map(|score| score.f1);
        f1().sum::<f64>() / f1().count().max(1) as f64
    }

    fn scores(&self) -> Vec<Option<Score>> {
        self.confusion().scores(self.labels.len())
    }
}

/// Where each of a dataset's labels is among a classifier's.
fn known(labels: &[String], theirs: &[String]) -> Vec<Option<u32>> {
    let find = |label| labels.binary_search(label).ok().map(|at| at as u32);
    theirs.iter().map(find).collect()
}

impl Answer {
    fn new(probabilities: &[f32], target: Option<u32>) -> Self {
        let best = best(probabilities);
        Self {
            best: best as u32,
            confidence: probabilities[best],
            target,
            of_target: target.map_or(0.0, |target| probabilities[target as usize]),
        }
    }

    fn is_hit(&self) -> bool {
        self.target == Some(self.best)
    }
}

/// Counts by own label and answered label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confusion(pub BTreeMap<(u32, u32), u64>);

/// How one label fares.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Score {
    /// Of the images answered with it, the share that has it; 0 if none was.
    precision: f64,
    /// Of the images that have it, the share answered with it; 0 if none has.
    recall: f64,
    /// Their harmonic mean.
    f1: f64,
}

impl Confusion {
    /// Nothing for a label that was neither seen nor answered.
    fn scores(&self, classes: usize) -> Vec<Option<Score>> {
        let (mut own, mut answered) = (vec![0u64; classes], vec![0u64; classes]);
        for (&(target, best), &count) in &self.0 {
            own[target as usize] += count;
            answered[best as usize] += count;
        }
        (0..classes)
            .map(|class| {
                let hits = self.0.get(&(class as u32, class as u32)).copied().unwrap_or(0) as f64;
                let (own, answered) = (own[class], answered[class]);
                let share = |of: u64| if of == 0 { 0.0 } else { hits / of as f64 };
                (own + answered > 0).then(|| Score {
                    precision: share(answered),
                    recall: share(own),
                    f1: 2.0 * hits / (own + answered) as f64,
                })
            })
            .collect()
    }
}

/// The figures of `teller.evaluate` over all images of `data`: see [`Predictions::figures`].
pub fn evaluate(
    classifier: &ImageClassifier,
    data: &ImageDataset,
    control: &dyn Control,
) -> Result<Vec<(String, f64)>, Error> {
    let rows: Vec<u32> = (0..data.len() as u32).collect();
    Ok(Predictions::new(classifier, data, &rows, control)?.figures())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn predictions() -> Predictions {
        let answer =
            |best, confidence, target, of_target| Answer { best, confidence, target, of_target };
        Predictions {
            answers: vec![
                answer(0, 0.5, Some(0), 0.5),
                answer(1, 1.0, Some(1), 1.0),
                answer(1, 0.75, Some(0), 0.25),
                answer(0, 0.9, None, 0.0),
            ],
            labels: ["a", "b", "c"].map(str::to_owned).to_vec(),
        }
    }

    #[test]
    fn figures_of_known_answers() {
        let predictions = predictions();
        assert_eq!(predictions.accuracy(), 0.5);
        let expected = (2f64.ln() + 4f64.ln() - 1e-15f64.ln()) / 4.0;
        assert!((predictions.log_loss() - expected).abs() < 1e-12);
        let counts = [((0, 0), 1), ((0, 1), 1), ((1, 1), 1)];
        assert_eq!(predictions.confusion(), Confusion(counts.into()));
        let figures: BTreeMap<_, _> = predictions.figures().into_iter().collect();
        assert_eq!(figures["rows"], 4.0);
        assert_eq!((figures["precision(a)"], figures["recall(a)"]), (1.0, 0.5));
        assert_eq!((figures["precision(b)"], figures["recall(b)"]), (0.5, 1.0));
        assert!((figures["f1(a)"] - 2.0 / 3.0).abs() < 1e-12);
        assert!((figures["macro_f1"] - 2.0 / 3.0).abs() < 1e-12, "c was neither seen nor answered");
        assert!(!figures.contains_key("f1(c)"));
    }

    #[test]
    fn the_auc_counts_pairs() {
        let mut all = Predictions::none(&["a".to_owned(), "b".to_owned()], 40);
        let scores: Vec<(f32, u32)> =
            (0..40u32).map(|row| ((row * 7 % 10) as f32 / 10.0, u32::from(row % 3 == 0))).collect();
        for &(score, target) in &scores {
            all.push(&[1.0 - score, score], Some(target));
        }
        all.push(&[0.5, 0.5], None);
        let (mut won, mut pairs) = (0.0, 0.0);
        for (second, _) in scores.iter().filter(|(_, target)| *target == 1) {
            for (first, _) in scores.iter().filter(|(_, target)| *target == 0) {
                pairs += 1.0;
                won += if second > first { 1.0 } else { 0.0 };
                won += if second == first { 0.5 } else { 0.0 };
            }
        }
        assert!((all.auc().unwrap() - won / pairs).abs() < 1e-12);
        let mut one = Predictions::none(&["a".to_owned(), "b".to_owned()], 1);
        one.push(&[0.4, 0.6], Some(1));
        assert_eq!((one.auc(), predictions().auc()), (None, None));
    }
}
