//! The critic: two hidden layers of leaky rectified units. Its weights follow the difference of
//! its marks for made and real rows, and the distance from 1 of its gradient's length at rows
//! between them.
//!
//! For that last part let a row between two have the hidden values `h1`, `h2`, whose slopes are
//! `m1`, `m2` (1 or the leak). Its gradient is `g = W1 u1` with `u1 = m1 * (W2 u2)` and
//! `u2 = m2 * w3`, all of which the way back gives. A penalty `P(g)` with slope `q` to `g` has, the
//! slopes of `m` being 0 almost everywhere, the gradients `q u1'` to `W1`, `v1 u2'` to `W2` and `v2`
//! to `w3`, with `v1 = m1 * (W1' q)` and `v2 = m2 * (W2' v1)`: those that a row would have whose input is
//! `q` and whose hidden values are `v1` and `v2`. So the rows between stand in one batch with the
//! others, and after the way back `q`, `v1` and `v2` take the place of their values.

use std::ops::Range;

use rayon::prelude::*;
use teller_numeric::{Cancelled, Stream};

use crate::Error;
use crate::floats::Floats;
use crate::generative::affine::{Affine, TASK, Work, buffers, reverse, weight_gradients};
use crate::generative::penalty::penalize;
use crate::layer::{Initialization, Pass};

/// Slope of the negative side of a hidden unit.
const LEAK: f32 = 0.2;

#[derive(Clone, Debug)]
pub(super) struct Critic {
    pub(super) layers: [Affine; 3],
    /// Numbers of a row; those after them are its label.
    width: usize,
}

/// The memory of a batch of three parts: rows between, made ones and real ones.
pub(super) struct CriticBatch {
    /// Rows beside their labels.
    pub(super) input: Floats,
    /// Of the rows between, the gradient to their mark; of the made ones, after
    /// [`Critic::judge`], that to the negative mean of their marks.
    d_input: Floats,
    hidden: [Floats; 2],
    d_hidden: [Floats; 2],
    /// For the rows between.
    change: [Floats; 2],
    penalties: Vec<f64>,
    marks: Vec<f32>,
    d_marks: Vec<f32>,
}

impl Critic {
    pub(super) fn place(width: usize, condition: usize, hidden: usize, at: &mut usize) -> Self {
        let layers = [(width + condition, hidden), (hidden, hidden), (hidden, 1)];
        Self { layers: layers.map(|(inputs, units)| Affine::place(inputs, units, at)), width }
    }

    pub(super) fn initialize(&self, stream: &mut Stream, weights: &mut [f32]) {
        let [first, second, last] = &self.layers;
        first.initialize(Initialization::HeNormal, stream, weights);
        second.initialize(Initialization::HeNormal, stream, weights);
        last.initialize(Initialization::GlorotUniform, stream, weights);
    }

    /// The memory for `rows` of each part.
    pub(super) fn batch(&self, rows: usize) -> Result<CriticBatch, Error> {
        let [first, second, _] = &self.layers;
        let units = [first.units, second.units];
        let all = 3 * rows;
        let [input] = buffers(all, [first.inputs])?;
        let [d_input] = buffers(rows, [first.inputs])?;
        Ok(CriticBatch {
            input,
            d_input,
            hidden: buffers(all, units)?,
            d_hidden: buffers(all, units)?,
            change: buffers(rows, units)?,
            penalties: vec![0.0; rows],
            marks: vec![0.0; all],
            d_marks: vec![0.0; all],
        })
    }

    /// Floats of a row, three parts together.
    pub(super) fn floats(&self) -> usize {
        let [first, second, _] = &self.layers;
        4 * first.inputs + 7 * (first.units + second.units) + 8
    }

