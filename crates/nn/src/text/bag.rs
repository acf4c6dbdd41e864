//! A bag of n-grams: a softmax over weighted counts of characters and words (Salton and Buckley
//! 1988), which knows no order but sees through misspelled words.

use std::ops::RangeInclusive;

use rayon::prelude::*;
use teller_numeric::{Cancelled, Control, Isa, Stream, math};
use teller_payload::{Array, Payload, PayloadError, PayloadWriter};

use super::TextDataset;
use super::grams::character_grams;
use super::tokens::{normalize, tokens};
use super::vocabulary::{StoredTerms, TermCounts, Terms, Vocabulary};
use crate::embedding::{Feature, SparseGradient, add_rows};
use crate::floats::Floats;
use crate::layer::bias_gradient;
use crate::loss::softmax_cross_entropy;
use crate::objective::{Objective, Target};
use crate::optimizer::{OptimizerState, UpdateRule};
use crate::training::{Learner, Look, TrainingStep};
use crate::{Error, best};

const CHARACTERS: RangeInclusive<usize> = 2..=5;
/// Texts that a term must be in to be known.
const LEAST_TEXTS: u32 = 2;
/// Texts that a task looks at.
const TEXTS: usize = 8;

/// The terms that a bag knows, the characters first, and how rare each is: the logarithm of the
/// inverse of the share of texts that have it, plus 1.
#[derive(Debug)]
pub(super) struct BagTerms {
    characters: Terms,
    words: Terms,
    rarity: Vec<f32>,
}

/// The same where it lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct BagTermsView<'v> {
    characters: Vocabulary<'v>,
    words: Vocabulary<'v>,
    rarity: &'v [f32],
}

/// Where they lie in a payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoredBagTerms {
    characters: StoredTerms,
    words: StoredTerms,
    rarity: Array<f32>,
}

/// Calls with each character gram of a text, then with each of its words and pairs of them.
fn each_term(tokens: &[&str], mut character: impl FnMut(&str), mut word: impl FnMut(&str)) {
    let text = format!(" {} ", tokens.join(" "));
    character_grams(&text, CHARACTERS, &mut character);
    tokens.iter().for_each(|token| word(token));
    for pair in tokens.windows(2) {
        word(&pair.join(" "));
    }
}

impl BagTerms {
    /// Of the texts of `rows`; at most `most` character grams, and as many of words.
    pub(super) fn new(
        data: &TextDataset,
        rows: &[u32],
        most: usize,
        max_tokens: usize,
        control: &dyn Control,
    ) -> Result<Self, Cancelled> {
        let (mut characters, mut words) = (TermCounts::default(), TermCounts::default());
        for &row in rows {
            control.check()?;
            characters.next_document();
            words.next_document();
            let normalized = normalize(data.text(row as usize));
            let tokens = tokens(&normalized, max_tokens);
            each_term(&tokens, |gram| characters.add(gram), |word| words.add(word));
        }
        let (characters, of_characters) = characters.finish(LEAST_TEXTS, most);
        let (words, of_words) = words.finish(LEAST_TEXTS, most);
        let texts = (1 + rows.len()) as f32;
        let counts = of_characters.iter().chain(&of_words);
        let rarity = counts.map(|&count| 1.0 + math::ln(texts / (1 + count) as f32)).collect();
        Ok(Self { characters, words, rarity })
    }

    pub(super) fn view(&self) -> BagTermsView<'_> {
        let (characters, words) = (self.characters.view(), self.words.view());
        BagTermsView { characters, words, rarity: &self.rarity }
    }

    pub(super) fn write<'t>(&'t self, writer: &mut PayloadWriter<'t>) {
        self.characters.write("bag.characters", writer);
        self.words.write("bag.words", writer);
        writer.array("bag.rarity", &[self.rarity.len()], &self.rarity);
    }
}

impl StoredBagTerms {
    pub(super) fn read(payload: &Payload) -> Result<Self, PayloadError> {
        let [characters, words] =
            ["bag.characters", "bag.words"].map(|name| StoredTerms::read(payload, name));
        let (characters, words) = (characters?, words?);
        let terms = characters.view(payload).len() + words.view(payload).len();
        let rarity = payload.array_of("bag.rarity", &[terms])?;
        Ok(Self { characters, words, rarity })
    }

