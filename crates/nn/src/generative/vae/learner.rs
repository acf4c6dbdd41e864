//! The evidence lower bound and its gradient.

use rayon::prelude::*;
use teller_numeric::{Control, Stream, math};

use super::{LEAST_LOG_VARIANCE, VaeNet};
use crate::Error;
use crate::floats::Floats;
use crate::generative::affine::{TASK, Work, buffers, mark_labels};
use crate::generative::params::VaeParams;
use crate::generative::perceptron::Kept;
use crate::generative::table::{Encoded, TableEncoding};
use crate::optimizer::OptimizerState;
use crate::training::{Learner, Look, TrainingStep};

pub(in crate::generative) struct VaeLearner<'a> {
    net: &'a VaeNet,
    encoding: &'a TableEncoding,
    params: &'a VaeParams,
    data: &'a Encoded,
    isa: teller_numeric::Isa,
    weights: Floats,
    gradient: Floats,
    optimizer: OptimizerState,
    batch: Batch,
}

/// The memory of a batch.
struct Batch {
    /// Encoded rows beside their labels, and the codes beside them.
    input: Floats,
    latent: Floats,
    d_latent: Floats,
    /// Mean and logarithm of the variance of each code, and the noise that it is drawn by.
    code: Floats,
    d_code: Floats,
    noise: Floats,
    output: Floats,
    losses: Vec<f64>,
    encoder: Kept,
    decoder: Kept,
    reversed: Floats,
}

/// Floats of a row of a batch.
pub(in crate::generative) fn floats_of_a_row(
    encoding: &TableEncoding,
    params: &VaeParams,
) -> usize {
    let (width, condition) = (encoding.width, encoding.condition());
    let codes = 7 * params.latent + 2 * condition;
    2 * width + condition + codes + 2 + 2 * Kept::floats(params.hidden)
}

impl Batch {
    fn new(net: &VaeNet, encoding: &TableEncoding, rows: usize) -> Result<Self, Error> {
        let (width, condition) = (encoding.width, encoding.condition());
        let latent = net.latent;
        let [input, output] = buffers(rows, [width + condition, width])?;
        let [noise, code, d_code] = buffers(rows, [latent, 2 * latent, 2 * latent])?;
        let [latent, d_latent] = buffers(rows, [latent + condition; 2])?;
        Ok(Self {
            input,
            latent,
            d_latent,
            code,
            d_code,
            noise,
            output,
            losses: vec![0.0; rows],
            encoder: Kept::new(&net.encoder, rows)?,
            decoder: Kept::new(&net.decoder, rows)?,
            reversed: Floats::zeros(net.weights)?,
        })
    }
}

impl<'a> VaeLearner<'a> {
    pub(in crate::generative) fn new(
        isa: teller_numeric::Isa,
        net: &'a VaeNet,
        encoding: &'a TableEncoding,
        params: &'a VaeParams,
        data: &'a Encoded,
    ) -> Result<Self, Error> {
        let mut weights = Floats::zeros(net.weights)?;
        net.initialize(params.training.seed, &mut weights);
        let all = std::iter::once(0..net.weights).collect();
        let rows = params.training.batch_size.min(data.labels.len());
        Ok(Self {
            net,
            encoding,
            params,
            data,
            isa,
            weights,
            gradient: Floats::zeros(net.weights)?,
            optimizer: params.training.update.start(net.weights, all, net.kernels())?,
            batch: Batch::new(net, encoding, rows)?,
        })
    }

