//! Batch normalization (Ioffe and Szegedy 2015): `(x - mean) / root(variance + epsilon) * gamma +
//! beta`, channel by channel; a vector is one pixel of as many channels.
//!
//! Mean and variance are those of the whole batch while the network learns, else the running ones.
//! What the layer computes with is in its prepared kernel, so it does the same with both. Sums over
//! a batch are of 64 bits and go group by group in the order of the images.

use std::ops::Range;

use teller_numeric::{Cancelled, Isa, Stream};

use super::{Ends, Initialization, Layer, Pass, Results, Weights, relu_gradient};
use crate::Shape;

#[derive(Clone, Debug)]
pub(crate) struct BatchNorm2d {
    pub(crate) shape: Shape,
    /// Share of a batch in the running statistics.
    pub(crate) momentum: f64,
    pub(crate) epsilon: f64,
    pub(crate) relu: bool,
}

/// Where a channel's numbers are in a prepared kernel: the mean, 1 / root, gamma / root, beta.
const MEAN: usize = 0;
const RECIPROCAL: usize = 1;
const SCALE: usize = 2;
const SHIFT: usize = 3;
/// In a reversed one: the mean as well, gamma / root, and the means of the gradient and of its part
/// along the values, which the statistics take out of it.
const FACTOR: usize = 1;
const MEAN_GRADIENT: usize = 2;
const SLOPE: usize = 3;

impl BatchNorm2d {
    pub(crate) fn channels(&self) -> usize {
        match self.shape {
            Shape::Image { channels, .. } => channels,
            Shape::Vector(len) => len,
        }
    }

    fn part(&self, which: usize) -> Range<usize> {
        which * self.channels()..(which + 1) * self.channels()
    }

    /// Numbers that [`Self::sum_values`] and [`Self::sum_gradients`] write.
    pub(crate) fn sums(&self) -> usize {
        2 * self.channels()
    }

    /// Of the values of some images: the sum of each channel, then that of its squares.
    pub(crate) fn sum_values(&self, isa: Isa, input: &[f32], sums: &mut [f64]) {
        isa.vectorize(sum_loop, (input, sums.split_at_mut(self.channels())));
    }

    /// Takes on the statistics of a batch of `images`, whose sums are given, and lets the running
    /// ones follow.
    pub(crate) fn settle(
        &self,
        images: usize,
        sums: &[f64],
        (gamma, beta): (&[f32], &[f32]),
        (running_mean, running_variance): (&mut [f32], &mut [f32]),
        prepared: &mut [f32],
    ) {
        let channels = self.channels();
        let count = (images * (self.shape.len() / channels)) as f64;
        for channel in 0..channels {
            let mean = sums[channel] / count;
            let variance = (sums[channels + channel] / count - mean * mean).max(0.0);
            let weights = (gamma[channel], beta[channel]);
            self.prepare_channel(channel, (mean, variance), weights, prepared);
            // One value alone has no variance to learn from.
            if count > 1.0 {
                let follow = |running: &mut f32, value: f64| {
                    let before = f64::from(*running);
                    *running = (before + self.momentum * (value - before)) as f32;
                };
                follow(&mut running_mean[channel], mean);
                follow(&mut running_variance[channel], variance * (count / (count - 1.0)));
            }
        }
    }

    /// Of some images, after the gradient to the output became that before the activation: the
    /// sum of each channel's gradient, then that of its products with the values less their mean.
    pub(crate) fn sum_gradients(
        &self,
        isa: Isa,
        prepared: &[f32],
        ends: Ends<'_>,
        d_output: &mut [f32],
        sums: &mut [f64],
    ) {
        if self.relu {
            relu_gradient(isa, ends.output, d_output);
        }
        let sums = sums.split_at_mut(self.channels());
        isa.vectorize(
            sum_gradient_loop,
            (&prepared[self.part(MEAN)], ends.input, &*d_output, sums),
        );
    }

    /// Takes on the sums of the gradients of the batch that [`Self::settle`] saw.
    pub(crate) fn settle_gradients(
        &self,
        images: usize,
        sums: &[f64],
        prepared: &[f32],
        reversed: &mut [f32],
    ) {
        let channels = self.channels();
        let count = (images * (self.shape.len() / channels)) as f64;
        for channel in 0..channels {
            let reciprocal = f64::from(prepared[RECIPROCAL * channels + channel]);
            let slope = sums[channels + channel] / count * reciprocal * reciprocal;
            let to = |which: usize| which * channels + channel;
            reversed[to(MEAN)] = prepared[to(MEAN)];
            reversed[to(FACTOR)] = prepared[to(SCALE)];
            reversed[to(MEAN_GRADIENT)] = (sums[channel] / count) as f32;
            reversed[to(SLOPE)] = slope as f32;
        }
    }

