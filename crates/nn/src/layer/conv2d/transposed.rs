//! Transposed convolution (Dumoulin and Visin 2016), kernel `[kernel, kernel, channels, filters]`:
//! each pixel adds its kernel, weighted, to the pixels around its place in a larger image. That is
//! the gradient of the convolution that goes the other way, its mirror, to its input; so its own
//! gradient to the input is the mirror's forward pass.

use std::ops::Range;

use teller_numeric::kernels::{Contraction, Grid, Start};
use teller_numeric::{Cancelled, Isa, Stream};

use super::{Conv2d, Padding};
use crate::Shape;
use crate::layer::{Ends, Initialization, Layer, Pass, Results, Weights, transpose};

#[derive(Debug)]
pub(crate) struct ConvTranspose2d {
    /// From the output to the input: its filters are the channels, its channels the filters.
    mirror: Conv2d,
}

impl ConvTranspose2d {
    /// `Same` padding gives an image `stride` times as large, `Valid` one that holds every kernel
    /// whole. `None` if its sizes overflow. Nothing may be 0.
    pub(crate) fn new(
        (height, width, channels): (usize, usize, usize),
        filters: usize,
        kernel: usize,
        stride: usize,
        padding: Padding,
    ) -> Option<Self> {
        let side = |input: usize| match padding {
            Padding::Same => input.checked_mul(stride),
            Padding::Valid => (input - 1).checked_mul(stride)?.checked_add(kernel),
        };
        let output = (side(height)?, side(width)?, filters);
        let mirror = Conv2d::new(output, channels, kernel, stride, padding, false)?.direct();
        Some(Self { mirror })
    }

    fn matrix(&self) -> (usize, usize) {
        (self.mirror.filters, self.mirror.channels)
    }
}

impl Layer for ConvTranspose2d {
    fn input(&self) -> Shape {
        self.mirror.output()
    }

    fn output(&self) -> Shape {
        self.mirror.input()
    }

    fn products(&self) -> usize {
        self.mirror.products()
    }

    fn kernel_shape(&self) -> Option<Vec<usize>> {
        let (channels, filters) = self.matrix();
        Some(vec![self.mirror.kernel, self.mirror.kernel, channels, filters])
    }

    fn scratch(&self) -> usize {
        self.mirror.surrounded_len()
    }

    fn training_scratch(&self) -> usize {
        self.mirror.direct_training_scratch()
    }

    /// An output is reached by as many numbers of the kernel as the strides leave.
    fn initialize(&self, by: Initialization, stream: &mut Stream, kernel: &mut [f32]) {
        let (channels, filters) = self.matrix();
        let taps = self.mirror.kernel * self.mirror.kernel;
        let reaching = taps.div_ceil(self.mirror.stride * self.mirror.stride);
        by.draw(stream, reaching * channels, taps * filters, kernel);
    }

    fn prepared(&self) -> usize {
        self.mirror.reversed()
    }

    fn reversed(&self) -> usize {
        self.mirror.reversed()
    }

    /// For `forward` in the order of the mirror's phases, reversed the mirror's own kernel.
    fn prepare(
        &self,
        _isa: Isa,
        weights: Weights<'_>,
        prepared: &mut [f32],
        reversed: Option<&mut [f32]>,
    ) {
        self.mirror.by_phase(weights.kernel, prepared, |from, to| to.copy_from_slice(from));
        let Some(reversed) = reversed else { return };
        let (channels, filters) = self.matrix();
        let taps = weights.kernel.chunks_exact(channels * filters);
        for (from, to) in taps.zip(reversed.chunks_exact_mut(channels * filters)) {
            transpose(from, to, channels, filters);
        }
    }

    fn forward(
        &self,
        pass: &Pass<'_>,
        weights: Weights<'_>,
        input: &[f32],
        results: Results<'_>,
        scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        let to = (Start::Bias(weights.bias), results.output);
        self.mirror.direct_backward(pass, weights.kernel, &[], input, to, scratch)
    }

    fn backward(
        &self,
        pass: &Pass<'_>,
        reversed: &[f32],
        _ends: Ends<'_>,
        d_output: &mut [f32],
        d_input: Option<&mut [f32]>,
        scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        let Some(d_input) = d_input else { return Ok(()) };
        let bias = &*vec![0.0; self.mirror.filters];
        let weights = Weights { kernel: reversed, bias, ..Weights::default() };
        let results = Results { output: d_input, saved: None };
        self.mirror.direct_forward(pass, weights, d_output, results, scratch)
    }

    /// A row of the kernel is one kernel pixel's channel; the sum runs over the input's pixels.
    fn kernel_gradient(
        &self,
        pass: &Pass<'_>,
        rows: Range<usize>,
        ends: Ends<'_>,
        d_output: &[f32],
        gradient: &mut [f32],
        scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        let Conv2d { rows: down, columns: across, kernel, stride, .. } = self.mirror;
        let (channels, filters) = self.matrix();
        let padded = &mut scratch[..self.mirror.padded_len()];
        let row = across.padded() * filters;
        let images = ends.input.chunks_exact(self.input().len());
        let mut start = Start::Zero;
        for (input, d_output) in images.zip(d_output.chunks_exact(self.output().len())) {
            pass.control.check()?;
            let d_output = self.mirror.pad(d_output, padded);
            let mut at = rows.start;
            while at < rows.end {
                let (tap, channel) = (at / channels, at % channels);
                let inner = (rows.end - at).min(channels - channel);
                let sum = Contraction {
                    rows: Grid { outer: 1, inner, a_inner: 1, c_inner: filters, ..Grid::default() },
                    columns: filters,
                    segments: down.output,
                    steps: across.output,
                    a_segment: across.output * channels,
                    a_step: channels,
                    b_segment: stride * row,
                    b_step: stride * filters,
                    ..Contraction::default()
                };
                let place = tap / kernel * row + tap % kernel * filters;
                let to = &mut gradient[(at - rows.start) * filters..];
                sum.run(pass.isa, &input[channel..], &d_output[place..], start, to);
                at += inner;
            }
            start = Start::Continue;
        }
        Ok(())
    }
}