    pub(super) fn view(self, payload: &Payload) -> BagTermsView<'_> {
        BagTermsView {
            characters: self.characters.view(payload),
            words: self.words.view(payload),
            rarity: payload.get(self.rarity),
        }
    }
}

impl BagTermsView<'_> {
    pub(super) fn len(&self) -> usize {
        self.rarity.len()
    }

    /// The terms of a text with their weights, each once: `1 + ln(times)`, times how rare it is,
    /// characters and words each brought to length 1.
    pub(super) fn features(&self, tokens: &[&str]) -> Vec<Feature> {
        let (mut characters, mut words) = (Vec::new(), Vec::new());
        let first = self.characters.len() as u32;
        each_term(
            tokens,
            |gram| characters.extend(self.characters.find(gram)),
            |word| words.extend(self.words.find(word).map(|word| first + word)),
        );
        let mut features = Vec::new();
        for mut ids in [characters, words] {
            ids.sort_unstable();
            let block = features.len();
            for same in ids.chunk_by(|a, b| a == b) {
                let rarity = self.rarity.get(same[0] as usize).copied().unwrap_or(0.0);
                let value = (1.0 + math::ln(same.len() as f32)) * rarity;
                features.push(Feature { id: same[0], value });
            }
            let square: f32 = features[block..].iter().map(|f| f.value * f.value).sum();
            if square > 0.0 {
                let scale = 1.0 / square.sqrt();
                features[block..].iter_mut().for_each(|feature| feature.value *= scale);
            }
        }
        features
    }
}

/// The logits of a text: `weights` are terms x classes, then a bias a class.
pub(super) fn logits(isa: Isa, weights: &[f32], features: &[Feature], logits: &mut [f32]) {
    let (table, bias) = weights.split_at(weights.len() - logits.len());
    logits.copy_from_slice(bias);
    add_rows(isa, table, features, logits);
}

/// Floats of the weights.
pub(super) fn weights(terms: usize, classes: usize) -> usize {
    (terms + 1).saturating_mul(classes)
}

/// A bag in training.
pub(super) struct BagLearner<'a> {
    isa: Isa,
    seed: u64,
    classes: usize,
    /// Share of a text's terms that are dropped.
    dropout: f32,
    targets: &'a [u32],
    /// Of all texts, and where each ends.
    features: Vec<Feature>,
    ends: Vec<usize>,
    weights: Floats,
    gradient: Floats,
    sparse: SparseGradient,
    /// Of a batch.
    d_logits: Floats,
    optimizer: OptimizerState,
    objective: Objective,
    plain: Objective,
}

impl<'a> BagLearner<'a> {
    /// From weights of 0: nothing else is to be broken up. Terms decay, the bias does not.
    pub(super) fn new(
        isa: Isa,
        data: &'a TextDataset,
        terms: BagTermsView<'_>,
        (max_tokens, batch, seed): (usize, usize, u64),
        (update, dropout): (UpdateRule, f32),
        objective: Objective,
        control: &dyn Control,
    ) -> Result<Self, Error> {
        let classes = data.labels().len();
        let len = weights(terms.len(), classes);
        let rows = (0..data.len()).into_par_iter().map(|row| {
            control.check()?;
            let normalized = normalize(data.text(row));
            Ok(terms.features(&tokens(&normalized, max_tokens)))
        });
        let rows: Vec<Vec<Feature>> = rows.collect::<Result<_, Cancelled>>()?;
        let mut end = 0;
        let ends = rows.iter().map(|features| {
            end += features.len();
            end
        });
        let table = 0..len - classes;
        Ok(Self {
            isa,
            seed,
            classes,
            dropout,
            targets: data.targets(),
            ends: ends.collect(),
            features: rows.concat(),
            weights: Floats::zeros(len)?,
            gradient: Floats::zeros(len)?,
            sparse: SparseGradient::default(),
            d_logits: Floats::zeros(batch.saturating_mul(classes))?,
            optimizer: update.start(len, std::iter::once(0..len).collect(), vec![table])?,
            objective,
            plain: Objective::plain(classes),
        })
    }