    fn prepare_channel(
        &self,
        channel: usize,
        (mean, variance): (f64, f64),
        (gamma, beta): (f32, f32),
        prepared: &mut [f32],
    ) {
        let channels = self.channels();
        let reciprocal = 1.0 / (variance + self.epsilon).sqrt();
        prepared[MEAN * channels + channel] = mean as f32;
        prepared[RECIPROCAL * channels + channel] = reciprocal as f32;
        prepared[SCALE * channels + channel] = (f64::from(gamma) * reciprocal) as f32;
        prepared[SHIFT * channels + channel] = beta;
    }

    /// The same as this layer after one of `kernel`, whose last extent is the channels, and
    /// `bias`.
    pub(crate) fn fold(&self, weights: Weights<'_>, kernel: &mut [f32], bias: &mut [f32]) {
        let channels = self.channels();
        let mut prepared = vec![0.0; self.prepared()];
        self.prepare(Isa::SCALAR, weights, &mut prepared, None);
        let part = |which: usize| &prepared[self.part(which)];
        for row in kernel.chunks_exact_mut(channels) {
            row.iter_mut().zip(part(SCALE)).for_each(|(weight, scale)| *weight *= scale);
        }
        for (channel, bias) in bias.iter_mut().enumerate() {
            let centred = *bias - part(MEAN)[channel];
            *bias = centred * part(SCALE)[channel] + part(SHIFT)[channel];
        }
    }
}

impl Layer for BatchNorm2d {
    fn input(&self) -> Shape {
        self.shape
    }

    fn output(&self) -> Shape {
        self.shape
    }

    /// Gamma, with beta as the bias.
    fn kernel_shape(&self) -> Option<Vec<usize>> {
        Some(vec![self.channels()])
    }

    /// It sets the scale of its outputs, whatever that of the kernels before is.
    fn decays(&self) -> bool {
        false
    }

    fn batch_norm(&self) -> Option<&BatchNorm2d> {
        Some(self)
    }

    /// What it took as mean and 1 / root, for each image.
    fn saved(&self) -> usize {
        2 * self.channels()
    }

    fn initialize(&self, _by: Initialization, _stream: &mut Stream, gamma: &mut [f32]) {
        gamma.fill(1.0);
    }

    fn prepared(&self) -> usize {
        4 * self.channels()
    }

    fn reversed(&self) -> usize {
        4 * self.channels()
    }

    /// By the running statistics.
    fn prepare(
        &self,
        _isa: Isa,
        weights: Weights<'_>,
        prepared: &mut [f32],
        reversed: Option<&mut [f32]>,
    ) {
        for channel in 0..self.channels() {
            let [mean, variance] = [weights.mean[channel], weights.variance[channel]];
            let statistics = (f64::from(mean), f64::from(variance));
            let learned = (weights.kernel[channel], weights.bias[channel]);
            self.prepare_channel(channel, statistics, learned, prepared);
        }
        if let Some(reversed) = reversed {
            reversed.fill(0.0);
            reversed[self.part(MEAN)].copy_from_slice(&prepared[self.part(MEAN)]);
            reversed[self.part(FACTOR)].copy_from_slice(&prepared[self.part(SCALE)]);
        }
    }

    fn forward(
        &self,
        pass: &Pass<'_>,
        weights: Weights<'_>,
        input: &[f32],
        mut results: Results<'_>,
        _scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        let images = input.chunks_exact(self.shape.len());
        let saved = results.saved.as_deref_mut().unwrap_or_default();
        let mut saved = saved.chunks_exact_mut(self.saved());
        for (input, output) in images.zip(results.output.chunks_exact_mut(self.shape.len())) {
            pass.control.check()?;
            if let Some(saved) = saved.next() {
                saved.copy_from_slice(&weights.kernel[..self.saved()]);
            }
            let parts = [MEAN, SCALE, SHIFT].map(|which| &weights.kernel[self.part(which)]);
            match self.relu {
                true => pass.isa.vectorize(normalize_rectified_loop, (parts, input, output)),
                false => pass.isa.vectorize(normalize_loop, (parts, input, output)),
            }
        }
        Ok(())
    }

    fn backward(
        &self,
        pass: &Pass<'_>,
        reversed: &[f32],
        ends: Ends<'_>,
        d_output: &mut [f32],
        d_input: Option<&mut [f32]>,
        _scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        pass.control.check()?;
        if self.relu {
            relu_gradient(pass.isa, ends.output, d_output);
        }
        if let Some(d_input) = d_input {
            let parts = [MEAN, FACTOR, MEAN_GRADIENT, SLOPE];
            let parts = parts.map(|which| &reversed[self.part(which)]);
            pass.isa.vectorize(gradient_loop, (parts, (ends.input, &*d_output), d_input));
        }
        Ok(())
    }

