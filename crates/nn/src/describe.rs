//! What an architecture costs, layer by layer, without training it.

use crate::network::{Network, Placing, Purpose};
use crate::{Activation, Architecture, ArchitectureError, Block, LayerSpec, Residual, Shape};

/// One layer of an architecture, made ready for a number of classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerSummary {
    /// Where it is: `2`, or `2.residual.0` and `2.residual.shortcut.0` in a residual block.
    pub place: String,
    /// Its type, as written.
    pub kind: &'static str,
    /// What it gives.
    pub output: Shape,
    /// Numbers that it learns, or keeps as running statistics.
    pub parameters: u64,
    /// Floating-point operations for one image when serving: a product and a sum count as two,
    /// a value of an activation or softmax as one.
    pub flops: u64,
    /// Bytes of its numbers and of its output for one image.
    pub memory: u64,
}

impl Architecture {
    /// Checks the architecture as [`Architecture::check`] does, and tells about every layer; of a
    /// residual block first about the layers in it, then about their sum.
    pub fn describe(&self, classes: usize) -> Result<Vec<LayerSummary>, ArchitectureError> {
        let mut shape = Network::new(self, classes, Purpose::Training)?.input;
        let mut summaries = Vec::with_capacity(self.layers.len());
        for (index, block) in self.layers.iter().enumerate() {
            match block {
                Block::Layer(spec) => {
                    shape = describe(&mut summaries, index.to_string(), *spec, shape, classes)?;
                }
                Block::Residual(Residual { layers, shortcut, activation }) => {
                    let mut fork = shape;
                    for (at, spec) in layers.iter().enumerate() {
                        let place = format!("{index}.residual.{at}");
                        shape = describe(&mut summaries, place, *spec, shape, classes)?;
                    }
                    for (at, spec) in shortcut.iter().enumerate() {
                        let place = format!("{index}.residual.shortcut.{at}");
                        fork = describe(&mut summaries, place, *spec, fork, classes)?;
                    }
                    let values = shape.len() as u64;
                    summaries.push(LayerSummary {
                        place: index.to_string(),
                        kind: "residual",
                        output: shape,
                        parameters: 0,
                        flops: values + activation_flops(*activation, values),
                        memory: values * FLOAT,
                    });
                }
            }
        }
        Ok(summaries)
    }
}

const FLOAT: u64 = size_of::<f32>() as u64;

/// Tells about one layer and gives the shape after it.
fn describe(
    summaries: &mut Vec<LayerSummary>,
    place: String,
    spec: LayerSpec,
    input: Shape,
    classes: usize,
) -> Result<Shape, ArchitectureError> {
    let (number, purpose) = (0, Purpose::Training);
    let placing = Placing { place: place.clone(), number, shape: input, classes, purpose };
    let layer = placing.layer(&[spec])?.map(|made| made.layer);
    let output = match &layer {
        Some(layer) => layer.output(),
        None => placing.reshaped(spec)?,
    };
    let kernel = layer.as_ref().and_then(|layer| layer.kernel_shape());
    let parameters = kernel.map_or(0, |kernel| {
        let last = kernel.last().copied().unwrap_or(0) as u64;
        // A bias, or the other three numbers of a batch norm.
        let more = if matches!(spec, LayerSpec::BatchNorm2d { .. }) { 3 * last } else { last };
        kernel.iter().map(|&extent| extent as u64).product::<u64>() + more
    });
    summaries.push(LayerSummary {
        place,
        kind: spec.kind(),
        output,
        parameters,
        flops: flops(spec, input, output),
        memory: (parameters + output.len() as u64) * FLOAT,
    });
    Ok(output)
}

/// Operations for one image.
fn flops(spec: LayerSpec, input: Shape, output: Shape) -> u64 {
    let values = output.len() as u64;
    let channels = match input {
        Shape::Image { channels, .. } => channels as u64,
        Shape::Vector(len) => len as u64,
    };
    // A bias, which starts the sum, costs nothing of its own.
    let products = |each: u64| 2 * each * values + activation_flops(spec.activation(), values);
    match spec {
        LayerSpec::Conv2d { kernel, groups, .. } => {
            products((kernel * kernel) as u64 * channels / groups as u64)
        }
        LayerSpec::ConvTranspose2d { filters, kernel, activation, .. } => {
            let products = (kernel * kernel * filters * input.len()) as u64;
            2 * products + activation_flops(activation, values)
        }
        LayerSpec::Dense { .. } => products(channels),
        LayerSpec::MaxPool2d { size, .. } | LayerSpec::AvgPool2d { size, .. } => {
            (size * size) as u64 * values
        }
        LayerSpec::GlobalAvgPool2d => input.len() as u64,
        LayerSpec::BatchNorm2d { .. } => 2 * values,
        LayerSpec::Flatten | LayerSpec::Reshape { .. } | LayerSpec::Dropout { .. } => 0,
        LayerSpec::Relu
        | LayerSpec::LeakyRelu { .. }
        | LayerSpec::Gelu
        | LayerSpec::Sigmoid
        | LayerSpec::Tanh
        | LayerSpec::Softmax => values,
    }
}

