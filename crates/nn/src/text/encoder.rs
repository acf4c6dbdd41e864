//! The vector of a token: that of its word plus the mean of those of its character grams, all rows
//! of one table (Bojanowski et al., "Enriching word vectors with subword information", 2017).

use std::collections::HashMap;
use std::ops::RangeInclusive;

use teller_numeric::{Cancelled, Control, Isa, Stream};
use teller_payload::{Payload, PayloadError, PayloadWriter};

use super::TextDataset;
use super::grams::{character_grams, marked};
use super::tokens::{normalize, tokens};
use super::vocabulary::{StoredTerms, TermCounts, Terms, Vocabulary};
use crate::embedding::{Feature, add_rows};
use crate::layer::Noise;
use crate::sequence::{Source, Steps};

const GRAM_LENGTHS: RangeInclusive<usize> = 3..=5;
/// Texts that a term must be in to have a vector.
const LEAST_TEXTS: u32 = 2;
/// Standard deviations of vectors before training.
const WORD_DEVIATION: f64 = 0.1;
const GRAM_DEVIATION: f64 = 0.2;
/// The row of the table for words without a vector.
const UNKNOWN: Feature = Feature { id: 0, value: 1.0 };

/// The words and grams that have vectors: row 0 of the table is that of unknown words, then come
/// the words, then the grams.
#[derive(Clone, Debug)]
pub(super) struct Lexicon {
    words: Terms,
    grams: Terms,
}

/// A lexicon where it lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct LexiconView<'v> {
    words: Vocabulary<'v>,
    grams: Vocabulary<'v>,
}

/// Where the terms of a lexicon lie in a payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoredLexicon {
    words: StoredTerms,
    grams: StoredTerms,
}

impl Lexicon {
    /// Of the texts of `rows`; at most `most` words, and as many grams.
    pub(super) fn new(
        data: &TextDataset,
        rows: &[u32],
        most: usize,
        max_tokens: usize,
        control: &dyn Control,
    ) -> Result<Self, Cancelled> {
        let (mut words, mut grams) = (TermCounts::default(), TermCounts::default());
        for &row in rows {
            control.check()?;
            words.next_document();
            grams.next_document();
            let normalized = normalize(data.text(row as usize));
            for token in tokens(&normalized, max_tokens) {
                words.add(token);
                character_grams(&marked(token), GRAM_LENGTHS, |gram| grams.add(gram));
            }
        }
        let (words, _) = words.finish(LEAST_TEXTS, most);
        let (grams, _) = grams.finish(LEAST_TEXTS, most);
        Ok(Self { words, grams })
    }

    pub(super) fn view(&self) -> LexiconView<'_> {
        LexiconView { words: self.words.view(), grams: self.grams.view() }
    }

    /// Draws the vectors of all rows.
    pub(super) fn initialize(&self, seed: u64, width: usize, table: &mut [f32]) {
        let grams = (1 + self.words.len()) * width;
        let (words, grams) = table.split_at_mut(grams);
        for (rows, deviation, index) in [(words, WORD_DEVIATION, 0), (grams, GRAM_DEVIATION, 1)] {
            let mut stream = Stream::new(seed, "initial vectors", index);
            rows.iter_mut().for_each(|number| *number = (stream.normal() * deviation) as f32);
        }
    }

    pub(super) fn write<'t>(&'t self, writer: &mut PayloadWriter<'t>) {
        self.words.write("words", writer);
        self.grams.write("grams", writer);
    }
}

impl StoredLexicon {
    pub(super) fn read(payload: &Payload) -> Result<Self, PayloadError> {
        let [words, grams] = ["words", "grams"].map(|name| StoredTerms::read(payload, name));
        Ok(Self { words: words?, grams: grams? })
    }

    pub(super) fn view(self, payload: &Payload) -> LexiconView<'_> {
        LexiconView { words: self.words.view(payload), grams: self.grams.view(payload) }
    }
}

impl LexiconView<'_> {
    /// Rows of the table.
    pub(super) fn rows(&self) -> usize {
        1 + self.words.len() + self.grams.len()
    }

    /// Adds what a token is made of.
    pub(super) fn features(&self, token: &str, features: &mut Vec<Feature>) {
        let word = self.words.find(token);
        features.push(word.map_or(UNKNOWN, |word| Feature { id: 1 + word, value: 1.0 }));
        let first = features.len();
        let start = 1 + self.words.len() as u32;
        character_grams(&marked(token), GRAM_LENGTHS, |gram| {
            if let Some(gram) = self.grams.find(gram) {
                features.push(Feature { id: start + gram, value: 1.0 });
            }
        });
        let share = 1.0 / (features.len() - first).max(1) as f32;
        features[first..].iter_mut().for_each(|feature| feature.value = share);
    }
}