    /// The sum of the rows' losses; the gradient of their mean. The row number `first + i` draws
    /// its noise.
    fn learn(&mut self, rows: &[u32], first: u64, control: &dyn Control) -> Result<f64, Error> {
        let Self { net, encoding, params, data, isa, weights, gradient, batch, .. } = self;
        let work = Work { isa: *isa, control };
        let (width, condition, latent) = (encoding.width, encoding.condition(), net.latent);
        let count = rows.len();
        let scale = 1.0 / count as f32;
        let labels: Vec<u32> = rows.iter().map(|&row| data.labels[row as usize]).collect();
        let input = &mut batch.input[..count * (width + condition)];
        for (to, &row) in input.chunks_exact_mut(width + condition).zip(rows) {
            to[..width].copy_from_slice(&data.values[row as usize * width..][..width]);
        }
        mark_labels(&labels, condition, input);
        let code = &mut batch.code[..count * 2 * latent];
        net.encoder.forward(&work, weights, input, &mut batch.encoder, code)?;

        let noise = &mut batch.noise[..count * latent];
        noise.par_chunks_mut(latent).enumerate().for_each(|(row, noise)| {
            let purpose = "noise of codes";
            let mut stream = Stream::new(params.training.seed, purpose, first + row as u64);
            stream.normals(work.isa, noise);
        });
        let codes = &mut batch.latent[..count * (latent + condition)];
        let rows_of_codes = codes.chunks_exact_mut(latent + condition);
        for ((to, code), noise) in
            rows_of_codes.zip(code.chunks_exact(2 * latent)).zip(noise.chunks_exact(latent))
        {
            let (mean, log_variance) = code.split_at(latent);
            for (i, to) in to[..latent].iter_mut().enumerate() {
                *to = mean[i] + math::exp(0.5 * log_variance[i]) * noise[i];
            }
        }
        mark_labels(&labels, condition, codes);
        let output = &mut batch.output[..count * width];
        net.decoder.forward(&work, weights, codes, &mut batch.decoder, output)?;

        // The outputs become the gradient to them.
        let log_variances = &weights[net.log_variances.clone()];
        let tasks =
            output.par_chunks_mut(TASK * width).zip(input.par_chunks(TASK * (width + condition)));
        let pulls: Vec<Vec<f32>> = tasks
            .zip(batch.losses[..count].par_chunks_mut(TASK))
            .map(|((output, input), losses)| {
                let mut pulls = vec![0.0; log_variances.len()];
                let mut scratch = vec![0.0; width];
                let rows =
                    output.chunks_exact_mut(width).zip(input.chunks_exact(width + condition));
                for ((output, input), loss) in rows.zip(losses) {
                    encoding.soften(work.isa, output, &mut scratch);
                    *loss = reconstruct(encoding, log_variances, input, output, &mut pulls, scale);
                }
                pulls
            })
            .collect();
        let d_log_variances = &mut gradient[net.log_variances.clone()];
        d_log_variances.fill(0.0);
        for pulls in &pulls {
            d_log_variances.iter_mut().zip(pulls).for_each(|(sum, &pull)| *sum += pull);
        }
        let d_codes = &mut batch.d_latent[..count * (latent + condition)];
        net.decoder.backward(
            &work,
            (weights, gradient),
            (codes, Some(d_codes)),
            &mut batch.decoder,
            output,
            &mut batch.reversed,
        )?;

        let beta = params.beta as f32;
        let d_code = &mut batch.d_code[..count * 2 * latent];
        let rows = d_code.chunks_exact_mut(2 * latent).zip(code.chunks_exact(2 * latent));
        let noise = noise.chunks_exact(latent).zip(d_codes.chunks_exact(latent + condition));
        for (((d_code, code), (noise, d)), loss) in rows.zip(noise).zip(&mut batch.losses) {
            let (mean, log_variance) = code.split_at(latent);
            let (d_mean, d_log_variance) = d_code.split_at_mut(latent);
            for i in 0..latent {
                let (mean, log_variance) = (mean[i], log_variance[i]);
                let variance = math::exp(log_variance);
                d_mean[i] = d[i] + beta * scale * mean;
                d_log_variance[i] = d[i] * noise[i] * (0.5 * math::exp(0.5 * log_variance))
                    + beta * scale * 0.5 * (variance - 1.0);
                let divergence = 0.5 * (mean * mean + variance - 1.0 - log_variance);
                *loss += f64::from(beta * divergence);
            }
        }
        net.encoder.backward(
            &work,
            (weights, gradient),
            (input, None),
            &mut batch.encoder,
            d_code,
            &mut batch.reversed,
        )?;
        Ok(batch.losses[..count].iter().sum())
    }
}

