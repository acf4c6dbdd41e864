//! Where the numbers of sequences come from.

use teller_numeric::Isa;

use super::packing::Packing;
use crate::embedding::Feature;
use crate::layer::Noise;

/// Labelled sequences, and what makes numbers of them.
pub(crate) trait Source: Sync {
    /// At least 1.
    fn steps(&self, row: u32) -> usize;

    /// The index of its label.
    fn target(&self, row: u32) -> u32;

    /// Numbers of the whole sequence, which join after the pooling.
    fn statics(&self, _row: u32) -> &[f32] {
        &[]
    }

    /// Writes the numbers of all steps. `table` is that of the network, whose rows may be a part
    /// of them; what is random in training comes from `noise`, whose image is the sequence.
    fn load(&self, isa: Isa, table: &[f32], row: u32, noise: Option<Noise>, steps: Steps<'_>);

    /// Tells the rows of the table that each step was made of.
    fn features(&self, _row: u32, _noise: Noise, _tell: &mut dyn FnMut(usize, &[Feature])) {}
}

/// The steps of a packed sequence.
pub(crate) struct Steps<'a> {
    pub(super) packing: &'a Packing,
    pub(super) sequence: usize,
    pub(super) width: usize,
    pub(super) values: &'a mut [f32],
}

impl Steps<'_> {
    /// The numbers of one.
    pub(crate) fn step(&mut self, step: usize) -> &mut [f32] {
        let row = self.packing.row(self.sequence, step);
        &mut self.values[row * self.width..][..self.width]
    }
}
