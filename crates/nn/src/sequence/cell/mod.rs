//! What a recurrent layer does with its gates in one step, and back.
//!
//! A step reads, for each of some sequences, `gates` (what the input gives to every gate, its
//! bias included) and `recurrent` (the same of the state before). Both keep what the way back
//! needs; on that, they become the gradients to themselves.

mod gru;
mod lstm;
mod rnn;

use serde::{Deserialize, Serialize};
use teller_numeric::Isa;

/// Which recurrent cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cell {
    /// One hyperbolic tangent (Elman 1990).
    Rnn,
    /// Gated recurrent unit (Cho et al. 2014), the reset gate behind the recurrent product.
    Gru,
    /// Long short-term memory (Hochreiter and Schmidhuber 1997; forget gate, Gers et al. 2000).
    Lstm,
}

/// One step of some sequences; all slices are sequences x (a multiple of the units).
pub(super) struct CellStep<'a> {
    pub(super) isa: Isa,
    pub(super) units: usize,
    /// Times [`Cell::gates`].
    pub(super) gates: &'a mut [f32],
    pub(super) recurrent: &'a mut [f32],
    /// The state before the step becomes that after it. On the way back, the gradient to the
    /// state after it becomes that to the state before, as far as it does not go through gates.
    pub(super) state: &'a mut [f32],
    /// The same for the memory cell of an LSTM; empty for others.
    pub(super) memory: &'a mut [f32],
    /// The state before the step, only on the way back.
    pub(super) previous: &'a [f32],
    /// Twice the units: what an LSTM keeps of its memory for the way back.
    pub(super) kept: &'a mut [f32],
}

impl Cell {
    /// Gates, each with its own rows of both kernels.
    pub(super) fn gates(self) -> usize {
        match self {
            Self::Rnn => 1,
            Self::Gru => 3,
            Self::Lstm => 4,
        }
    }

    /// Whether it has a memory beside its state.
    pub(super) fn has_memory(self) -> bool {
        self == Self::Lstm
    }

    pub(super) fn forward(self, step: CellStep<'_>) {
        let isa = step.isa;
        match self {
            Self::Rnn => isa.run(rnn::Forward(step)),
            Self::Gru => isa.run(gru::Forward(step)),
            Self::Lstm => isa.run(lstm::Forward(step)),
        }
    }

    pub(super) fn backward(self, step: CellStep<'_>) {
        let isa = step.isa;
        match self {
            Self::Rnn => isa.run(rnn::Backward(step)),
            Self::Gru => isa.run(gru::Backward(step)),
            Self::Lstm => isa.run(lstm::Backward(step)),
        }
    }
}
