//! Weights as named arrays, in the layout in which they are trained: `0.conv2d.kernel`
//! `[kernel, kernel, channels, filters]`, `5.dense.kernel` `[inputs, units]`, and their biases;
//! `1.batch_norm2d.gamma`, `.beta`, `.mean` and `.variance`.

use teller_payload::{AlignedBytes, Array, Payload, PayloadError, PayloadWriter, SharedBytes};

use crate::layer::{Layer, Weights};
use crate::network::{Network, Placed};

/// Where a layer's numbers lie in a payload.
#[derive(Clone, Debug)]
pub(crate) struct StoredWeights {
    arrays: Vec<(String, Vec<usize>, Array<f32>)>,
}

/// Those of a layer, and of the batch norm that is folded into it.
#[derive(Clone, Debug)]
pub(crate) struct StoredLayer {
    pub(crate) own: StoredWeights,
    pub(crate) folded: Option<StoredWeights>,
}

impl StoredWeights {
    /// Name, shape and place of each.
    pub(crate) fn arrays(&self) -> impl Iterator<Item = &(String, Vec<usize>, Array<f32>)> {
        self.arrays.iter()
    }

    pub(crate) fn weights<'p>(&self, payload: &'p Payload) -> Weights<'p> {
        let mut arrays = self.arrays.iter().map(|(_, _, array)| payload.get(*array));
        let mut next = || arrays.next().unwrap_or_default();
        Weights { kernel: next(), bias: next(), mean: next(), variance: next() }
    }

    /// All arrays of a layer; untrusted, so what no training gives is refused.
    fn read(payload: &Payload, name: &str, layer: &dyn Layer) -> Result<Self, PayloadError> {
        let mut arrays = Vec::new();
        for (name, shape) in arrays_of(name, layer) {
            let array = payload.array_of(&name, &shape)?;
            arrays.push((name, shape, array));
        }
        let stored = Self { arrays };
        check_variance(name, stored.weights(payload).variance)?;
        Ok(stored)
    }
}

/// Whether a batch norm can have this running variance, whose root it takes.
pub(crate) fn check_variance(name: &str, variance: &[f32]) -> Result<(), PayloadError> {
    match variance.iter().find(|&value| !(value.is_finite() && *value >= 0.0)) {
        None => Ok(()),
        Some(got) => Err(PayloadError::Value {
            name: format!("{name}.variance"),
            got: got.to_string(),
            expected: "numbers from 0 on",
        }),
    }
}

/// Names and shapes of what a layer learns, in the order of [`Weights`].
fn arrays_of(name: &str, layer: &dyn Layer) -> Vec<(String, Vec<usize>)> {
    let Some(kernel) = layer.kernel_shape() else { return Vec::new() };
    let last = kernel.last().copied().unwrap_or(0);
    let names: &[&str] = match layer.batch_norm() {
        Some(_) => &["gamma", "beta", "mean", "variance"],
        None => &["kernel", "bias"],
    };
    let shapes = std::iter::once(kernel).chain(std::iter::repeat(vec![last]));
    names.iter().map(|array| format!("{name}.{array}")).zip(shapes).collect()
}

/// Names, shapes and places among all weights of what a layer holds.
pub(crate) fn arrays(placed: &Placed) -> Vec<(String, Vec<usize>, std::ops::Range<usize>)> {
    let ranges = [&placed.kernel, &placed.bias, &placed.mean, &placed.variance].into_iter();
    let arrays = arrays_of(&placed.name, &*placed.layer).into_iter().zip(ranges);
    arrays.map(|((name, shape), range)| (name, shape, range.clone())).collect()
}

pub(crate) fn write(network: &Network, weights: &[f32]) -> AlignedBytes {
    let mut writer = PayloadWriter::new();
    for (name, shape, range) in network.layers.iter().flat_map(arrays) {
        writer.array(&name, &shape, &weights[range]);
    }
    writer.finish()
}

/// Checks that the payload holds the network's weights and nothing else.
pub(crate) fn read(
    network: &Network,
    bytes: SharedBytes,
) -> Result<(Payload, Vec<Option<StoredLayer>>), PayloadError> {
    let payload = Payload::parse(bytes)?;
    let mut stored = Vec::with_capacity(network.layers.len());
    for placed in &network.layers {
        let own = StoredWeights::read(&payload, &placed.name, &*placed.layer)?;
        let folded = placed.folded.as_ref();
        let folded = folded.map(|folded| StoredWeights::read(&payload, &folded.name, &folded.norm));
        let folded = folded.transpose()?;
        stored.push((!own.arrays.is_empty()).then_some(StoredLayer { own, folded }));
    }
    let all = stored.iter().flatten().flat_map(|layer| [Some(&layer.own), layer.folded.as_ref()]);
    let wanted: usize = all.flatten().map(|stored| stored.arrays.len()).sum();
    if payload.arrays().count() != wanted {
        return Err(PayloadError::Directory("it has arrays that the architecture does not name"));
    }
    Ok((payload, stored))
}
