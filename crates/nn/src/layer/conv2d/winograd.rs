//! Convolution 3 x 3 of stride 1 by Winograd's transforms: with many channels 4/9 of the products.
//!
//! A block of tiles at a time, so that its transforms stay in the cache.

use std::ops::Range;

use teller_numeric::kernels::winograd::{self, Extent, Output, POSITIONS, Side, Tiles};
use teller_numeric::kernels::{Contraction, Grid, Start};
use teller_numeric::{Cancelled, Isa};

use super::Conv2d;
use super::direct::Pooled;
use crate::layer::{Ends, Layer, Pass, Results, Weights, transpose};

/// Most tiles of a block.
const BLOCK: usize = 32;

/// The position at which a number adds to all four pixels of a tile alike: that of the bias.
const CENTRE: usize = 5;

impl Conv2d {
    pub(super) fn transformed_len(&self) -> usize {
        POSITIONS * self.channels * self.filters
    }

    /// Tiles down and across.
    fn tiles(&self) -> (usize, usize) {
        let (height, width) = self.computed();
        (height.div_ceil(2), width.div_ceil(2))
    }

    /// Blocks of about equally many tiles.
    fn blocks(&self) -> impl Iterator<Item = Range<usize>> {
        let (down, across) = self.tiles();
        let all = down * across;
        let block = self.block();
        (0..all).step_by(block).map(move |first| first..(first + block).min(all))
    }

    fn block(&self) -> usize {
        let (down, across) = self.tiles();
        let all = down * across;
        all.div_ceil(all.div_ceil(BLOCK).max(1)).max(1)
    }

    /// Transformed tiles of so many numbers a pixel. A cache line lies between the positions, lest
    /// all of them fall on the same lines of the cache.
    fn transformed(&self, channels: usize) -> Tiles {
        let position = (self.block() * channels).next_multiple_of(16) + 16;
        Tiles { across: self.tiles().1, channels, position }
    }

    /// What the tiles cover of the input, the zeros around it included.
    fn covered(&self) -> Extent {
        let (down, across) = self.tiles();
        Extent {
            height: (2 * down + 2).max(self.rows.before + self.rows.input),
            width: (2 * across + 2).max(self.columns.before + self.columns.input),
        }
    }

    /// Floats of the input with zeros around it, where it needs any.
    fn frame_len(&self) -> usize {
        let Extent { height, width } = self.covered();
        match (height, width) == (self.rows.input, self.columns.input) {
            true => 0,
            false => height * width * self.channels,
        }
    }

    pub(super) fn winograd_scratch(&self) -> usize {
        let [input, output] = [self.channels, self.filters].map(|c| self.transformed(c).position);
        self.frame_len() + POSITIONS * (input + output)
    }

