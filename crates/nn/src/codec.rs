//! Weights as named arrays, in the layout in which they are trained: `0.conv2d.kernel`
//! `[kernel, kernel, channels, filters]`, `5.dense.kernel` `[inputs, units]`, and their biases.

use teller_payload::{AlignedBytes, Array, Payload, PayloadError, PayloadWriter, SharedBytes};

use crate::network::{Network, Placed};

/// Where a layer's numbers lie in a payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredWeights {
    pub(crate) kernel: Array<f32>,
    pub(crate) bias: Array<f32>,
}

/// Name and shape of a layer's kernel and bias; nothing for a layer that does not learn.
pub(crate) fn arrays(placed: &Placed) -> Option<[(String, Vec<usize>); 2]> {
    let kernel = placed.layer.kernel_shape()?;
    let bias = vec![placed.bias.len()];
    let name = &placed.name;
    Some([(format!("{name}.kernel"), kernel), (format!("{name}.bias"), bias)])
}

pub(crate) fn write(network: &Network, weights: &[f32]) -> AlignedBytes {
    let mut writer = PayloadWriter::new();
    for placed in &network.layers {
        if let Some([(kernel, kernel_shape), (bias, bias_shape)]) = arrays(placed) {
            writer.array(&kernel, &kernel_shape, &weights[placed.kernel.clone()]);
            writer.array(&bias, &bias_shape, &weights[placed.bias.clone()]);
        }
    }
    writer.finish()
}

/// Checks that the payload holds the network's weights and nothing else.
pub(crate) fn read(
    network: &Network,
    bytes: SharedBytes,
) -> Result<(Payload, Vec<Option<StoredWeights>>), PayloadError> {
    let payload = Payload::parse(bytes)?;
    let mut stored = Vec::with_capacity(network.layers.len());
    for placed in &network.layers {
        stored.push(match arrays(placed) {
            None => None,
            Some([(kernel, kernel_shape), (bias, bias_shape)]) => Some(StoredWeights {
                kernel: payload.array_of(&kernel, &kernel_shape)?,
                bias: payload.array_of(&bias, &bias_shape)?,
            }),
        });
    }
    let wanted = stored.iter().flatten().count() * 2;
    if payload.arrays().count() != wanted {
        return Err(PayloadError::Directory("it has arrays that the architecture does not name"));
    }
    Ok((payload, stored))
}
