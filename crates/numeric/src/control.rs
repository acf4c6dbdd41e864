//! How a long computation hears that it must stop, and says how far it is.
//!
//! The engines know neither SQL nor signals: whoever calls them passes a [`Control`].

use std::time::Duration;

/// The caller wants the computation to stop. Whatever was computed so far is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the computation was cancelled")]
pub struct Cancelled;

/// One finished step (an epoch, a sweep) of a training.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// 1-based.
    pub step: u32,
    /// How many steps there will be at most.
    pub of: u32,
    /// Mean training loss over the step.
    pub loss: f64,
    /// A figure on the validation part, with its name, where there is such a part.
    pub validation: Option<(&'static str, f64)>,
    /// Rows that the step read.
    pub rows: u64,
    /// Time that the step took.
    pub elapsed: Duration,
}

/// Where in a training a checkpoint is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Within a step, which goes on from there.
    InsideStep,
    /// After a step, the last one included, and its report.
    EndOfStep,
}

/// The encoded state of a training; it can go to another thread.
pub type CheckpointBytes = Box<dyn AsRef<[u8]> + Send + Sync>;

/// Cancellation and progress, asked and told from any thread of a computation.
pub trait Control: Sync {
    /// Fails once the computation must stop. As cheap as an atomic load; loops call it at least
    /// every few milliseconds.
    fn check(&self) -> Result<(), Cancelled>;

    /// Tells that a step is done.
    fn report(&self, step: Step);

    /// Offers a checkpoint, from which a later call of the same training goes on to the same
    /// result. Offers come from one thread at a time and as often as once a batch, so one that is
    /// not wanted must cost next to nothing. `state` makes the bytes, a copy of all that is
    /// trained; it gives nothing where the memory for them is not to be had.
    fn checkpoint(&self, moment: Moment, state: &dyn Fn() -> Option<CheckpointBytes>) {
        let _ = (moment, state);
    }
}

/// A control that never cancels and listens to nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Uninterrupted;

impl Control for Uninterrupted {
    fn check(&self) -> Result<(), Cancelled> {
        Ok(())
    }

    fn report(&self, _step: Step) {}
}