    /// The loss of a batch of `rows` of each part, whose input is there, and its gradient to the
    /// weights. The made rows stay as they are; `reversed` has room for all weights.
    pub(super) fn learn(
        &self,
        work: &Work<'_>,
        rows: usize,
        penalty: f64,
        (weights, gradient): (&[f32], &mut [f32]),
        batch: &mut CriticBatch,
        reversed: &mut [f32],
    ) -> Result<f64, Cancelled> {
        let [first, second, last] = &self.layers;
        let all = 3 * rows;
        let share = 1.0 / rows as f32;
        batch.d_marks[..rows].fill(1.0);
        batch.d_marks[rows..2 * rows].fill(share);
        batch.d_marks[2 * rows..all].fill(-share);
        reverse(work, &self.layers, weights, reversed);
        let (pass, reversed) = (work.pass(), &*reversed);
        batch.tasks(self, 0..all, rows).into_par_iter().try_for_each(|mut task| {
            self.mark(&pass, weights, reversed, &mut task)?;
            if task.penalties.is_empty() {
                return Ok(());
            }
            self.penalize(&pass, (weights, reversed), (penalty, rows), task)
        })?;

        let CriticBatch { input, hidden: [h1, h2], d_hidden: [d1, d2], .. } = &*batch;
        let CriticBatch { marks, d_marks, penalties, .. } = &*batch;
        let read =
            [&input[..all * first.inputs], &h1[..all * first.units], &h2[..all * last.inputs]];
        let d_sums = [&d1[..all * first.units], &d2[..all * second.units], &d_marks[..all]];
        weight_gradients(work, &self.layers, (read, d_sums), rows, gradient)?;
        let sum = |of: Range<usize>| marks[of].iter().map(|&mark| f64::from(mark)).sum::<f64>();
        let penalties = penalties[..rows].iter().sum::<f64>();
        Ok((sum(rows..2 * rows) - sum(2 * rows..all) + penalties) / rows as f64)
    }

    /// Marks rows, and goes from the gradient to their marks back to that to the first sums.
    fn mark(
        &self,
        pass: &Pass<'_>,
        weights: &[f32],
        reversed: &[f32],
        task: &mut Task<'_>,
    ) -> Result<(), Cancelled> {
        let [first, second, last] = &self.layers;
        let Task { input, hidden: [h1, h2], d_hidden: [d1, d2], marks, d_marks, .. } = task;
        first.forward(pass, weights, input, h1)?;
        pass.isa.vectorize(leak_loop, &mut **h1);
        second.forward(pass, weights, h1, h2)?;
        pass.isa.vectorize(leak_loop, &mut **h2);
        last.forward(pass, weights, h2, marks)?;
        last.backward(pass, reversed, d_marks, d2)?;
        pass.isa.vectorize(leak_gradient_loop, (&**h2, &mut **d2));
        second.backward(pass, reversed, d2, d1)?;
        pass.isa.vectorize(leak_gradient_loop, (&**h1, &mut **d1));
        Ok(())
    }

    /// The penalty for the rows between that are among those of a task, after [`Self::mark`].
    fn penalize(
        &self,
        pass: &Pass<'_>,
        (weights, reversed): (&[f32], &[f32]),
        (penalty, rows): (f64, usize),
        task: Task<'_>,
    ) -> Result<(), Cancelled> {
        let [first, second, _] = &self.layers;
        let Task { input, hidden: [h1, h2], d_hidden: [d1, _], .. } = task;
        let Task { d_input, change: [v1, v2], penalties, .. } = task;
        first.backward(pass, reversed, &mut d1[..v1.len()], d_input)?;
        let slopes = &mut input[..d_input.len()];
        slopes.copy_from_slice(d_input);
        for (slope, to) in slopes.chunks_exact_mut(first.inputs).zip(penalties) {
            // The label is no part of the row.
            slope[self.width..].fill(0.0);
            *to = penalize(penalty, rows, &mut slope[..self.width]);
        }
        let (h1, h2) = (&mut h1[..v1.len()], &mut h2[..v2.len()]);
        first.forward_change(pass, weights, slopes, v1)?;
        pass.isa.vectorize(leak_gradient_loop, (&*h1, &mut *v1));
        h1.copy_from_slice(v1);
        second.forward_change(pass, weights, v1, v2)?;
        pass.isa.vectorize(leak_gradient_loop, (&*h2, &mut *v2));
        h2.copy_from_slice(v2);
        Ok(())
    }

