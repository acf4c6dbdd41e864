//! Dropout (Srivastava et al. 2014): in training each value is zeroed with probability `rate` and
//! the others are scaled by `1 / (1 - rate)`; a serving network leaves it out.

use teller_numeric::{Cancelled, Stream};

use super::{Ends, Layer, Pass, Results, Weights};
use crate::Shape;

#[derive(Debug)]
pub(crate) struct Dropout {
    pub(crate) shape: Shape,
    /// At least 0, less than 1.
    pub(crate) rate: f32,
    /// Place in the architecture, which keeps the streams of several dropout layers apart.
    pub(crate) index: u64,
}

impl Dropout {
    /// Copies `from` to `to` through the mask of each image.
    fn apply(&self, pass: &Pass<'_>, from: &[f32], to: &mut [f32]) -> Result<(), Cancelled> {
        let Some(noise) = pass.noise else {
            to.copy_from_slice(from);
            return Ok(());
        };
        let seed = Stream::new(noise.seed, "dropout layer", self.index).next_u64();
        to.copy_from_slice(from);
        for (image, values) in (noise.first_image..).zip(to.chunks_exact_mut(self.shape.len())) {
            pass.control.check()?;
            drop_out(&mut Stream::new(seed, "dropout", image), self.rate, values);
        }
        Ok(())
    }
}

/// Zeroes values, and scales the others.
pub(crate) fn drop_out(stream: &mut Stream, rate: f32, values: &mut [f32]) {
    let scale = 1.0 / (1.0 - rate);
    for value in values {
        *value = if stream.uniform() < rate { 0.0 } else { *value * scale };
    }
}

impl Layer for Dropout {
    fn input(&self) -> Shape {
        self.shape
    }

    fn output(&self) -> Shape {
        self.shape
    }

    fn forward(
        &self,
        pass: &Pass<'_>,
        _weights: Weights<'_>,
        input: &[f32],
        results: Results<'_>,
        _scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        self.apply(pass, input, results.output)
    }

    fn backward(
        &self,
        pass: &Pass<'_>,
        _reversed: &[f32],
        _ends: Ends<'_>,
        d_output: &mut [f32],
        d_input: Option<&mut [f32]>,
        _scratch: &mut [f32],
    ) -> Result<(), Cancelled> {
        match d_input {
            Some(d_input) => self.apply(pass, d_output, d_input),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use teller_numeric::{Isa, Uninterrupted};

    use super::*;
    use crate::layer::Noise;

    #[test]
    fn the_rate_the_scale_and_the_image_decide() {
        let layer = Dropout { shape: Shape::Vector(1000), rate: 0.25, index: 3 };
        let run = |first_image, images: usize| {
            let noise = Some(Noise { seed: 1, first_image });
            let pass = Pass { isa: Isa::SCALAR, control: &Uninterrupted, noise };
            let mut output = vec![0.0; images * 1000];
            let input = vec![3.0; images * 1000];
            let results = Results { output: &mut output, saved: None };
            layer.forward(&pass, Weights::default(), &input, results, &mut []).unwrap();
            output
        };
        let both = run(7, 2);
        assert!(both.iter().all(|&y| y == 0.0 || y == 4.0));
        let dropped = both.iter().filter(|&&y| y == 0.0).count();
        assert!((420..580).contains(&dropped), "{dropped}");
        assert_eq!(both[1000..], run(8, 1), "the mask belongs to the image, not to the batch");
    }
}