/// Writes the vectors of tokens; of none, that of an unknown one.
pub(super) fn embed(
    isa: Isa,
    lexicon: LexiconView<'_>,
    table: &[f32],
    tokens: &[&str],
    mut steps: Steps<'_>,
) {
    let mut features = Vec::new();
    let mut write = |step: usize, features: &[Feature]| {
        let vector = steps.step(step);
        vector.fill(0.0);
        add_rows(isa, table, features, vector);
    };
    if tokens.is_empty() {
        write(0, &[UNKNOWN]);
    }
    for (step, token) in tokens.iter().enumerate() {
        features.clear();
        lexicon.features(token, &mut features);
        write(step, &features);
    }
}

/// The texts of a training as tokens; each different token once as features.
pub(super) struct EncodedTexts<'a> {
    targets: &'a [u32],
    /// Of all texts, and where each text ends. A text has at least one.
    tokens: Vec<u32>,
    ends: Vec<usize>,
    /// Of all different tokens, and where each ends. Token 0 is the unknown one.
    features: Vec<Feature>,
    feature_ends: Vec<usize>,
    /// Share of tokens that training takes for unknown ones.
    token_dropout: f32,
}

impl<'a> EncodedTexts<'a> {
    pub(super) fn new(
        data: &'a TextDataset,
        lexicon: LexiconView<'_>,
        (max_tokens, token_dropout): (usize, f32),
        control: &dyn Control,
    ) -> Result<Self, Cancelled> {
        let mut all = Self {
            targets: data.targets(),
            tokens: Vec::new(),
            ends: Vec::with_capacity(data.len()),
            features: vec![UNKNOWN],
            feature_ends: vec![1],
            token_dropout,
        };
        let mut known: HashMap<String, u32> = HashMap::new();
        for row in 0..data.len() {
            control.check()?;
            let normalized = normalize(data.text(row));
            let tokens = tokens(&normalized, max_tokens);
            if tokens.is_empty() {
                all.tokens.push(0);
            }
            for token in tokens {
                let number = match known.get(token) {
                    Some(&number) => number,
                    None => {
                        lexicon.features(token, &mut all.features);
                        let number = all.feature_ends.len() as u32;
                        all.feature_ends.push(all.features.len());
                        known.insert(token.to_owned(), number);
                        number
                    }
                };
                all.tokens.push(number);
            }
            all.ends.push(all.tokens.len());
        }
        Ok(all)
    }

    fn tokens(&self, row: u32) -> &[u32] {
        let row = row as usize;
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.tokens[start..self.ends[row]]
    }

    /// What the tokens of a text are made of, some of them taken for unknown ones.
    fn each(&self, row: u32, noise: Option<Noise>, mut tell: impl FnMut(usize, &[Feature])) {
        let mut stream =
            noise.map(|noise| Stream::new(noise.seed, "token dropout", noise.first_image));
        for (step, &token) in self.tokens(row).iter().enumerate() {
            let drops = stream.as_mut().is_some_and(|s| s.uniform() < self.token_dropout);
            let token = if drops { 0 } else { token as usize };
            let start = token.checked_sub(1).map_or(0, |before| self.feature_ends[before]);
            tell(step, &self.features[start..self.feature_ends[token]]);
        }
    }
}

impl Source for EncodedTexts<'_> {
    fn steps(&self, row: u32) -> usize {
        self.tokens(row).len()
    }

    fn target(&self, row: u32) -> u32 {
        self.targets[row as usize]
    }

    fn load(&self, isa: Isa, table: &[f32], row: u32, noise: Option<Noise>, mut steps: Steps<'_>) {
        self.each(row, noise, |step, features| {
            let vector = steps.step(step);
            vector.fill(0.0);
            add_rows(isa, table, features, vector);
        });
    }

    fn features(&self, row: u32, noise: Noise, tell: &mut dyn FnMut(usize, &[Feature])) {
        self.each(row, Some(noise), tell);
    }
}
