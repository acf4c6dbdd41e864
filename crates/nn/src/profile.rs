//! What each layer of an architecture takes on this machine, by itself and in the cache.

use std::time::Instant;

use teller_numeric::{Control, Isa, Stream};

use crate::floats::Floats;
use crate::layer::{Ends, Pass, Results, Weights};
use crate::network::{Network, Placed, Purpose};
use crate::{Architecture, Arithmetic, Error};

/// Images of a backward pass, and of a gradient to a kernel, as in training.
const GROUP: usize = 4;
const BATCH: usize = 32;
/// Spells of which the fastest counts, and what each lasts at least.
const SPELLS: usize = 40;
const SPELL: f64 = 50e-6;

/// Seconds that a layer takes for one image, and how much it computes in them.
#[derive(Clone, Debug)]
pub struct LayerProfile {
    /// Place in the architecture and type, such as `0.conv2d`; what follows may be fused into it.
    pub name: String,
    /// Products of its sums that somebody needs; 0 for layers without trained numbers.
    pub products: u64,
    /// Serving one image.
    pub forward: f64,
    /// The gradient to the input, in training.
    pub backward: f64,
    /// The gradient to the kernel, in training.
    pub gradient: f64,
}

impl Architecture {
    /// Measures every layer as it is made for serving. Takes some milliseconds a layer.
    pub fn profile(
        &self,
        isa: Isa,
        classes: usize,
        control: &dyn Control,
    ) -> Result<Vec<LayerProfile>, Error> {
        let network = Network::new(self, classes, Purpose::Serving(Arithmetic::CURRENT))?;
        let pass = Pass { isa, control, noise: None };
        let layers = network.layers.iter();
        layers.map(|placed| profile(placed, &pass)).collect()
    }
}

fn profile(placed: &Placed, pass: &Pass<'_>) -> Result<LayerProfile, Error> {
    let layer = &*placed.layer;
    let mut stream = Stream::new(1, "profile", 0);
    let mut random = |len: usize| {
        let mut floats = Floats::zeros(len)?;
        floats.iter_mut().for_each(|value| *value = stream.uniform());
        Ok::<_, Error>(floats)
    };
    let (input_len, output_len) = (layer.input().len(), layer.output().len());
    let input = random(BATCH * input_len)?;
    let mut d_output = random(BATCH * output_len)?;
    let mut output = Floats::zeros(BATCH * output_len)?;
    let mut d_input = Floats::zeros(GROUP * input_len)?;
    let mut saved = Floats::zeros(BATCH * layer.saved())?;
    let mut scratch = Floats::zeros(layer.training_scratch())?;
    let shape = layer.kernel_shape().unwrap_or_default();
    let columns = shape.last().copied().unwrap_or(0);
    let mut kernel = Floats::zeros(if columns > 0 { shape.iter().product() } else { 0 })?;
    layer.initialize(placed.initialization, &mut Stream::new(1, "profile", 1), &mut kernel);
    let bias = Floats::zeros(columns)?;
    let stored = Weights { kernel: &kernel, bias: &bias, mean: &bias, variance: &bias };
    let mut prepared = Floats::zeros(layer.prepared())?;
    let mut reversed = Floats::zeros(layer.reversed())?;
    layer.prepare(pass.isa, stored, &mut prepared, Some(&mut reversed));
    let prepared: &[f32] = if prepared.is_empty() { &kernel } else { &prepared };
    let weights = Weights { kernel: prepared, ..stored };

    let forward = fastest(|| {
        let results = Results { output: &mut output[..output_len], saved: None };
        layer.forward(pass, weights, &input[..input_len], results, &mut scratch)?;
        Ok(())
    })?;
    let results = Results { output: &mut output, saved: Some(&mut saved) };
    layer.forward(pass, weights, &input, results, &mut scratch)?;
    let (outputs, saved) = (&*output, &*saved);
    let ends = |images: usize| Ends {
        input: &input[..images * input_len],
        output: &outputs[..images * output_len],
        saved: &saved[..images * layer.saved()],
    };
    let backward = fastest(|| {
        let (d_output, ends) = (&mut d_output[..GROUP * output_len], ends(GROUP));
        layer.backward(pass, &reversed, ends, d_output, Some(&mut d_input), &mut scratch)?;
        Ok(())
    })?;
    let mut rows = Floats::zeros(layer.gradient_rows() * columns)?;
    let task = layer.task_rows();
    let gradient = fastest(|| {
        for (first, part) in (0..).step_by(task).zip(rows.chunks_mut((task * columns).max(1))) {
            let rows = first..first + part.len() / columns;
            layer.kernel_gradient(pass, rows, ends(BATCH), &d_output, part, &mut scratch)?;
        }
        layer.finish_gradient(pass.isa, &rows, &mut kernel);
        Ok(())
    })?;
    Ok(LayerProfile {
        name: placed.name.clone(),
        products: layer.products() as u64,
        forward,
        backward: backward / GROUP as f64,
        gradient: gradient / BATCH as f64,
    })
}

/// Seconds that the work takes where nothing disturbs it.
fn fastest(mut work: impl FnMut() -> Result<(), Error>) -> Result<f64, Error> {
    let begun = Instant::now();
    work()?;
    let times = (SPELL / begun.elapsed().as_secs_f64().max(1e-9)).ceil().min(1e4) as usize;
    let mut fastest = f64::INFINITY;
    for _ in 0..SPELLS {
        let begun = Instant::now();
        for _ in 0..times {
            work()?;
        }
        fastest = fastest.min(begun.elapsed().as_secs_f64() / times as f64);
    }
    Ok(fastest)
}

#[cfg(test)]
mod tests {
    use teller_numeric::Uninterrupted;

    use super::*;

    #[test]
    fn every_layer_that_computes_is_measured() {
        let reference = Architecture::named("reference").unwrap();
        let profile = reference.profile(Isa::detect(), 10, &Uninterrupted).unwrap();
        let products: Vec<_> = profile.iter().map(|layer| (&*layer.name, layer.products)).collect();
        // The poolings are fused, and no pixel that they drop is computed.
        let expected = [
            ("0.conv2d", 26 * 26 * 9 * 32),
            ("2.conv2d", 10 * 10 * 9 * 32 * 64),
            ("5.dense", 1600 * 64),
            ("6.dense", 64 * 10),
        ];
        assert_eq!(products, expected);
        assert!(profile.iter().all(|layer| layer.forward > 0.0 && layer.gradient > 0.0));
    }
}