    /// The one row of gamma: the sum of the gradient times the normalized values.
    fn kernel_gradient(
        &self,
        pass: &Pass<'_>,
        _rows: Range<usize>,
        ends: Ends<'_>,
        d_output: &[f32],
        gradient: &mut [f32],
        _scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        gradient.fill(0.0);
        let images = ends.input.chunks_exact(self.shape.len());
        let images = images.zip(d_output.chunks_exact(self.shape.len()));
        for (images, saved) in images.zip(ends.saved.chunks_exact(self.saved())) {
            pass.control.check()?;
            let statistics = saved.split_at(self.channels());
            pass.isa.vectorize(gamma_loop, (statistics, images, &mut *gradient));
        }
        Ok(())
    }
}

#[inline(always)]
fn sum_loop((values, (sums, squares)): (&[f32], (&mut [f64], &mut [f64]))) {
    sums.fill(0.0);
    squares.fill(0.0);
    for pixel in values.chunks_exact(sums.len()) {
        for ((sum, square), &x) in sums.iter_mut().zip(&mut *squares).zip(pixel) {
            let x = f64::from(x);
            *sum += x;
            *square += x * x;
        }
    }
}

/// The means; values and gradients; the sums.
type GradientSums<'a> = (&'a [f32], &'a [f32], &'a [f32], (&'a mut [f64], &'a mut [f64]));

#[inline(always)]
fn sum_gradient_loop((means, values, gradients, (sums, products)): GradientSums<'_>) {
    sums.fill(0.0);
    products.fill(0.0);
    let channels = sums.len();
    for (values, gradients) in values.chunks_exact(channels).zip(gradients.chunks_exact(channels)) {
        let sums = sums.iter_mut().zip(&mut *products);
        for (((sum, product), (&x, &mean)), &d) in sums.zip(values.iter().zip(means)).zip(gradients)
        {
            *sum += f64::from(d);
            *product += f64::from(d) * f64::from(x - mean);
        }
    }
}

#[inline(always)]
fn normalize_loop(([means, scales, shifts], input, output): ([&[f32]; 3], &[f32], &mut [f32])) {
    let channels = means.len();
    for (input, output) in input.chunks_exact(channels).zip(output.chunks_exact_mut(channels)) {
        let values = output.iter_mut().zip(input);
        for ((y, &x), ((&mean, &scale), &shift)) in values.zip(means.iter().zip(scales).zip(shifts))
        {
            *y = (x - mean) * scale + shift;
        }
    }
}

#[inline(always)]
fn normalize_rectified_loop(
    ([means, scales, shifts], input, output): ([&[f32]; 3], &[f32], &mut [f32]),
) {
    let channels = means.len();
    for (input, output) in input.chunks_exact(channels).zip(output.chunks_exact_mut(channels)) {
        let values = output.iter_mut().zip(input);
        for ((y, &x), ((&mean, &scale), &shift)) in values.zip(means.iter().zip(scales).zip(shifts))
        {
            let value = (x - mean) * scale + shift;
            *y = if 0.0 > value { 0.0 } else { value };
        }
    }
}

/// The parts of the reversed kernel; values and gradients to the output; those to the input.
type Gradients<'a> = ([&'a [f32]; 4], (&'a [f32], &'a [f32]), &'a mut [f32]);

#[inline(always)]
fn gradient_loop(([means, scales, mean_gradients, slopes], (input, d_output), to): Gradients<'_>) {
    let channels = means.len();
    let pixels = input.chunks_exact(channels).zip(d_output.chunks_exact(channels));
    for ((input, d_output), to) in pixels.zip(to.chunks_exact_mut(channels)) {
        let parts = means.iter().zip(scales).zip(mean_gradients.iter().zip(slopes));
        let values = to.iter_mut().zip(input.iter().zip(d_output));
        for ((to, (&x, &d)), ((&mean, &scale), (&mean_gradient, &slope))) in values.zip(parts) {
            *to = scale * (d - mean_gradient - (x - mean) * slope);
        }
    }
}

/// Means and reciprocals; values and gradients to the output; the gradient to gamma.
type Gamma<'a> = ((&'a [f32], &'a [f32]), (&'a [f32], &'a [f32]), &'a mut [f32]);

#[inline(always)]
fn gamma_loop(((means, reciprocals), (input, d_output), gradient): Gamma<'_>) {
    let channels = means.len();
    for (input, d_output) in input.chunks_exact(channels).zip(d_output.chunks_exact(channels)) {
        let statistics = means.iter().zip(reciprocals);
        let values = gradient.iter_mut().zip(input.iter().zip(d_output));
        for ((to, (&x, &d)), (&mean, &reciprocal)) in values.zip(statistics) {
            *to += d * ((x - mean) * reciprocal);
        }
    }
}
