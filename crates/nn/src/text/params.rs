//! What a classifier of texts is made of, and how it is trained.

use serde::{Deserialize, Serialize};
use teller_numeric::{OptionError, Options};

use crate::sequence::{Cell, Pooling, Regularization, SequenceSpec};
use crate::{EarlyStopping, Monitor, Optimizer, TrainingParams, UpdateRule};

/// What must be known to read the numbers of a classifier of texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextArchitecture {
    /// Words and punctuation marks of a text that count; the rest is cut off: `max_tokens`, 1 to
    /// 4096 (256).
    pub max_tokens: usize,
    /// The recurrent network, if there is one.
    pub recurrent: Option<SequenceSpec>,
    /// Numbers of a token's vector: `vector_size`, 1 to 1024 (128).
    pub vector_size: usize,
    /// Whether there is a bag of n-grams.
    pub bag: bool,
}

/// How a recurrent network over tokens is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct RecurrentTextParams {
    /// What holds for any network.
    pub training: TrainingParams,
    /// `token_dropout` (0.15): share of tokens that are taken for unknown ones.
    pub token_dropout: f64,
    /// `input_dropout` (0.3): share of the vectors' numbers that are dropped.
    pub input_dropout: f64,
    /// `dropout` (0.5): share of what the last layer reads that is dropped.
    pub dropout: f64,
    /// `truncation`, 0 to 4096 (0 for none): steps that a gradient goes back through.
    pub truncation: usize,
}

/// How a bag of n-grams is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct BagParams {
    /// What holds for any model.
    pub training: TrainingParams,
    /// `dropout` (0.3): share of a text's terms that are dropped.
    pub dropout: f64,
}

/// Checked options of a classifier of texts.
#[derive(Clone, Debug, PartialEq)]
pub struct TextParams {
    /// `algorithm`: `gru`, `lstm`, `rnn`, `bag` or `ensemble`.
    pub algorithm: &'static str,
    /// What is trained.
    pub architecture: TextArchitecture,
    /// `max_terms`, 1 to 2^20 (2^16): words, and n-grams of characters, that are known at most.
    pub max_terms: usize,
    /// Of the recurrent network, if there is one.
    pub recurrent: Option<RecurrentTextParams>,
    /// Of the bag, if there is one.
    pub bag: Option<BagParams>,
}

#[derive(Clone, Copy, PartialEq)]
enum Algorithm {
    Recurrent(Cell),
    Bag,
    Ensemble,
}

const ALGORITHMS: [(&str, Algorithm); 5] = [
    ("gru", Algorithm::Recurrent(Cell::Gru)),
    ("lstm", Algorithm::Recurrent(Cell::Lstm)),
    ("rnn", Algorithm::Recurrent(Cell::Rnn)),
    ("bag", Algorithm::Bag),
    ("ensemble", Algorithm::Ensemble),
];

fn usual(learning_rate: f64, weight_decay: f64, label_smoothing: f64) -> TrainingParams {
    TrainingParams {
        epochs: 15,
        batch_size: 64,
        learning_rate,
        update: UpdateRule {
            optimizer: Optimizer::AdamW,
            weight_decay,
            clip_norm: Some(1.0),
            ..UpdateRule::default()
        },
        warmup_fraction: 0.05,
        label_smoothing,
        validation_fraction: 0.05,
        stopping: EarlyStopping { patience: 0, monitor: Monitor::None, min_delta: 0.0 },
        ..TrainingParams::default()
    }
}

