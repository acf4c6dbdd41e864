//! A training from the first epoch to the last, or until it no longer gets better: the same for
//! all networks, which say what a step on a batch is.

mod early_stopping;
mod params;
mod progress;
mod split;

use std::time::Instant;

pub use early_stopping::{EarlyStopping, Monitor};
pub use params::TrainingParams;
pub(crate) use progress::REVISION;
use progress::{Extent, Progress, Tally};
pub(crate) use split::{Split, stratified};
use teller_numeric::{Control, Moment, Step, Stream};
use teller_payload::{SharedBytes, TrainingKey};

use crate::Error;
use crate::fitted::{Epoch, Validation};
use crate::floats::Floats;
use crate::optimizer::{OptimizerState, Pace};

/// A network with all that its training changes. The same state and the same calls give the same
/// bits, so that a training can go on from a checkpoint of the state.
pub(crate) trait Learner {
    /// All weights that are trained, and what their optimizer remembers.
    fn state(&self) -> (&Floats, &OptimizerState);

    /// The same, to go back to a checkpoint.
    fn state_mut(&mut self) -> (&mut Floats, &mut OptimizerState);

    /// Ends the training; gives back all memory but the weights.
    fn into_weights(self) -> Floats;

    /// Rearranges the rows of an epoch, which are in random order, as batches want them;
    /// `before` counts the epochs before it.
    fn arrange(&self, _rows: &mut [u32], _before: u64) {}

    /// Learns from a batch; gives the sum of the losses of its rows.
    fn step(&mut self, step: TrainingStep<'_>, control: &dyn Control) -> Result<f64, Error>;

    /// Looks at rows of the part kept apart, at most a batch, without learning.
    fn look(&mut self, rows: &[u32], control: &dyn Control) -> Result<Look, Error>;

    /// What is told of the part kept apart after an epoch.
    fn figure(&self, validation: &Validation) -> (&'static str, f64) {
        ("accuracy", validation.figure)
    }
}

/// What is learned from in one step, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TrainingStep<'a> {
    pub(crate) rows: &'a [u32],
    /// Epochs before this one.
    pub(crate) before: u64,
    /// Running number, over the whole training, of the first row.
    pub(crate) first: u64,
    /// Learning rate.
    pub(crate) rate: f64,
}

/// Sums over the rows that were looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Look {
    /// Cross-entropy, or whatever the network makes smaller.
    pub(crate) loss: f64,
    /// What is told beside it: of a classifier the rows whose label was the most probable.
    pub(crate) figure: f64,
}

impl std::iter::Sum for Look {
    fn sum<I: Iterator<Item = Self>>(looks: I) -> Self {
        looks.fold(Self::default(), |all, look| Self {
            loss: all.loss + look.loss,
            figure: all.figure + look.figure,
        })
    }
}

/// What a training learns from, and how long.
pub(crate) struct Course<'a> {
    pub(crate) params: &'a TrainingParams,
    pub(crate) split: &'a Split,
    /// Tells its checkpoints from those of others.
    pub(crate) key: TrainingKey,
}

/// What a training comes to.
pub(crate) struct Trained {
    /// Those of the best epoch.
    pub(crate) weights: Floats,
    pub(crate) best_epoch: u32,
    pub(crate) epochs: Vec<Epoch>,
}

/// Bytes that a training holds for so many weights beside them and their gradient: the optimizer's
/// memory, the best epoch's weights, and a checkpoint that copies all.
pub(crate) fn memory_of_state(params: &TrainingParams, weights: usize) -> u64 {
    let kept = params.update.moments() as u64 + 1;
    (2 * kept + 1).saturating_mul(weights as u64).saturating_mul(size_of::<f32>() as u64)
}

