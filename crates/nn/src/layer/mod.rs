//! The layers: one file each, all held to the contract of [`Layer`] by the same tests.

mod avg_pool2d;
mod batch_norm2d;
mod conv2d;
mod dense;
mod dropout;
mod elementwise;
mod grouped_conv2d;
mod initialization;
mod max_pool2d;
mod softmax;
mod sum;
mod transpose;

use std::ops::Range;

pub(crate) use avg_pool2d::AvgPool2d;
pub(crate) use batch_norm2d::BatchNorm2d;
pub use conv2d::Padding;
pub(crate) use conv2d::{Conv2d, ConvTranspose2d};
pub(crate) use dense::{Dense, WIDEST};
pub(crate) use dropout::{Dropout, drop_out};
pub(crate) use elementwise::{Curve, Elementwise};
pub(crate) use grouped_conv2d::{GroupedConv2d, Reach};
pub(crate) use initialization::Initialization;
pub(crate) use max_pool2d::MaxPool2d;
pub(crate) use softmax::softmax;
pub(crate) use sum::{Sum, add_loop};
use teller_numeric::kernels::{Contraction, Grid, Start};
use teller_numeric::{Cancelled, Control, Isa, Stream};
use transpose::transpose;

use crate::Shape;

/// Products between two looks at the control: a few milliseconds on the slowest path.
const PRODUCTS_PER_CHECK: usize = 1 << 22;

/// Rows of the kernel in one task of its gradient: two of the highest tiles.
const TASK_ROWS: usize = 24;

/// What a pass through a layer depends on beside the numbers.
#[derive(Clone, Copy)]
pub(crate) struct Pass<'a> {
    pub(crate) isa: Isa,
    pub(crate) control: &'a dyn Control,
    /// Set in training.
    pub(crate) noise: Option<Noise>,
}

/// What random layers draw from: the numbers depend on which image it is, not on the batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Noise {
    pub(crate) seed: u64,
    /// Running number, over the whole training, of the first image of the pass.
    pub(crate) first_image: u64,
}

/// A layer's trained numbers; empty slices where it has none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weights<'a> {
    /// For `forward` as prepared, where the layer wants that.
    pub(crate) kernel: &'a [f32],
    pub(crate) bias: &'a [f32],
    /// Running statistics of a batch norm, which follow the batches and no gradient.
    pub(crate) mean: &'a [f32],
    pub(crate) variance: &'a [f32],
}

/// One layer over any number of images, which follow each other in every slice.
pub(crate) trait Layer: std::fmt::Debug + Send + Sync {
    /// What it reads.
    fn input(&self) -> Shape;

    /// What it gives.
    fn output(&self) -> Shape;

    /// Shape of the kernel, its last extent being the length of the bias.
    fn kernel_shape(&self) -> Option<Vec<usize>> {
        None
    }

    /// Products that the sums of one image's output need.
    fn products(&self) -> usize {
        0
    }

    /// Floats of working memory that `forward` needs.
    fn scratch(&self) -> usize {
        0
    }

    /// Floats of working memory that `forward`, `backward` and `kernel_gradient` need.
    fn training_scratch(&self) -> usize {
        self.scratch()
    }

    /// Floats an image that `forward` keeps for `backward`.
    fn saved(&self) -> usize {
        0
    }

    /// Whether its kernel is to shrink where weights decay.
    fn decays(&self) -> bool {
        true
    }

    /// Whether it adds to what its output holds before, the other way through a residual block.
    fn adds(&self) -> bool {
        false
    }

    /// The layer as one that looks over a whole batch.
    fn batch_norm(&self) -> Option<&BatchNorm2d> {
        None
    }

    /// Fills the kernel before training.
    fn initialize(&self, _by: Initialization, _stream: &mut Stream, _kernel: &mut [f32]) {}

    /// Floats of the kernel as `forward` reads it; 0 if it reads the kernel itself.
    fn prepared(&self) -> usize {
        0
    }

    /// Floats of the kernel as `backward` reads it.
    fn reversed(&self) -> usize {
        0
    }

    /// Writes the kernel as `forward` reads it and, if wanted, as `backward` does.
    fn prepare(
        &self,
        _isa: Isa,
        _weights: Weights<'_>,
        _prepared: &mut [f32],
        _reversed: Option<&mut [f32]>,
    ) {
    }

    fn forward(
        &self,
        pass: &Pass<'_>,
        weights: Weights<'_>,
        input: &[f32],
        results: Results<'_>,
        scratch: &mut [f32],
    ) -> Result<(), Cancelled>;

    /// From the loss's gradient to the output, which it changes into that before the layer's own
    /// activation, to the gradient to the input, unless nobody wants that.
    fn backward(
        &self,
        pass: &Pass<'_>,
        reversed: &[f32],
        ends: Ends<'_>,
        d_output: &mut [f32],
        d_input: Option<&mut [f32]>,
        scratch: &mut [f32],
    ) -> Result<(), Cancelled>;

    /// Rows of the gradient to the kernel, seen as a matrix of the bias's width. If they are not
    /// as many as the kernel's, `finish_gradient` makes those of them.
    fn gradient_rows(&self) -> usize {
        let shape = self.kernel_shape().unwrap_or_default();
        shape.iter().rev().skip(1).product::<usize>() * usize::from(!shape.is_empty())
    }

    /// Rows that one task computes.
    fn task_rows(&self) -> usize {
        TASK_ROWS
    }

    /// Writes some rows of the gradient, the sum over the images one after another. Rows begin
    /// and end at those of tasks, `d_output` is as `backward` left it.
    fn kernel_gradient(
        &self,
        _pass: &Pass<'_>,
        _rows: Range<usize>,
        _ends: Ends<'_>,
        _d_output: &[f32],
        _gradient: &mut [f32],
        _scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        Ok(())
    }

    /// The gradient to the kernel from all rows that tasks have computed, where those are others.
    fn finish_gradient(&self, _isa: Isa, _gradient: &[f32], _kernel: &mut [f32]) {}
}

/// Where a forward pass writes to.
#[derive(Debug)]
pub(crate) struct Results<'a> {
    pub(crate) output: &'a mut [f32],
    /// For `backward`; `None` if there will be none.
    pub(crate) saved: Option<&'a mut [f32]>,
}

/// What went in and came out in the forward pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends<'a> {
    pub(crate) input: &'a [f32],
    pub(crate) output: &'a [f32],
    pub(crate) saved: &'a [f32],
}

/// The sum of all rows of `d_output` (images x pixels x columns).
pub(crate) fn bias_gradient(isa: Isa, d_output: &[f32], gradient: &mut [f32]) {
    let columns = gradient.len();
    let sum = Contraction {
        rows: Grid { outer: 1, inner: 1, ..Grid::default() },
        columns,
        segments: 1,
        steps: d_output.len() / columns.max(1),
        b_step: columns,
        ..Contraction::default()
    };
    sum.run(isa, &[1.0], d_output, Start::Zero, gradient);
}

/// Keeps the gradient where the rectified output is positive.
fn relu_gradient(isa: Isa, output: &[f32], d_output: &mut [f32]) {
    isa.vectorize(relu_gradient_loop, (output, d_output));
}

#[inline(always)]
fn relu_gradient_loop((output, d_output): (&[f32], &mut [f32])) {
    for (d, &y) in d_output.iter_mut().zip(output) {
        *d = if y > 0.0 { *d } else { 0.0 };
    }
}

#[cfg(test)]
mod contract;