impl TextParams {
    /// Reads the parameters among whatever else the caller reads from the same options; the
    /// caller finishes them. Those of an ensemble are its recurrent network's; its bag has the
    /// usual ones.
    pub fn read(options: &mut Options<'_>) -> Result<Self, OptionError> {
        let chosen = options.choice("algorithm", &ALGORITHMS)?;
        let algorithm = ALGORITHMS.iter().find(|(_, other)| *other == chosen);
        let algorithm = algorithm.map_or("gru", |(name, _)| *name);
        let max_tokens = options.integer("max_tokens", 256, 1..=4096)? as usize;
        let max_terms = options.integer("max_terms", 1 << 16, 1..=1 << 20)? as usize;
        let mut architecture = TextArchitecture {
            max_tokens,
            recurrent: None,
            vector_size: 0,
            bag: matches!(chosen, Algorithm::Bag | Algorithm::Ensemble),
        };
        let bag = usual(0.02, 0.05, 0.0);
        let cell = match chosen {
            Algorithm::Recurrent(cell) => cell,
            Algorithm::Ensemble => Cell::Gru,
            Algorithm::Bag => {
                let training = TrainingParams::read(options, bag)?;
                let bag =
                    Some(BagParams { training, dropout: read_dropout(options, "dropout", 0.3)? });
                return Ok(Self { algorithm, architecture, max_terms, recurrent: None, bag });
            }
        };
        let pooling = vec![Pooling::Max, Pooling::Mean];
        let spec = SequenceSpec {
            cell,
            units: 128,
            layers: 1,
            bidirectional: true,
            pooling,
            hidden_units: 0,
        };
        architecture.recurrent = Some(SequenceSpec::read(options, spec)?);
        architecture.vector_size = options.integer("vector_size", 128, 1..=1024)? as usize;
        let recurrent = RecurrentTextParams {
            training: TrainingParams::read(options, usual(0.002, 0.01, 0.1))?,
            token_dropout: read_dropout(options, "token_dropout", 0.15)?,
            input_dropout: read_dropout(options, "input_dropout", 0.3)?,
            dropout: read_dropout(options, "dropout", 0.5)?,
            truncation: options.integer("truncation", 0, 0..=4096)? as usize,
        };
        let bag = (chosen == Algorithm::Ensemble).then(|| {
            let TrainingParams { seed, validation_fraction, class_weights, .. } =
                recurrent.training.clone();
            let training = TrainingParams { seed, validation_fraction, class_weights, ..bag };
            BagParams { training, dropout: 0.3 }
        });
        Ok(Self { algorithm, architecture, max_terms, recurrent: Some(recurrent), bag })
    }

    /// That of the recurrent network, or of the bag alone.
    pub fn training(&self) -> &TrainingParams {
        static NONE: std::sync::LazyLock<TrainingParams> =
            std::sync::LazyLock::new(TrainingParams::default);
        let recurrent = self.recurrent.as_ref().map(|recurrent| &recurrent.training);
        recurrent.or(self.bag.as_ref().map(|bag| &bag.training)).unwrap_or(&NONE)
    }
}

impl RecurrentTextParams {
    pub(super) fn regularization(&self) -> Regularization {
        Regularization {
            input_dropout: self.input_dropout as f32,
            dropout: self.dropout as f32,
            truncation: self.truncation,
        }
    }
}

fn read_dropout(
    options: &mut Options<'_>,
    name: &'static str,
    default: f64,
) -> Result<f64, OptionError> {
    options.number(name, default, 0.0..=0.95)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(given: Value) -> Result<TextParams, OptionError> {
        let mut options = Options::new("texts", &given)?;
        let params = TextParams::read(&mut options)?;
        options.finish().map(|()| params)
    }

    #[test]
    fn every_algorithm_has_its_options() {
        let gru = read(json!({})).unwrap();
        assert_eq!((gru.algorithm, gru.bag.is_none()), ("gru", true));
        assert_eq!(gru.training().epochs, 15);
        let bag = read(json!({"algorithm": "bag", "learning_rate": 0.1})).unwrap();
        assert_eq!((bag.recurrent, bag.bag.unwrap().training.learning_rate), (None, 0.1));
        let both = read(json!({"algorithm": "ensemble", "seed": 7, "learning_rate": 0.1})).unwrap();
        let of_bag = both.bag.unwrap().training;
        assert_eq!((of_bag.seed, of_bag.learning_rate), (7, 0.02));
        let lstm = read(json!({"algorithm": "lstm", "units": 3})).unwrap();
        let spec = lstm.architecture.recurrent.unwrap();
        assert_eq!((spec.cell, spec.units), (Cell::Lstm, 3));
        for wrong in [
            json!({"algorithm": "bert"}),
            json!({"algorithm": "bag", "units": 3}),
            json!({"max_tokens": 0}),
            json!({"dropout": 1}),
            json!({"vector_size": 0}),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
