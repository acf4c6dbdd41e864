//! Convolution of any shape, computed in place: for one kernel row, the pixels below it times
//! their channels are contiguous in the image, so the contraction walks them without copying
//! patches apart.

use std::ops::Range;

use teller_numeric::kernels::{Contraction, Grid, Start, Unpool};
use teller_numeric::{Cancelled, Isa};

use super::Conv2d;
use crate::Shape;
use crate::layer::{Ends, Layer, PRODUCTS_PER_CHECK, Pass, Results, Weights};

impl Conv2d {
    fn is_padded(&self) -> bool {
        self.rows.padding + self.columns.padding > 0
    }

    pub(super) fn padded_len(&self) -> usize {
        match self.is_padded() {
            true => self.rows.padded() * self.columns.padded() * self.channels,
            false => 0,
        }
    }

    /// The gradient to the pixels of the convolution itself, where they are pooled.
    fn unpooled_len(&self) -> usize {
        let (height, width) = self.computed();
        if self.pool { height * width * self.filters } else { 0 }
    }

    pub(super) fn direct_scratch(&self) -> usize {
        self.padded_len()
    }

    pub(super) fn direct_training_scratch(&self) -> usize {
        self.surrounded_len().max(self.padded_len() + self.unpooled_len())
    }

    /// The image with its zeros around it.
    pub(super) fn pad<'a>(&self, image: &'a [f32], scratch: &'a mut [f32]) -> &'a [f32] {
        match self.is_padded() {
            true => self.frame(image, self.columns.padded(), scratch),
            false => image,
        }
    }

    /// The gradient to the pixels of the convolution itself, from that to the maxima; rows and
    /// pixels go so many floats apart.
    pub(super) fn unpool(
        &self,
        isa: Isa,
        image: Pooled<'_>,
        to: &mut [f32],
        row: usize,
        pixel: usize,
    ) {
        let (height, width) = (self.rows.output / 2, self.columns.output / 2);
        let unpool = Unpool { height, width, channels: self.filters, row, pixel };
        unpool.run(isa, image.gradient, image.winners, to);
    }

    pub(super) fn direct_forward(
        &self,
        pass: &Pass<'_>,
        weights: Weights<'_>,
        input: &[f32],
        mut results: Results<'_>,
        scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        let Shape::Image { height, width, .. } = self.output() else { return Ok(()) };
        let by = if self.pool { 2 * self.stride } else { self.stride };
        let pixel = self.stride * self.channels;
        let row = self.columns.padded() * self.channels;
        let steps = self.kernel * self.channels;
        let products = self.kernel * steps * self.filters * width * if self.pool { 4 } else { 1 };
        let block = (PRODUCTS_PER_CHECK / products).max(1);
        let scratch = &mut scratch[..self.padded_len()];
        for (number, input) in input.chunks_exact(self.input().len()).enumerate() {
            let input = self.pad(input, scratch);
            for first in (0..height).step_by(block) {
                pass.control.check()?;
                let sum = Contraction {
                    rows: Grid {
                        outer: block.min(height - first),
                        inner: width,
                        a_outer: by * row,
                        a_inner: by * self.channels,
                        c_outer: width * self.filters,
                        c_inner: self.filters,
                    },
                    columns: self.filters,
                    segments: self.kernel,
                    steps,
                    a_segment: row,
                    a_step: 1,
                    b_segment: steps * self.filters,
                    b_step: self.filters,
                    relu: self.relu,
                    pool: self.pool.then_some([
                        0,
                        pixel,
                        self.stride * row,
                        self.stride * row + pixel,
                    ]),
                };
                let from = &input[first * by * row..];
                let at = (number * height + first) * width * self.filters;
                let to = &mut results.output[at..];
                let winners = results.saved.as_deref_mut().filter(|_| self.pool);
                let winners = winners.map(|winners| &mut winners[at..]);
                let start = Start::Bias(weights.bias);
                sum.run_noting(pass.isa, from, weights.kernel, start, to, winners);
            }
        }
        Ok(())
    }

    /// A row of the kernel is one kernel pixel's channel; the sum runs over the output's pixels.
    pub(super) fn direct_gradient(
        &self,
        pass: &Pass<'_>,
        rows: Range<usize>,
        ends: Ends<'_>,
        d_output: &[f32],
        gradient: &mut [f32],
        scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        let (padded, scratch) = scratch.split_at_mut(self.padded_len());
        let unpooled = &mut scratch[..self.unpooled_len()];
        let row = self.columns.padded() * self.channels;
        let per_kernel_row = self.kernel * self.channels;
        let (height, width) = self.computed();
        let images = ends.input.chunks_exact(self.input().len());
        let mut start = Start::Zero;
        for (input, image) in images.zip(Pooled::images(self, d_output, ends.saved)) {
            pass.control.check()?;
            let input = self.pad(input, padded);
            let d_output = match self.pool {
                true => {
                    let pixel = self.filters;
                    self.unpool(pass.isa, image, unpooled, width * pixel, pixel);
                    &*unpooled
                }
                false => image.gradient,
            };
            let mut done = 0;
            while done < rows.len() {
                let at = rows.start + done;
                let (kernel_row, within) = (at / per_kernel_row, at % per_kernel_row);
                let left = rows.end - at;
                // As many whole kernel rows as there are, else a part of one.
                let (outer, inner) = match left / per_kernel_row {
                    whole @ 1.. if within == 0 => (whole, per_kernel_row),
                    _ => (1, left.min(per_kernel_row - within)),
                };
                let sum = Contraction {
                    rows: Grid {
                        outer,
                        inner,
                        a_outer: row,
                        a_inner: 1,
                        c_outer: per_kernel_row * self.filters,
                        c_inner: self.filters,
                    },
                    columns: self.filters,
                    segments: height,
                    steps: width,
                    a_segment: self.stride * row,
                    a_step: self.stride * self.channels,
                    b_segment: width * self.filters,
                    b_step: self.filters,
                    ..Contraction::default()
                };
                let from = &input[kernel_row * row + within..];
                let to = &mut gradient[done * self.filters..];
                sum.run(pass.isa, from, d_output, start, to);
                done += outer * inner;
            }
            start = Start::Continue;
        }
        Ok(())
    }
}

/// The gradient to one image's output, and which of the four pixels each maximum was.
#[derive(Clone, Copy)]
pub(super) struct Pooled<'a> {
    pub(super) gradient: &'a [f32],
    /// Empty without pooling.
    pub(super) winners: &'a [f32],
}

impl<'a> Pooled<'a> {
    pub(super) fn images(
        layer: &Conv2d,
        gradient: &'a [f32],
        winners: &'a [f32],
    ) -> impl Iterator<Item = Self> {
        let len = layer.output().len();
        gradient.chunks_exact(len).enumerate().map(move |(image, gradient)| {
            let winners = winners.get(image * len..(image + 1) * len).unwrap_or_default();
            Self { gradient, winners }
        })
    }
}
