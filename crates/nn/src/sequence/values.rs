//! The values of some sequences on their way through a network and back.

use super::network::Network;

/// All of them, each in a `T`: its size, its memory, or a part of that.
pub(super) struct Values<T> {
    /// Rows x inputs.
    pub(super) input: T,
    pub(super) d_input: T,
    pub(super) layers: Vec<LayerValues<T>>,
    /// What the dense layers read: sequences x (poolings x states + static columns).
    pub(super) pooled: T,
    pub(super) d_pooled: T,
    /// Step of the largest state of each unit, where that is asked for.
    pub(super) winners: T,
    pub(super) hidden: T,
    pub(super) d_hidden: T,
    /// Sequences x classes.
    pub(super) logits: T,
    pub(super) d_logits: T,
}

/// Those of a recurrent layer.
pub(super) struct LayerValues<T> {
    pub(super) directions: Vec<DirectionValues<T>>,
    /// Rows x states.
    pub(super) output: T,
    pub(super) d_output: T,
}

/// Those of one direction; see [`super::cell::CellStep`].
pub(super) struct DirectionValues<T> {
    pub(super) gates: T,
    pub(super) recurrent: T,
    pub(super) previous: T,
    pub(super) kept: T,
    /// The gradient to what the layer reads, as far as it goes through this direction.
    pub(super) d_input: T,
}

/// Floats of a row, which is a step of a sequence, or of a sequence.
#[derive(Clone, Copy, Debug)]
pub(super) enum Width {
    Row(usize),
    Sequence(usize),
}

impl Width {
    /// Floats of so many rows of so many sequences.
    pub(super) fn floats(self, rows: usize, sequences: usize) -> usize {
        match self {
            Self::Row(width) => rows.saturating_mul(width),
            Self::Sequence(width) => sequences.saturating_mul(width),
        }
    }
}

impl<T> Values<T> {
    /// Makes each of them with `next`, always in the same order.
    pub(super) fn build(network: &Network, mut next: impl FnMut(Width) -> T) -> Self {
        let spec = &network.spec;
        let (units, states) = (spec.units, spec.states());
        let gates = units * spec.cell.gates();
        let input = next(Width::Row(network.inputs));
        let wanted = |inputs| if network.learns_inputs { inputs } else { 0 };
        let d_input = next(Width::Row(wanted(network.inputs)));
        let mut layers = Vec::with_capacity(spec.layers);
        for layer in 0..spec.layers {
            let d_input = if layer == 0 { wanted(network.inputs) } else { states };
            let mut direction = || DirectionValues {
                gates: next(Width::Row(gates)),
                recurrent: next(Width::Row(gates)),
                previous: next(Width::Row(units)),
                kept: next(Width::Row(if spec.cell.has_memory() { 2 * units } else { 0 })),
                d_input: next(Width::Row(d_input)),
            };
            let directions = (0..spec.directions()).map(|_| direction()).collect();
            let output = next(Width::Row(states));
            let d_output = next(Width::Row(states));
            layers.push(LayerValues { directions, output, d_output });
        }
        let pooled = network.pooled();
        Self {
            input,
            d_input,
            layers,
            pooled: next(Width::Sequence(pooled)),
            d_pooled: next(Width::Sequence(pooled)),
            winners: next(Width::Sequence(states)),
            hidden: next(Width::Sequence(spec.hidden_units)),
            d_hidden: next(Width::Sequence(spec.hidden_units)),
            logits: next(Width::Sequence(network.classes)),
            d_logits: next(Width::Sequence(network.classes)),
        }
    }
}