fn activation_flops(activation: Activation, values: u64) -> u64 {
    if activation == Activation::None { 0 } else { values }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(name: &str) -> Vec<(&'static str, String, u64, u64)> {
        let summaries = Architecture::named(name).unwrap().describe(10).unwrap();
        summaries.iter().map(|l| (l.kind, l.output.to_string(), l.parameters, l.flops)).collect()
    }

    #[test]
    fn layers_cost_what_their_definitions_say() {
        let reference = numbers("reference");
        assert_eq!(reference[0], ("conv2d", "an image of 26 x 26 x 32".to_owned(), 320, 411_008));
        assert_eq!(reference[1], ("max_pool2d", "an image of 13 x 13 x 32".to_owned(), 0, 21_632));
        assert_eq!(reference[4], ("flatten", "a vector of 1600".to_owned(), 0, 0));
        assert_eq!(reference[5], ("dense", "a vector of 64".to_owned(), 102_464, 204_864));
        assert_eq!(reference.len(), 8);
        // 61,706 numbers: the network of LeCun et al. 1998 with all maps connected.
        let lenet = numbers("lenet5");
        assert_eq!(lenet.iter().map(|layer| layer.2).sum::<u64>(), 61_706);
        let summaries = Architecture::named("reference").unwrap().describe(10).unwrap();
        assert_eq!(summaries[0].memory, (320 + 26 * 26 * 32) * 4);
        assert!(Architecture::named("reference").unwrap().describe(11).is_ok());
    }

    #[test]
    fn a_transposed_convolution_costs_its_kernel_for_every_pixel_that_it_reads() {
        let layers = serde_json::json!([
            {"type": "conv_transpose2d", "filters": 3, "kernel": 4, "stride": 2,
             "padding": "same", "activation": "tanh"},
            {"type": "reshape", "height": 128, "width": 3, "channels": 1},
            {"type": "flatten"}, {"type": "dense", "units": "classes"}, {"type": "softmax"}
        ]);
        let input = serde_json::json!({"height": 4, "width": 8, "channels": 1});
        let given = serde_json::json!({"input": input, "layers": layers});
        let layers = Architecture::from_json(&given).unwrap().describe(2).unwrap();
        let first = &layers[0];
        assert_eq!(first.output, Shape::Image { height: 8, width: 16, channels: 3 });
        assert_eq!((first.parameters, first.flops), (16 * 3 + 3, 2 * 16 * 3 * 32 + 384));
        assert_eq!(layers[1].flops, 0);
    }

    #[test]
    fn residual_blocks_are_told_layer_by_layer() {
        let resnet = Architecture::named("resnet8").unwrap().describe(10).unwrap();
        let places: Vec<&str> = resnet.iter().map(|layer| &*layer.place).collect();
        assert_eq!(places[..5], ["0", "1", "2", "3.residual.0", "3.residual.1"]);
        let sum = resnet.iter().find(|layer| layer.place == "4").unwrap();
        assert_eq!(
            (sum.kind, sum.output.to_string()),
            ("residual", "an image of 16 x 16 x 32".into())
        );
        // The sum and its rectifier.
        assert_eq!((sum.parameters, sum.flops), (0, 2 * 16 * 16 * 32));
        let shortcut = resnet.iter().find(|layer| layer.place == "4.residual.shortcut.0").unwrap();
        assert_eq!((shortcut.kind, shortcut.parameters), ("conv2d", 16 * 32 + 32));
        let norm = resnet.iter().find(|layer| layer.place == "1").unwrap();
        assert_eq!(
            (norm.kind, norm.parameters, norm.flops),
            ("batch_norm2d", 64, 2 * 32 * 32 * 16)
        );
    }
}