/// The reconstruction's loss of one row, whose `output`, probabilities and numbers, becomes its
/// gradient times `scale`; adds that to the logarithms of the variances to `pulls`.
fn reconstruct(
    encoding: &TableEncoding,
    log_variances: &[f32],
    input: &[f32],
    output: &mut [f32],
    pulls: &mut [f32],
    scale: f32,
) -> f64 {
    let mut loss = 0.0;
    let mut numbers = log_variances.iter().zip(pulls);
    for place in &encoding.places {
        if let Some(number) = place.number
            && let Some((&log_variance, pull)) = numbers.next()
        {
            let bounded = log_variance.max(LEAST_LOG_VARIANCE);
            let precision = math::exp(-bounded);
            let there = place.numeric(input);
            let off = output[number] - input[number];
            output[number] = there * off * precision * scale;
            let square = off * off * precision;
            // A variance at its least is only let go up.
            let free = log_variance > LEAST_LOG_VARIANCE || square > 1.0;
            *pull += if free { there * 0.5 * (1.0 - square) * scale } else { 0.0 };
            loss += f64::from(there * 0.5 * (square + bounded));
        }
        let probabilities = output[place.choice.clone()].iter_mut();
        for (probability, &wanted) in probabilities.zip(&input[place.choice.clone()]) {
            if wanted > 0.0 {
                loss -= f64::from(math::ln(probability.max(1e-30)));
            }
            *probability = (*probability - wanted) * scale;
        }
    }
    loss
}

impl Learner for VaeLearner<'_> {
    fn state(&self) -> (&Floats, &OptimizerState) {
        (&self.weights, &self.optimizer)
    }

    fn state_mut(&mut self) -> (&mut Floats, &mut OptimizerState) {
        (&mut self.weights, &mut self.optimizer)
    }

    fn into_weights(self) -> Floats {
        self.weights
    }

    fn step(&mut self, step: TrainingStep<'_>, control: &dyn Control) -> Result<f64, Error> {
        let loss = self.learn(step.rows, step.first, control)?;
        self.optimizer.update(self.isa, step.rate, &mut self.weights, &mut self.gradient);
        Ok(loss)
    }

    fn look(&mut self, _rows: &[u32], _control: &dyn Control) -> Result<Look, Error> {
        Ok(Look::default())
    }
}

#[cfg(test)]
mod tests {
    use teller_numeric::{Isa, Uninterrupted};

    use super::*;
    use crate::generative::table::{ColumnKind, Table, TableCell};

    /// Two columns of numbers, one with NULLs, one of names, and a label.
    fn table() -> Table {
        let kind = ColumnKind::Number;
        let mut table = Table::new([
            ("a", kind),
            ("b", kind),
            ("c", ColumnKind::Category),
            ("label", ColumnKind::Category),
        ]);
        for row in 0..40u32 {
            let b = if row % 5 == 0 {
                TableCell::Null
            } else {
                TableCell::Number(f64::from(row * row))
            };
            let texts = [["x", "y", "z"][row as usize % 3], ["no", "yes"][row as usize / 25]];
            let [c, label] = texts.map(TableCell::Text);
            table.push(&[TableCell::Number(f64::from(row)), b, c, label]).unwrap();
        }
        table
    }

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let (table, rows) = (table(), (0..40).collect::<Vec<u32>>());
        let encoding = TableEncoding::of(&table, Some(3), &rows).unwrap();
        let data = encoding.encode(&table, &rows, 1, &Uninterrupted).unwrap();
        let params = VaeParams { hidden: 8, latent: 3, ..VaeParams::default() };
        let net = VaeNet::new(&encoding, &params);
        let mut learner = VaeLearner::new(Isa::detect(), &net, &encoding, &params, &data).unwrap();
        for (i, s) in net.log_variances.clone().enumerate() {
            learner.weights[s] = -0.3 * i as f32;
        }
        learner.learn(&rows, 7, &Uninterrupted).unwrap();
        let gradient = learner.gradient.to_vec();
        assert!(gradient.iter().filter(|g| g.abs() > 1e-4).count() > net.weights / 2);
        for index in (0..net.weights).step_by(7).chain(net.log_variances.clone()) {
            let before = learner.weights[index];
            let mut at = |by: f32| {
                learner.weights[index] = before + by;
                learner.learn(&rows, 7, &Uninterrupted).unwrap() / 40.0
            };
            let slope = (at(5e-3) - at(-5e-3)) / 1e-2;
            learner.weights[index] = before;
            let got = f64::from(gradient[index]);
            assert!((got - slope).abs() < 2e-3 + 0.01 * slope.abs(), "{index}: {got} {slope}");
        }
    }
}