    fn features(&self, row: u32) -> &[Feature] {
        let row = row as usize;
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.features[start..self.ends[row]]
    }

    /// What is left of a text in training; `number` is its running one over the whole training.
    fn dropped(&self, row: u32, number: u64) -> Vec<Feature> {
        let mut stream = Stream::new(self.seed, "term dropout", number);
        let scale = 1.0 / (1.0 - self.dropout);
        let features = self.features(row).iter().filter(|_| stream.uniform() >= self.dropout);
        features.map(|&Feature { id, value }| Feature { id, value: value * scale }).collect()
    }

    /// Goes through texts with the features that are left of them, and leaves the gradient to
    /// their logits.
    fn pass<F: AsRef<[Feature]> + Sync>(
        &mut self,
        rows: &[u32],
        features: &[F],
        trains: bool,
        control: &dyn Control,
    ) -> Result<Look, Cancelled> {
        let Self { isa, classes, targets, weights, d_logits, .. } = self;
        let (isa, classes, targets, weights) = (*isa, *classes, *targets, &**weights);
        let objective = if trains { &self.objective } else { &self.plain };
        let scale = 1.0 / rows.len() as f32;
        let tasks = d_logits[..rows.len() * classes].par_chunks_mut(TEXTS * classes);
        let tasks = tasks.zip(rows.par_chunks(TEXTS)).zip(features.par_chunks(TEXTS));
        let looks = tasks.map(|((d_logits, rows), features)| {
            control.check()?;
            let mut look = Look::default();
            let texts = d_logits.chunks_exact_mut(classes).zip(rows).zip(features);
            for ((d_logits, &row), features) in texts {
                logits(isa, weights, features.as_ref(), d_logits);
                let target = targets[row as usize];
                look.figure += f64::from(u8::from(best(d_logits) == target as usize));
                let wanted = objective.wanted(Target::one(target));
                look.loss += softmax_cross_entropy(d_logits, &wanted, scale);
            }
            Ok(look)
        });
        let looks: Vec<Look> = looks.collect::<Result<_, _>>()?;
        Ok(looks.into_iter().sum())
    }
}

impl Learner for BagLearner<'_> {
    fn state(&self) -> (&Floats, &OptimizerState) {
        (&self.weights, &self.optimizer)
    }

    fn state_mut(&mut self) -> (&mut Floats, &mut OptimizerState) {
        (&mut self.weights, &mut self.optimizer)
    }

    fn into_weights(self) -> Floats {
        self.weights
    }

    fn step(&mut self, step: TrainingStep<'_>, control: &dyn Control) -> Result<f64, Error> {
        let numbered = step.rows.par_iter().enumerate().with_min_len(TEXTS);
        let features: Vec<Vec<Feature>> =
            numbered.map(|(at, &row)| self.dropped(row, step.first + at as u64)).collect();
        let look = self.pass(step.rows, &features, true, control)?;
        for (text, features) in features.iter().enumerate() {
            self.sparse.push(text, features);
        }
        let d_logits = &self.d_logits[..step.rows.len() * self.classes];
        let terms = self.gradient.len() - self.classes;
        let (table, bias) = self.gradient.split_at_mut(terms);
        if !self.optimizer.keeps_zeros() {
            table.fill(0.0);
        }
        self.sparse.write(self.isa, self.classes, d_logits, table, control)?;
        bias_gradient(self.isa, d_logits, bias);
        self.optimizer.update(self.isa, step.rate, &mut self.weights, &mut self.gradient);
        Ok(look.loss)
    }

    fn look(&mut self, rows: &[u32], control: &dyn Control) -> Result<Look, Error> {
        let features: Vec<Vec<Feature>> =
            rows.iter().map(|&row| self.features(row).to_vec()).collect();
        Ok(self.pass(rows, &features, false, control)?)
    }
}
