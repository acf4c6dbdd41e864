//! What a classifier of sequences is made of, and how it is trained.

use serde::{Deserialize, Serialize};
use teller_numeric::{OptionError, Options};

use super::learner::Regularization;
use super::{Cell, Pooling, SequenceSpec};
use crate::{EarlyStopping, Monitor, Optimizer, TrainingParams, UpdateRule};

/// What must be known to read the numbers of a classifier of sequences.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceArchitecture {
    /// The network.
    pub spec: SequenceSpec,
    /// Numbers of a step.
    pub features: usize,
    /// Numbers of a whole sequence, which join after the pooling.
    pub statics: usize,
    /// Steps of a sequence that count, the last ones: `max_steps`, 1 to 4096 (512).
    pub max_steps: usize,
}

/// Checked options of a classifier of sequences.
#[derive(Clone, Debug, PartialEq)]
pub struct SequenceParams {
    /// `algorithm`: `gru`, `lstm` or `rnn`.
    pub spec: SequenceSpec,
    /// As [`SequenceArchitecture`] has it.
    pub max_steps: usize,
    /// What holds for any network.
    pub training: TrainingParams,
    /// `input_dropout` (0.1): share of the steps' numbers that are dropped.
    pub input_dropout: f64,
    /// `dropout` (0.3): share of what the last layer reads that is dropped.
    pub dropout: f64,
    /// `truncation`, 0 to 4096 (0 for none): steps that a gradient goes back through.
    pub truncation: usize,
}

impl SequenceParams {
    /// Reads the parameters among whatever else the caller reads from the same options; the
    /// caller finishes them.
    pub fn read(options: &mut Options<'_>) -> Result<Self, OptionError> {
        let cells = [("gru", Cell::Gru), ("lstm", Cell::Lstm), ("rnn", Cell::Rnn)];
        let usual = SequenceSpec {
            cell: options.choice("algorithm", &cells)?,
            units: 32,
            layers: 1,
            bidirectional: true,
            pooling: vec![Pooling::Last, Pooling::Max, Pooling::Mean],
            hidden_units: 32,
        };
        let update = UpdateRule {
            optimizer: Optimizer::AdamW,
            weight_decay: 0.01,
            clip_norm: Some(1.0),
            ..UpdateRule::default()
        };
        let training = TrainingParams {
            epochs: 16,
            batch_size: 256,
            learning_rate: 3e-3,
            update,
            warmup_fraction: 0.05,
            stopping: EarlyStopping { patience: 0, monitor: Monitor::Loss, min_delta: 0.0 },
            ..TrainingParams::default()
        };
        Ok(Self {
            spec: SequenceSpec::read(options, usual)?,
            max_steps: options.integer("max_steps", 512, 1..=4096)? as usize,
            training: TrainingParams::read(options, training)?,
            input_dropout: options.number("input_dropout", 0.1, 0.0..=0.95)?,
            dropout: options.number("dropout", 0.3, 0.0..=0.95)?,
            truncation: options.integer("truncation", 0, 0..=4096)? as usize,
        })
    }

    /// As in the options.
    pub fn algorithm(&self) -> &'static str {
        match self.spec.cell {
            Cell::Rnn => "rnn",
            Cell::Gru => "gru",
            Cell::Lstm => "lstm",
        }
    }

    pub(super) fn regularization(&self) -> Regularization {
        Regularization {
            input_dropout: self.input_dropout as f32,
            dropout: self.dropout as f32,
            truncation: self.truncation,
        }
    }
}
