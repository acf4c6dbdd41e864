//! Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015.

use rayon::prelude::*;

const CHUNK: usize = 1 << 14;
const BETAS: [f64; 2] = [0.9, 0.999];
const EPSILON: f32 = 1e-8;

/// Numbers that are learned, with the decaying means of their gradients and of the squares of those.
#[derive(Clone)]
pub(super) struct Learned {
    pub(super) numbers: Vec<f32>,
    pub(super) mean: Vec<f32>,
    pub(super) square: Vec<f32>,
}

impl Learned {
    pub(super) fn new(numbers: Vec<f32>) -> Self {
        let zeros = vec![0f32; numbers.len()];
        Self { numbers, mean: zeros.clone(), square: zeros }
    }

    /// Step `step`, from 1 on, against a gradient.
    pub(super) fn step(&mut self, gradient: &[f32], step: u32, rate: f32) {
        let [mean_scale, square_scale] =
            BETAS.map(|beta| (1.0 / (1.0 - libm::pow(beta, f64::from(step)))) as f32);
        let [beta_mean, beta_square] = BETAS.map(|beta| beta as f32);
        self.numbers
            .par_chunks_mut(CHUNK)
            .zip(self.mean.par_chunks_mut(CHUNK))
            .zip(self.square.par_chunks_mut(CHUNK))
            .zip(gradient.par_chunks(CHUNK))
            .for_each(|(((numbers, means), squares), gradient)| {
                let moments = means.iter_mut().zip(squares);
                for ((x, (mean, square)), &g) in numbers.iter_mut().zip(moments).zip(gradient) {
                    *mean = beta_mean * *mean + (1.0 - beta_mean) * g;
                    *square = beta_square * *square + (1.0 - beta_square) * g * g;
                    let size = (*square * square_scale).sqrt() + EPSILON;
                    *x -= rate * (*mean * mean_scale) / size;
                }
            });
    }
}
