//! A checkpoint is a payload with the state of a training under way. It begins with the key of its
//! training, so that no other goes on from it.

use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

use crate::{Element, Payload, PayloadError, PayloadWriter, SharedBytes};

const KEY: &str = "training";

/// Why a training cannot go on from a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Damaged, or no checkpoint.
    #[error("the checkpoint cannot be read: {0}")]
    Payload(#[from] PayloadError),
    /// Whole, but written by a training of something else.
    #[error("the checkpoint is of a training with other {0}")]
    OtherTraining(&'static str),
    /// The training never stands there.
    #[error("the checkpoint is at {what} {got}, this training has {expected}")]
    Position {
        /// What is counted: epochs, sweeps, rows.
        what: &'static str,
        /// What the checkpoint says.
        got: u64,
        /// The most there are.
        expected: u64,
    },
    /// The training never has such a number.
    #[error("the checkpoint's {0} is not a finite number")]
    NotFinite(&'static str),
}

/// What tells one training from another: digests of what was asked and of what it learns from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainingKey([u64; 2]);

impl TrainingKey {
    /// `parameters` is a text with all that the result depends on, besides the data: the algorithm
    /// with a number that grows whenever its numbers or its checkpoints change, and its parameters.
    pub fn new(parameters: &str, data: DataDigest) -> Self {
        Self([xxh3_64(parameters.as_bytes()), data.0.digest()])
    }

    /// Begins a checkpoint.
    pub fn writer(&self) -> PayloadWriter<'_> {
        let mut writer = PayloadWriter::new();
        writer.array(KEY, &[2], &self.0);
        writer
    }

    /// The arrays of a checkpoint of this training.
    pub fn read(&self, checkpoint: SharedBytes) -> Result<Payload, CheckpointError> {
        let payload = Payload::parse(checkpoint)?;
        let key = payload.get(payload.array_of::<u64>(KEY, &[2])?);
        match (key[0] == self.0[0], key[1] == self.0[1]) {
            (false, _) => Err(CheckpointError::OtherTraining("parameters")),
            (_, false) => Err(CheckpointError::OtherTraining("data")),
            _ => Ok(payload),
        }
    }
}

/// A digest of a training's data, array by array.
#[derive(Clone, Default)]
pub struct DataDigest(Xxh3Default);

impl DataDigest {
    /// Of no data.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an array with its length.
    pub fn update<T: Element>(&mut self, numbers: &[T]) {
        self.0.update(&(numbers.len() as u64).to_le_bytes());
        self.0.update(bytemuck::cast_slice(numbers));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn key(parameters: &str, data: &[&[u32]]) -> TrainingKey {
        let mut digest = DataDigest::new();
        data.iter().for_each(|array| digest.update(array));
        TrainingKey::new(parameters, digest)
    }

    #[test]
    fn no_other_training_reads_it() {
        let mine = key("als 1", &[&[1], &[2, 3]]);
        let mut writer = mine.writer();
        writer.array("state", &[1], &[7u32]);
        let checkpoint: SharedBytes = Arc::new(writer.finish());
        let payload = mine.read(checkpoint.clone()).unwrap();
        assert_eq!(payload.get(payload.array_of::<u32>("state", &[1]).unwrap()), [7]);
        for (other, differs) in [
            (key("als 2", &[&[1], &[2, 3]]), "parameters"),
            (key("als 1", &[&[1, 2], &[3]]), "data"),
            (key("als 1", &[&[1], &[2, 4]]), "data"),
        ] {
            let error = other.read(checkpoint.clone()).unwrap_err();
            assert_eq!(error, CheckpointError::OtherTraining(differs));
        }
        let foreign: SharedBytes = Arc::new(PayloadWriter::new().finish());
        assert!(matches!(mine.read(foreign), Err(CheckpointError::Payload(_))));
    }
}