    /// The gradient of what the generator wants to be small, the negative mean of the marks of the
    /// made rows of a batch, to these rows.
    pub(super) fn judge<'b>(
        &self,
        work: &Work<'_>,
        rows: usize,
        weights: &[f32],
        batch: &'b mut CriticBatch,
        reversed: &mut [f32],
    ) -> Result<&'b [f32], Cancelled> {
        let [first, ..] = &self.layers;
        batch.d_marks[rows..2 * rows].fill(-1.0 / rows as f32);
        reverse(work, &self.layers, weights, reversed);
        let (pass, reversed) = (work.pass(), &*reversed);
        batch.tasks(self, rows..2 * rows, rows).into_par_iter().try_for_each(|mut task| {
            self.mark(&pass, weights, reversed, &mut task)?;
            first.backward(&pass, reversed, task.d_hidden[0], task.d_input)
        })?;
        Ok(&batch.d_input[..rows * first.inputs])
    }
}

/// What one thread works on at a time: some rows of the buffers of a batch.
struct Task<'a> {
    input: &'a mut [f32],
    hidden: [&'a mut [f32]; 2],
    d_hidden: [&'a mut [f32]; 2],
    marks: &'a mut [f32],
    d_marks: &'a mut [f32],
    /// Of as many of these rows as there is room for.
    d_input: &'a mut [f32],
    change: [&'a mut [f32]; 2],
    penalties: &'a mut [f64],
}

impl CriticBatch {
    /// Some rows cut for the threads, and with them the room of one part.
    fn tasks(&mut self, critic: &Critic, rows: Range<usize>, part: usize) -> Vec<Task<'_>> {
        let [first, second, _] = &critic.layers;
        let (inputs, [units1, units2]) = (first.inputs, [first.units, second.units]);
        let Self { input, d_input, hidden, d_hidden, change, marks, d_marks, penalties } = self;
        let ([h1, h2], [d1, d2], [v1, v2]) = (hidden, d_hidden, change);
        let mut hidden = cut(h1, units1, rows.clone()).zip(cut(h2, units2, rows.clone()));
        let mut d_hidden = cut(d1, units1, rows.clone()).zip(cut(d2, units2, rows.clone()));
        let mut marks = cut(marks, 1, rows.clone()).zip(cut(d_marks, 1, rows.clone()));
        let mut d_input = cut(d_input, inputs, 0..part);
        let mut change = cut(v1, units1, 0..part).zip(cut(v2, units2, 0..part));
        let mut penalties = cut(penalties, 1, 0..part);
        let task = |input| {
            let (marks, d_marks) = marks.next().unwrap_or_default();
            Task {
                input,
                hidden: hidden.next().unwrap_or_default().into(),
                d_hidden: d_hidden.next().unwrap_or_default().into(),
                marks,
                d_marks,
                d_input: d_input.next().unwrap_or_default(),
                change: change.next().unwrap_or_default().into(),
                penalties: penalties.next().unwrap_or_default(),
            }
        };
        cut(input, inputs, rows.clone()).map(task).collect()
    }
}

/// Rows of `width` numbers in the pieces that one task works on.
fn cut<T>(all: &mut [T], width: usize, rows: Range<usize>) -> std::slice::ChunksMut<'_, T> {
    all[rows.start * width..rows.end * width].chunks_mut(TASK * width)
}

#[inline(always)]
fn leak_loop(values: &mut [f32]) {
    for x in values {
        *x *= if *x > 0.0 { 1.0 } else { LEAK };
    }
}

#[inline(always)]
fn leak_gradient_loop((values, d): (&[f32], &mut [f32])) {
    for (d, &x) in d.iter_mut().zip(values) {
        *d *= if x > 0.0 { 1.0 } else { LEAK };
    }
}

#[cfg(test)]
mod tests {
    use teller_numeric::{Isa, Uninterrupted};

    use super::*;

    /// Parts begin and end within what one task works on.
    const ROWS: usize = 37;
    const WIDTH: usize = 6;

    fn input(of: &[Vec<f32>; 3]) -> Vec<f32> {
        of.iter().flatten().copied().collect()
    }

