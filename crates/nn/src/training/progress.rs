//! How far a training has come, and the checkpoint from which another run goes on.

use teller_numeric::CheckpointBytes;
use teller_payload::{CheckpointError, Payload, SharedBytes, TrainingKey};

use super::EarlyStopping;
use crate::Error;
use crate::fitted::{Epoch, Validation};
use crate::floats::Floats;
use crate::optimizer::OptimizerState;

/// Grows whenever a training's numbers or the checkpoint's arrays change their meaning.
pub(crate) const REVISION: u32 = 4;

/// A pass over rows as far as it has come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Batches.
    pub(super) done: u64,
    /// Sum over the rows.
    pub(super) loss: f64,
    /// The same of what is told beside it.
    pub(super) figure: f64,
}

/// The numbers of passes and batches that a training has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) epochs: u32,
    pub(super) stopping: EarlyStopping,
    /// Batches of one epoch.
    pub(super) training: u64,
    /// Batches of one look at the part kept apart, 0 without one.
    pub(super) validation: u64,
    /// Rows of that part.
    pub(super) validation_rows: u64,
}

/// All that the rest of a training depends on, besides weights and moments.
#[derive(Debug)]
pub(super) struct Progress {
    /// Those that are done.
    pub(super) epochs: Vec<Epoch>,
    /// Of the epoch after those: learning, then the part kept apart.
    pub(super) learned: Tally,
    pub(super) looked: Tally,
    /// Weights of the best epoch, where there is a part kept apart and an epoch is done.
    pub(super) best: Option<Floats>,
}

impl Progress {
    pub(super) fn start() -> Self {
        let (learned, looked) = (Tally::default(), Tally::default());
        Self { epochs: Vec::new(), learned, looked, best: None }
    }

    /// Epochs that are done.
    pub(super) fn done(&self) -> u32 {
        self.epochs.len() as u32
    }

    fn best_epoch(&self, extent: &Extent) -> Option<u32> {
        best_epoch(&self.epochs, extent)
    }

    /// Whether all epochs are done, or enough of them without a better one.
    pub(super) fn is_over(&self, extent: &Extent) -> bool {
        let in_vain = self.best_epoch(extent).map_or(0, |best| self.done() - best);
        let patience = extent.stopping.patience;
        self.done() >= extent.epochs || (patience > 0 && in_vain >= patience)
    }

    /// An epoch is done, with these weights after it.
    pub(super) fn finish_epoch(
        &mut self,
        epoch: Epoch,
        extent: &Extent,
        weights: &Floats,
    ) -> Result<(), Error> {
        (self.learned, self.looked) = (Tally::default(), Tally::default());
        self.epochs.push(epoch);
        if self.best_epoch(extent) == Some(self.done()) {
            let best = match self.best.take() {
                Some(best) => best,
                None => Floats::zeros(weights.len())?,
            };
            self.best.insert(best).copy_from_slice(weights);
        }
        Ok(())
    }

    /// The whole state, or nothing if the memory is not to be had.
    pub(super) fn checkpoint(
        &self,
        key: &TrainingKey,
        weights: &Floats,
        optimizer: &OptimizerState,
    ) -> Option<CheckpointBytes> {
        let Self { epochs, learned, looked, best } = self;
        let position = [
            epochs.len() as u64,
            learned.done,
            learned.loss.to_bits(),
            looked.done,
            looked.loss.to_bits(),
            looked.figure.to_bits(),
        ];
        let figures: Vec<u64> = epochs
            .iter()
            .flat_map(|epoch| {
                let figures = epoch.validation.map_or((0.0, 0.0), |v| (v.loss, v.figure));
                [epoch.loss, figures.0, figures.1].map(f64::to_bits)
            })
            .collect();
        let mut writer = key.writer();
        writer.array("position", &[position.len()], &position);
        writer.array("epochs", &[epochs.len(), 3], &figures);
        writer.array("weights", &[weights.len()], weights);
        let [first, second] = optimizer.moments();
        writer.array("first moments", &[first.len()], first);
        writer.array("second moments", &[second.len()], second);
        let best = best.as_deref().unwrap_or_default();
        writer.array("best weights", &[best.len()], best);
        Some(Box::new(writer.try_finish()?))
    }

    /// Goes back to where a checkpoint was written.
    pub(super) fn resume(
        checkpoint: SharedBytes,
        key: &TrainingKey,
        extent: &Extent,
        weights: &mut Floats,
        optimizer: &mut OptimizerState,
    ) -> Result<Self, Error> {
        let payload = key.read(checkpoint)?;
        let mut progress = Self::read(&payload, extent)?;
        let array = |name, len| {
            let array = payload.array_of::<f32>(name, &[len]).map_err(CheckpointError::from)?;
            Ok::<_, Error>(payload.get(array))
        };
        let trained = array("weights", weights.len())?;
        weights.copy_from_slice(trained);
        let [first, second] = optimizer.moments();
        let first = array("first moments", first.len())?;
        let second = array("second moments", second.len())?;
        let steps = u64::from(progress.done()) * extent.training + progress.learned.done;
        optimizer.resume(steps, first, second);
        let len = if progress.best_epoch(extent).is_some() { weights.len() } else { 0 };
        let best = array("best weights", len)?;
        if len > 0 {
            progress.best.insert(Floats::zeros(len)?).copy_from_slice(best);
        }
        Ok(progress)
    }

    /// Everything but weights and moments.
    fn read(payload: &Payload, extent: &Extent) -> Result<Self, CheckpointError> {
        let position = payload.get(payload.array_of::<u64>("position", &[6])?);
        let sum = f64::from_bits;
        let learned = Tally { done: position[1], loss: sum(position[2]), figure: 0.0 };
        let looked = Tally { done: position[3], loss: sum(position[4]), figure: sum(position[5]) };
        // The part kept apart is looked at once everything is learned.
        let looks = if learned.done < extent.training { 0 } else { extent.validation };
        for (what, got, expected) in [
            ("epoch", position[0], u64::from(extent.epochs)),
            ("batch", learned.done, extent.training),
            ("validation batch", looked.done, looks),
        ] {
            if got > expected {
                return Err(CheckpointError::Position { what, got, expected });
            }
        }
        let done = position[0] as usize;
        let figures = payload.get(payload.array_of::<u64>("epochs", &[done, 3])?);
        let epochs: Vec<Epoch> = (1..)
            .zip(figures.as_chunks::<3>().0)
            .map(|(epoch, &figures)| {
                let [loss, validation_loss, figure] = figures.map(f64::from_bits);
                let rows = extent.validation_rows;
                let validation = Validation { loss: validation_loss, figure, rows };
                Epoch { epoch, loss, validation: (rows > 0).then_some(validation) }
            })
            .collect();
        let mut losses = epochs.iter().map(|epoch| epoch.loss).chain([learned.loss]);
        if !losses.all(f64::is_finite) {
            return Err(CheckpointError::NotFinite("loss"));
        }
        Ok(Self { epochs, learned, looked, best: None })
    }
}

/// Of the epochs done, the one with the best validation, of equal ones the first.
pub(super) fn best_epoch(epochs: &[Epoch], extent: &Extent) -> Option<u32> {
    let mut best: Option<(Validation, u32)> = None;
    for epoch in epochs {
        let Some(validation) = epoch.validation else { continue };
        if best.is_none_or(|(so_far, _)| extent.stopping.is_better(&validation, &so_far)) {
            best = Some((validation, epoch.epoch));
        }
    }
    best.map(|(_, epoch)| epoch)
}
