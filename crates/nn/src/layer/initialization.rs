//! Kernels before training: random numbers that keep the scale of values from layer to layer.

use teller_numeric::Stream;

/// How a kernel is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Initialization {
    /// Normal numbers of variance 2 / inputs, which keep the scale through rectified layers
    /// (He et al. 2015).
    HeNormal,
    /// Uniform numbers of variance 2 / (inputs + outputs), for layers without an activation or
    /// with one that is steepest at 0 (Glorot and Bengio 2010).
    GlorotUniform,
}

impl Initialization {
    /// `inputs` go into each output, and each input into so many `outputs`.
    pub(super) fn draw(
        self,
        stream: &mut Stream,
        inputs: usize,
        outputs: usize,
        kernel: &mut [f32],
    ) {
        match self {
            Self::HeNormal => {
                let deviation = (2.0 / inputs as f64).sqrt();
                for weight in kernel {
                    *weight = (stream.normal() * deviation) as f32;
                }
            }
            Self::GlorotUniform => {
                let bound = (6.0 / (inputs + outputs) as f64).sqrt() as f32;
                for weight in kernel {
                    *weight = (stream.uniform() * 2.0 - 1.0) * bound;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variance_is_that_of_the_papers() {
        for (by, expected) in
            [(Initialization::HeNormal, 2.0 / 50.0), (Initialization::GlorotUniform, 2.0 / 80.0)]
        {
            let mut kernel = vec![0.0; 20_000];
            by.draw(&mut Stream::new(1, "initialization", 0), 50, 30, &mut kernel);
            let square: f64 = kernel.iter().map(|&w| f64::from(w) * f64::from(w)).sum();
            let variance = square / kernel.len() as f64;
            assert!((variance / expected - 1.0).abs() < 0.05, "{by:?}: {variance}");
        }
    }
}