    /// In double precision, straight from the definition.
    fn naive(critic: &Critic, weights: &[f64], parts: &[Vec<f32>; 3]) -> f64 {
        let [first, second, last] = &critic.layers;
        let inputs = first.inputs;
        let forward = |x: &[f64]| {
            let layer = |layer: &Affine, x: &[f64]| -> Vec<f64> {
                let unit = |j: usize| {
                    let product =
                        |i: usize| x[i] * weights[layer.kernel.start + i * layer.units + j];
                    weights[layer.bias.start + j] + (0..layer.inputs).map(product).sum::<f64>()
                };
                (0..layer.units).map(unit).collect()
            };
            let leak = |x: Vec<f64>| -> Vec<f64> {
                x.into_iter().map(|x| if x > 0.0 { x } else { f64::from(LEAK) * x }).collect()
            };
            layer(last, &leak(layer(second, &leak(layer(first, x)))))[0]
        };
        let rows = |part: &[f32]| -> Vec<Vec<f64>> {
            part.chunks(inputs).map(|row| row.iter().map(|&x| x.into()).collect()).collect()
        };
        let mean = |part: &[f32]| rows(part).iter().map(|x| forward(x)).sum::<f64>() / ROWS as f64;
        let penalty = |x: &Vec<f64>| {
            // Linear in a small neighbourhood, so that differences are exact.
            let slope = |i: usize| {
                let at = |by: f64| {
                    let mut x = x.clone();
                    x[i] += by;
                    forward(&x)
                };
                (at(1e-7) - at(-1e-7)) / 2e-7
            };
            let length = (0..WIDTH).map(|i| slope(i) * slope(i)).sum::<f64>().sqrt();
            10.0 * (length - 1.0) * (length - 1.0)
        };
        let penalties = rows(&parts[0]).iter().map(penalty).sum::<f64>() / ROWS as f64;
        mean(&parts[1]) - mean(&parts[2]) + penalties
    }

    #[test]
    fn loss_and_gradients_are_those_of_the_definition() {
        let mut at = 0;
        let critic = Critic::place(WIDTH, 2, 9, &mut at);
        let mut weights = vec![0.0f32; at];
        let mut stream = Stream::new(5, "critic", 0);
        critic.initialize(&mut stream, &mut weights);
        weights.iter_mut().for_each(|w| *w += 0.3 * stream.normal() as f32);
        let parts: [Vec<f32>; 3] = std::array::from_fn(|_| {
            (0..ROWS * (WIDTH + 2)).map(|_| stream.normal() as f32).collect()
        });
        let mut batch = critic.batch(ROWS).unwrap();
        batch.input.copy_from_slice(&input(&parts));
        let mut gradient = vec![0.0f32; at];
        let mut reversed = vec![0.0f32; at];
        let work = Work { isa: Isa::detect(), control: &Uninterrupted };
        let loss = critic
            .learn(&work, ROWS, 10.0, (&weights, &mut gradient), &mut batch, &mut reversed)
            .unwrap();
        let exact: Vec<f64> = weights.iter().map(|&w| w.into()).collect();
        assert!((loss - naive(&critic, &exact, &parts)).abs() < 1e-3, "{loss}");
        for index in 0..at {
            let moved = |by: f64| {
                let mut weights = exact.clone();
                weights[index] += by;
                naive(&critic, &weights, &parts)
            };
            let slope = (moved(1e-4) - moved(-1e-4)) / 2e-4;
            let got = f64::from(gradient[index]);
            assert!((got - slope).abs() < 2e-3 * (1.0 + slope.abs()), "{index}: {got} {slope}");
        }
        let judged = critic.judge(&work, ROWS, &weights, &mut batch, &mut reversed).unwrap();
        for i in 0..ROWS * (WIDTH + 2) {
            let moved = |by: f32| {
                let mut parts = parts.clone();
                parts[1][i] += by;
                naive(&critic, &exact, &parts)
            };
            // The loss has the mean of these marks with the other sign.
            let slope = (moved(1e-3) - moved(-1e-3)) / 2e-3;
            let got = f64::from(-judged[i]);
            assert!((got - slope).abs() < 2e-3 * (1.0 + slope.abs()), "{i}: {got} {slope}");
        }
    }
}
