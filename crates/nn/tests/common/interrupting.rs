//! A training that is interrupted.

use std::sync::Mutex;

use teller_numeric::{Cancelled, CheckpointBytes, Control, Moment, Step};

/// Keeps checkpoints, and ends the training after so many.
pub(crate) struct Interrupting {
    pub(crate) most: usize,
    pub(crate) checkpoints: Mutex<Vec<Vec<u8>>>,
}

impl Control for Interrupting {
    fn check(&self) -> Result<(), Cancelled> {
        if self.checkpoints.lock().unwrap().len() < self.most { Ok(()) } else { Err(Cancelled) }
    }

    fn report(&self, _step: Step) {}

    fn checkpoint(&self, _moment: Moment, state: &dyn Fn() -> Option<CheckpointBytes>) {
        self.checkpoints.lock().unwrap().push((*state().unwrap()).as_ref().to_vec());
    }
}