    fn parts<'a>(&self, scratch: &'a mut [f32]) -> [&'a mut [f32]; 3] {
        let (frame, rest) = scratch.split_at_mut(self.frame_len());
        let (input, output) =
            rest.split_at_mut(POSITIONS * self.transformed(self.channels).position);
        [frame, input, output]
    }

    fn side(&self) -> Side {
        let (height, width) = self.computed();
        if self.pool { Side::Pooled } else { Side::Pixels(Extent { height, width }) }
    }

    /// At every position `[channels, filters]`, reversed `[filters, channels]`.
    pub(super) fn winograd_prepare(
        &self,
        isa: Isa,
        kernel: &[f32],
        prepared: &mut [f32],
        reversed: Option<&mut [f32]>,
    ) {
        winograd::kernel(isa, kernel, prepared);
        let Some(reversed) = reversed else { return };
        let position = self.channels * self.filters;
        let positions = prepared.chunks_exact(position).zip(reversed.chunks_exact_mut(position));
        for (from, to) in positions {
            transpose(from, to, self.channels, self.filters);
        }
    }

    pub(super) fn winograd_forward(
        &self,
        pass: &Pass<'_>,
        weights: Weights<'_>,
        input: &[f32],
        mut results: Results<'_>,
        scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        let [frame, before, after] = self.parts(scratch);
        let (from, to) = (self.transformed(self.channels), self.transformed(self.filters));
        let len = self.output().len();
        for (number, image) in input.chunks_exact(self.input().len()).enumerate() {
            let image = match frame.is_empty() {
                true => image,
                false => self.frame(image, self.covered().width, frame),
            };
            for tiles in self.blocks() {
                from.input(pass.isa, tiles.clone(), 0..4, self.covered(), image, before);
                let sizes = [tiles.len(), self.channels, self.filters];
                self.products(pass, sizes, before, weights, after)?;
                let output = Output {
                    values: &mut results.output[number * len..][..len],
                    winners: match &mut results.saved {
                        Some(saved) if self.pool => Some(&mut saved[number * len..][..len]),
                        _ => None,
                    },
                };
                to.output(pass.isa, tiles, self.side(), self.relu, after, output);
            }
        }
        Ok(())
    }

    /// `after = before * kernel` at every position; the bias, if there is one, is added.
    fn products(
        &self,
        pass: &Pass<'_>,
        [tiles, steps, columns]: [usize; 3],
        before: &[f32],
        weights: Weights<'_>,
        after: &mut [f32],
    ) -> Result<(), Cancelled> {
        let product = Contraction {
            rows: Grid {
                outer: 1,
                inner: tiles,
                a_inner: steps,
                c_inner: columns,
                ..Grid::default()
            },
            columns,
            segments: 1,
            steps,
            a_step: 1,
            b_step: columns,
            ..Contraction::default()
        };
        let kernels = weights.kernel.chunks_exact(steps * columns);
        let before = before.chunks_exact(self.transformed(steps).position);
        let after = after.chunks_exact_mut(self.transformed(columns).position);
        for (position, ((before, after), kernel)) in before.zip(after).zip(kernels).enumerate() {
            pass.control.check()?;
            let start = match position {
                CENTRE if !weights.bias.is_empty() => Start::Bias(weights.bias),
                _ => Start::Zero,
            };
            product.run(pass.isa, before, kernel, start, after);
        }
        Ok(())
    }

    pub(super) fn winograd_backward(
        &self,
        pass: &Pass<'_>,
        reversed: &[f32],
        ends: Ends<'_>,
        d_output: &[f32],
        d_input: &mut [f32],
        scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        let [frame, before, after] = self.parts(scratch);
        let (to, from) = (self.transformed(self.channels), self.transformed(self.filters));
        let weights = Weights { kernel: reversed, ..Weights::default() };
        let images = Pooled::images(self, d_output, ends.saved);
        for (image, d_input) in images.zip(d_input.chunks_exact_mut(self.input().len())) {
            let framed = !frame.is_empty();
            let sum = if framed { &mut *frame } else { &mut *d_input };
            sum.fill(0.0);
            for tiles in self.blocks() {
                let Pooled { gradient, winners } = image;
                let side = self.side();
                from.output_gradient(pass.isa, tiles.clone(), 0..4, side, gradient, winners, after);
                let sizes = [tiles.len(), self.filters, self.channels];
                self.products(pass, sizes, after, weights, before)?;
                to.input_gradient(pass.isa, tiles, self.covered(), before, sum);
            }
            if framed {
                self.unframe(frame, d_input);
            }
        }
        Ok(())
    }

    /// Takes the image out of the zeros around it.
    fn unframe(&self, frame: &[f32], image: &mut [f32]) {
        let width = self.covered().width;
        let row = self.columns.input * self.channels;
        let first = (self.rows.before * width + self.columns.before) * self.channels;
        for (y, to) in image.chunks_exact_mut(row).enumerate() {
            to.copy_from_slice(&frame[first + y * width * self.channels..][..row]);
        }
    }

    /// Rows of the gradient to the transformed kernel, whose rows of positions are tasks: each
    /// transforms what it needs once more, which costs less than keeping it for a whole batch.
    pub(super) fn winograd_gradient(
        &self,
        pass: &Pass<'_>,
        rows: Range<usize>,
        ends: Ends<'_>,
        d_output: &[f32],
        gradient: &mut [f32],
        scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        let [frame, before, after] = self.parts(scratch);
        let (input, output) = (self.transformed(self.channels), self.transformed(self.filters));
        let rows = rows.start / self.task_rows()..rows.end / self.task_rows();
        let images = ends.input.chunks_exact(self.input().len());
        let mut start = Start::Zero;
        for (image, pooled) in images.zip(Pooled::images(self, d_output, ends.saved)) {
            let image = match frame.is_empty() {
                true => image,
                false => self.frame(image, self.covered().width, frame),
            };
            for tiles in self.blocks() {
                input.input(pass.isa, tiles.clone(), rows.clone(), self.covered(), image, before);
                output.output_gradient(
                    pass.isa,
                    tiles.clone(),
                    rows.clone(),
                    self.side(),
                    pooled.gradient,
                    pooled.winners,
                    after,
                );
                let product = Contraction {
                    rows: Grid {
                        outer: 1,
                        inner: self.channels,
                        a_inner: 1,
                        c_inner: self.filters,
                        ..Grid::default()
                    },
                    columns: self.filters,
                    segments: 1,
                    steps: tiles.len(),
                    a_step: self.channels,
                    b_step: self.filters,
                    ..Contraction::default()
                };
                let kernels = gradient.chunks_exact_mut(self.channels * self.filters);
                let before = before.chunks_exact(input.position);
                let after = after.chunks_exact(output.position);
                for ((before, after), kernel) in before.zip(after).zip(kernels) {
                    pass.control.check()?;
                    product.run(pass.isa, before, after, start, kernel);
                }
                start = Start::Continue;
            }
        }
        Ok(())
    }

    pub(super) fn winograd_finish(&self, isa: Isa, gradient: &[f32], kernel: &mut [f32]) {
        winograd::kernel_gradient(isa, gradient, kernel);
    }
}
