//! The gradient of a convolution in place to its input: again a convolution, of the gradient to
//! the output with the kernel turned. Pixels of the input that lie `stride` apart are reached by
//! the same numbers of the kernel, so each such phase is a convolution of its own, and no product
//! with the zeros between strides is computed.

use teller_numeric::kernels::{Contraction, Grid, Start};
use teller_numeric::{Cancelled, Isa};

use super::direct::Pooled;
use super::{Conv2d, Side};
use crate::layer::{Layer, Pass, transpose};

/// Pixels of the input along one direction, `stride` apart.
#[derive(Clone, Copy, Debug)]
struct Phase {
    /// The first of them.
    first: usize,
    pixels: usize,
    /// How many numbers of the kernel reach them, and the first of these.
    taps: usize,
    tap: usize,
    /// Where the last of these reads for the first pixel, in the gradient with zeros around.
    from: usize,
}

impl Conv2d {
    /// Zeros before and after the gradient to the output.
    fn margin(&self) -> usize {
        (self.kernel - 1).div_ceil(self.stride)
    }

    fn phases(&self, side: Side) -> impl Iterator<Item = Phase> + use<> {
        let (kernel, stride, margin) = (self.kernel, self.stride, self.margin());
        (0..stride.min(side.input)).map(move |first| {
            let reach = first + side.before;
            let tap = reach % stride;
            let taps = kernel.saturating_sub(tap).div_ceil(stride);
            let from = reach / stride + margin + 1 - taps;
            Phase { first, pixels: (side.input - first).div_ceil(stride), taps, tap, from }
        })
    }

    fn all_phases(&self) -> impl Iterator<Item = (Phase, Phase)> {
        let columns = self.columns;
        self.phases(self.rows)
            .flat_map(move |down| self.phases(columns).map(move |across| (down, across)))
    }

    /// Pixels in a row of the gradient to the output with zeros around.
    fn surrounded_width(&self) -> usize {
        self.columns.output + 2 * self.margin()
    }

    pub(super) fn surrounded_len(&self) -> usize {
        (self.rows.output + 2 * self.margin()) * self.surrounded_width() * self.filters
    }

    /// Each number's matrix transposed to `[filters, channels]`, in the order of the phases.
    pub(super) fn direct_prepare(&self, kernel: &[f32], reversed: Option<&mut [f32]>) {
        let Some(reversed) = reversed else { return };
        let (channels, filters) = (self.channels, self.filters);
        self.by_phase(kernel, reversed, |from, to| transpose(from, to, channels, filters));
    }

    /// Phase after phase the numbers that reach it, the last one first, each one's matrix as
    /// `write` gives it.
    pub(super) fn by_phase(
        &self,
        kernel: &[f32],
        reversed: &mut [f32],
        write: impl Fn(&[f32], &mut [f32]),
    ) {
        let matrix = self.channels * self.filters;
        let mut matrices = reversed.chunks_exact_mut(matrix);
        for (down, across) in self.all_phases() {
            for row in (0..down.taps).rev() {
                let row = (down.tap + row * self.stride) * self.kernel;
                for column in (0..across.taps).rev() {
                    let tap = row + across.tap + column * self.stride;
                    let from = &kernel[tap * matrix..][..matrix];
                    let Some(to) = matrices.next() else { return };
                    write(from, to);
                }
            }
        }
    }

    /// The gradient to the output, or that to the pixels under its maxima, with zeros around.
    fn surround(&self, isa: Isa, image: Pooled<'_>, frame: &mut [f32]) {
        frame.fill(0.0);
        let row = self.surrounded_width() * self.filters;
        let frame = &mut frame[self.margin() * (row + self.filters)..];
        if self.pool {
            return self.unpool(isa, image, frame, row, self.filters);
        }
        let rows = image.gradient.chunks_exact(self.columns.output * self.filters);
        for (from, to) in rows.zip(frame.chunks_mut(row)) {
            to[..from.len()].copy_from_slice(from);
        }
    }

    pub(super) fn direct_backward(
        &self,
        pass: &Pass<'_>,
        reversed: &[f32],
        saved: &[f32],
        d_output: &[f32],
        (start, d_input): (Start<'_>, &mut [f32]),
        scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        let frame = &mut scratch[..self.surrounded_len()];
        let (width, channels) = (self.surrounded_width(), self.channels);
        let (row, input_row) = (width * self.filters, self.columns.input * channels);
        let images = Pooled::images(self, d_output, saved);
        for (image, d_input) in images.zip(d_input.chunks_exact_mut(self.input().len())) {
            self.surround(pass.isa, image, frame);
            let mut rest = reversed;
            for (down, across) in self.all_phases() {
                pass.control.check()?;
                let steps = across.taps * self.filters;
                let (kernel, later) = rest.split_at(down.taps * steps * channels);
                rest = later;
                let sum = Contraction {
                    rows: Grid {
                        outer: down.pixels,
                        inner: across.pixels,
                        a_outer: row,
                        a_inner: self.filters,
                        c_outer: self.stride * input_row,
                        c_inner: self.stride * channels,
                    },
                    columns: channels,
                    segments: down.taps,
                    steps,
                    a_segment: row,
                    a_step: 1,
                    b_segment: steps * channels,
                    b_step: channels,
                    ..Contraction::default()
                };
                // Pixels that nothing reaches read nothing.
                let from = match kernel.is_empty() {
                    true => &[][..],
                    false => &frame[(down.from * width + across.from) * self.filters..],
                };
                let to = &mut d_input[down.first * input_row + across.first * channels..];
                sum.run(pass.isa, from, kernel, start, to);
            }
        }
        Ok(())
    }
}
