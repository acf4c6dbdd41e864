//! What an architecture costs, layer by layer, without training it.

use crate::network::{Network, Placing, Purpose};
use crate::{Architecture, ArchitectureError, LayerSpec, Shape};

/// One layer of an architecture, made ready for a number of classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerSummary {
    /// Its type, as written.
    pub kind: &'static str,
    /// What it gives.
    pub output: Shape,
    /// Numbers that it learns.
    pub parameters: u64,
    /// Floating-point operations for one image when serving: a product and a sum count as two,
    /// a value of an activation layer or softmax as one.
    pub flops: u64,
    /// Bytes of its numbers and of its output for one image.
    pub memory: u64,
}

impl Architecture {
    /// Checks the architecture as [`Architecture::check`] does, and tells about every layer.
    pub fn describe(&self, classes: usize) -> Result<Vec<LayerSummary>, ArchitectureError> {
        let mut shape = Network::new(self, classes, Purpose::Training)?.input;
        let mut summaries = Vec::with_capacity(self.layers.len());
        for (index, &spec) in self.layers.iter().enumerate() {
            let input = shape;
            let placing = Placing { index, shape, classes, purpose: Purpose::Training };
            let (layer, _) = placing.layer(spec, None, None)?;
            let mut parameters = 0;
            match layer {
                Some(layer) => {
                    shape = layer.output();
                    if let Some(kernel) = layer.kernel_shape() {
                        let bias = kernel.last().copied().unwrap_or(0) as u64;
                        parameters = kernel.iter().map(|&extent| extent as u64).product::<u64>();
                        parameters += bias;
                    }
                }
                None if spec == LayerSpec::Flatten => shape = Shape::Vector(shape.len()),
                None => {}
            }
            let float = size_of::<f32>() as u64;
            summaries.push(LayerSummary {
                kind: spec.kind(),
                output: shape,
                parameters,
                flops: flops(spec, input, shape),
                memory: (parameters + shape.len() as u64) * float,
            });
        }
        Ok(summaries)
    }
}

/// Operations for one image.
fn flops(spec: LayerSpec, input: Shape, output: Shape) -> u64 {
    let values = output.len() as u64;
    let channels = match input {
        Shape::Image { channels, .. } => channels as u64,
        Shape::Vector(len) => len as u64,
    };
    // A bias, which starts the sum, costs nothing of its own.
    let products = |each: u64| 2 * each * values;
    match spec {
        LayerSpec::Conv2d { kernel, groups, .. } => {
            products((kernel * kernel) as u64 * channels / groups as u64)
        }
        LayerSpec::Dense { .. } => products(channels),
        LayerSpec::MaxPool2d { size, .. } | LayerSpec::AvgPool2d { size, .. } => {
            (size * size) as u64 * values
        }
        LayerSpec::GlobalAvgPool2d => input.len() as u64,
        LayerSpec::Flatten | LayerSpec::Dropout { .. } => 0,
        LayerSpec::Relu
        | LayerSpec::LeakyRelu { .. }
        | LayerSpec::Gelu
        | LayerSpec::Sigmoid
        | LayerSpec::Tanh
        | LayerSpec::Softmax => values,
    }
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
        assert_eq!(reference[0], ("conv2d", "an image of 26 x 26 x 32".to_owned(), 320, 389_376));
        assert_eq!(reference[1], ("max_pool2d", "an image of 13 x 13 x 32".to_owned(), 0, 21_632));
        assert_eq!(reference[4], ("flatten", "a vector of 1600".to_owned(), 0, 0));
        assert_eq!(reference[5], ("dense", "a vector of 64".to_owned(), 102_464, 204_800));
        assert_eq!(reference.len(), 8);
        // 61,706 numbers: the network of LeCun et al. 1998 with all maps connected.
        let lenet = numbers("lenet5");
        assert_eq!(lenet.iter().map(|layer| layer.2).sum::<u64>(), 61_706);
        let summaries = Architecture::named("reference").unwrap().describe(10).unwrap();
        assert_eq!(summaries[0].memory, (320 + 26 * 26 * 32) * 4);
        assert!(Architecture::named("reference").unwrap().describe(11).is_ok());
    }
}
