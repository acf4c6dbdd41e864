//! Gradient-weighted class activation: each channel of the last convolution counts as much as the
//! label's score rises with it, and a pixel is as hot as the channels are active there.

use teller_numeric::Control;

use super::{Heat, Size, between, interpolate};
use crate::floats::Floats;
use crate::layer::{Ends, Pass, Results};
use crate::network::{Network, Placed, Purpose};
use crate::shape::Shape;
use crate::{Error, ImageClassifier};

pub(super) fn heat(
    classifier: &ImageClassifier,
    raster: &[u8],
    label: usize,
    control: &dyn Control,
) -> Result<Heat, Error> {
    // A serving network does not keep what a gradient needs.
    let classes = classifier.labels().len();
    let network = Network::new(classifier.architecture(), classes, Purpose::Training)?;
    let convolution = network.layers.iter().rposition(is_convolution);
    let Some(convolution) = convolution else { return Err(Error::NoConvolution) };
    let activation = network.layers[convolution].layer.output();
    let Shape::Image { height, width, channels } = activation else {
        return Err(Error::NoConvolution);
    };
    let pass = Pass { isa: classifier.isa(), control, noise: None };
    let passed = forward(classifier, &network, raster, &pass)?;
    let gradient = backward(&network, convolution, &passed, label, &pass)?;
    let values = &passed.values[convolution + 1];

    let mut shares = vec![0.0f32; channels];
    for pixel in gradient.chunks_exact(channels) {
        shares.iter_mut().zip(pixel).for_each(|(share, d)| *share += d);
    }
    let pixels = (height * width) as f32;
    let activity = |pixel: &[f32]| {
        let sum = pixel.iter().zip(&shares).fold(0.0, |sum, (value, share)| sum + value * share);
        (sum / pixels).max(0.0)
    };
    let small: Vec<f32> = values.chunks_exact(channels).map(activity).collect();

    let size: Size = classifier.size();
    let mut heat = Vec::with_capacity(size.height * size.width);
    for y in 0..size.height {
        let rows = between(y, size.height, height);
        let columns = (0..size.width).map(|x| between(x, size.width, width));
        heat.extend(columns.map(|columns| interpolate(&small, width, rows, columns)));
    }
    Ok(Heat { height: size.height, width: size.width, values: heat })
}

fn is_convolution(placed: &Placed) -> bool {
    placed.layer.kernel_shape().is_some_and(|shape| shape.len() == 4)
}

/// What a pass through the network leaves behind for the way back.
struct Passed {
    /// The input and each layer's output.
    values: Vec<Floats>,
    saved: Vec<Floats>,
    reversed: Vec<Floats>,
}

fn forward(
    classifier: &ImageClassifier,
    network: &Network,
    raster: &[u8],
    pass: &Pass<'_>,
) -> Result<Passed, Error> {
    let mut scratch = Floats::zeros(network.training_scratch())?;
    let mut prepared = Floats::zeros(network.prepared)?;
    let mut input = Floats::zeros(network.input.len())?;
    classifier.normalize(raster, &mut input);
    let mut passed = Passed { values: vec![input], saved: Vec::new(), reversed: Vec::new() };
    // The layers that learn are the same, in the same order, for serving and for training.
    let mut trained = classifier.layer_weights();
    for (index, placed) in network.layers.iter().enumerate() {
        let layer = &placed.layer;
        let learned = layer.kernel_shape().and_then(|_| trained.next());
        let [kernel, bias] = learned.unwrap_or_default();
        let mut reversed = Floats::zeros(layer.reversed())?;
        if learned.is_some() {
            let prepared = &mut prepared[placed.prepared.clone()];
            layer.prepare(pass.isa, kernel, prepared, Some(&mut reversed));
        }
        let mut output = Floats::zeros(layer.output().len())?;
        let mut saved = Floats::zeros(layer.saved())?;
        let results = Results { output: &mut output, saved: Some(&mut saved) };
        let weights = placed.weights(kernel, bias, &prepared);
        layer.forward(pass, weights, &passed.values[index], results, &mut scratch)?;
        passed.values.push(output);
        passed.saved.push(saved);
        passed.reversed.push(reversed);
    }
    Ok(passed)
}

/// The gradient of the label's score, before the softmax, to the output of layer `to`.
fn backward(
    network: &Network,
    to: usize,
    passed: &Passed,
    label: usize,
    pass: &Pass<'_>,
) -> Result<Floats, Error> {
    let mut scratch = Floats::zeros(network.training_scratch())?;
    let mut gradient = Floats::zeros(network.classes)?;
    gradient[label] = 1.0;
    for (index, placed) in network.layers.iter().enumerate().skip(to + 1).rev() {
        let ends = Ends {
            input: &passed.values[index],
            output: &passed.values[index + 1],
            saved: &passed.saved[index],
        };
        let (layer, reversed) = (&placed.layer, &passed.reversed[index]);
        let mut d_input = Floats::zeros(layer.input().len())?;
        layer.backward(pass, reversed, ends, &mut gradient, Some(&mut d_input), &mut scratch)?;
        gradient = d_input;
    }
    Ok(gradient)
}
