//! Gradient-weighted class activation: each channel of the last convolution counts as much as the
//! label's score rises with it, and a pixel is as hot as the channels are active there. What is
//! done to the convolution's pixels one by one belongs to it, and so does its residual block.

use teller_numeric::Control;

use super::{Heat, Size, between, interpolate};
use crate::floats::Floats;
use crate::group::{Kept, Passing};
use crate::layer::Pass;
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
    let Some(seen) = last_seen(&network) else { return Err(Error::NoConvolution) };
    let Shape::Image { height, width, channels } = network.layers[seen].layer.output() else {
        return Err(Error::NoConvolution);
    };
    let pass = Pass { isa: classifier.isa(), control, noise: None };
    let mut kept = Kept::new(&network, 1)?;
    let [mut passing] = <[Passing<'_>; 1]>::try_from(kept.groups(&network, (1, 1), true))
        .map_err(|_| Error::NoConvolution)?;
    classifier.normalize(raster, passing.values[0]);
    through(classifier, &network, seen, label, &mut passing, &pass)?;
    let (values, gradient) = (&*passing.values[seen + 1], &*passing.d_values[seen]);

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

/// The layer whose output tells where the last convolution sees something.
fn last_seen(network: &Network) -> Option<usize> {
    let layers = &network.layers;
    let convolution =
        |placed: &Placed| placed.layer.kernel_shape().is_some_and(|shape| shape.len() == 4);
    let last = layers.iter().rposition(convolution)?;
    // The last one of its block: the sum, or the layer's own activation.
    let last = layers.iter().rposition(|placed| placed.block == layers[last].block)?;
    let one_by_one = |placed: &&Placed| {
        let layer = &placed.layer;
        let learns = layer.kernel_shape().is_some() && layer.batch_norm().is_none();
        !learns && !layer.adds() && layer.output() == layers[last].layer.output()
    };
    Some(last + layers[last + 1..].iter().take_while(one_by_one).count())
}

/// Through the network and, with the gradient of the label's score before the softmax, back to
/// what layer `to` gives.
fn through(
    classifier: &ImageClassifier,
    network: &Network,
    to: usize,
    label: usize,
    passing: &mut Passing<'_>,
    pass: &Pass<'_>,
) -> Result<(), Error> {
    let mut prepared = Floats::zeros(network.prepared)?;
    let mut all_reversed = Vec::with_capacity(network.layers.len());
    // The layers that learn are the same, in the same order, for serving and for training.
    let mut trained = classifier.layer_weights();
    let mut all_weights = Vec::with_capacity(network.layers.len());
    for placed in &network.layers {
        let layer = &placed.layer;
        let learned = layer.kernel_shape().and_then(|_| trained.next());
        let mut reversed = Floats::zeros(layer.reversed())?;
        if let Some(learned) = learned {
            let prepared = &mut prepared[placed.prepared.clone()];
            layer.prepare(pass.isa, learned, prepared, Some(&mut reversed));
        }
        all_weights.push(learned.unwrap_or_default());
        all_reversed.push(reversed);
    }
    let mut scratch = Floats::zeros(network.training_scratch())?;
    let layers = network.layers.len();
    let weights = |index: usize| network.layers[index].weights(all_weights[index], &prepared);
    passing.forward(network, pass, 0..layers, weights, &mut scratch)?;
    if let Some(d_logits) = passing.d_values.last_mut() {
        d_logits.fill(0.0);
        d_logits[label] = 1.0;
    }
    passing.backward(network, pass, to + 1..layers, &all_reversed, &mut scratch)?;
    Ok(())
}