impl Course<'_> {
    /// Trains, reporting a step for every epoch and offering checkpoints, from one of which
    /// (`resume`) it goes on.
    pub(crate) fn run<L: Learner>(
        &self,
        mut learner: L,
        resume: Option<SharedBytes>,
        control: &dyn Control,
    ) -> Result<Trained, Error> {
        let (params, split) = (self.params, self.split);
        let training = (split.training.len() as u64).div_ceil(params.batch_size as u64);
        let extent = Extent {
            epochs: params.epochs,
            stopping: params.stopping,
            training,
            validation: split.validation.len().div_ceil(split.batch(params)) as u64,
            validation_rows: split.validation.len() as u64,
        };
        let progress = match resume {
            None => Progress::start(),
            Some(checkpoint) => {
                let (weights, optimizer) = learner.state_mut();
                Progress::resume(checkpoint, &self.key, &extent, weights, optimizer)?
            }
        };
        let pace = Pace::new(params.schedule, params.warmup_fraction, training, params.epochs);
        let mut run = Run { course: self, extent, pace, progress, learner: &mut learner, control };
        while !run.progress.is_over(&extent) {
            run.epoch()?;
        }
        let Progress { epochs, best, .. } = run.progress;
        let best_epoch = progress::best_epoch(&epochs, &extent).unwrap_or(epochs.len() as u32);
        let weights = best.unwrap_or_else(|| learner.into_weights());
        Ok(Trained { weights, best_epoch, epochs })
    }
}

/// A training under way.
struct Run<'a, L> {
    course: &'a Course<'a>,
    extent: Extent,
    pace: Pace,
    progress: Progress,
    learner: &'a mut L,
    control: &'a dyn Control,
}

impl<L: Learner> Run<'_, L> {
    /// What is left of one epoch.
    fn epoch(&mut self) -> Result<(), Error> {
        let begun = Instant::now();
        let epoch = self.progress.done() + 1;
        let loss = self.learn(epoch)?;
        let validation = self.validate()?;
        let done = Epoch { epoch, loss, validation };
        self.progress.finish_epoch(done, &self.extent, self.learner.state().0)?;
        self.control.report(Step {
            step: epoch,
            of: self.extent.epochs,
            loss,
            validation: validation.map(|validation| self.learner.figure(&validation)),
            rows: self.course.split.training.len() as u64,
            elapsed: begun.elapsed(),
        });
        self.offer_checkpoint(Moment::EndOfStep);
        Ok(())
    }

    fn offer_checkpoint(&self, moment: Moment) {
        let (weights, optimizer) = self.learner.state();
        let state = || self.progress.checkpoint(&self.course.key, weights, optimizer);
        self.control.checkpoint(moment, &state);
    }

    /// What is left of one pass over the training rows in a new order; gives the mean loss.
    fn learn(&mut self, epoch: u32) -> Result<f64, Error> {
        let Course { params, split, .. } = self.course;
        let before = u64::from(epoch - 1);
        let mut order = split.training.clone();
        Stream::new(params.seed, "epoch order", before).shuffle(&mut order);
        self.learner.arrange(&mut order, before);
        let left = (0u64..).zip(order.chunks(params.batch_size));
        for (number, rows) in left.skip(self.progress.learned.done as usize) {
            let step = before * self.extent.training + number;
            let first = before * order.len() as u64 + number * params.batch_size as u64;
            let rate = params.learning_rate * self.pace.factor(step);
            let now = TrainingStep { rows, before, first, rate };
            let loss = self.learner.step(now, self.control)?;
            let learned = &mut self.progress.learned;
            learned.loss += loss;
            learned.done = number + 1;
            if !learned.loss.is_finite() {
                return Err(Error::Diverged { epoch });
            }
            self.offer_checkpoint(Moment::InsideStep);
        }
        let (weights, _) = self.learner.state();
        if !weights.iter().all(|weight| weight.is_finite()) {
            return Err(Error::Diverged { epoch });
        }
        Ok(self.progress.learned.loss / order.len() as f64)
    }

    /// What is left of a look at the part kept apart.
    fn validate(&mut self) -> Result<Option<Validation>, Error> {
        let Course { params, split, .. } = self.course;
        let rows = split.validation.len() as u64;
        if rows == 0 {
            return Ok(None);
        }
        let left = (1u64..).zip(split.validation.chunks(split.batch(params)));
        for (done, rows) in left.skip(self.progress.looked.done as usize) {
            let look = self.learner.look(rows, self.control)?;
            let looked = &mut self.progress.looked;
            looked.loss += look.loss;
            looked.figure += look.figure;
            looked.done = done;
            self.offer_checkpoint(Moment::InsideStep);
        }
        let Tally { loss, figure, .. } = self.progress.looked;
        let [loss, figure] = [loss, figure].map(|sum| sum / rows as f64);
        Ok(Some(Validation { loss, figure, rows }))
    }
}
