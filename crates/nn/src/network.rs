//! An architecture made ready to compute: shapes checked, sizes bounded, layers placed.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::layer::{
    AvgPool2d, Conv2d, Curve, Dense, Dropout, Elementwise, GroupedConv2d, Layer, MaxPool2d, Reach,
    Relu, Weights, flatten,
};
use crate::{Activation, Architecture, ArchitectureError, LayerSpec, Shape};

/// Most numbers in the kernels of a network, and in the values of one image: 1 GiB each.
const LIMIT: u64 = 1 << 28;
/// Floats of a cache line: every kernel and bias begins at one.
const LINE: usize = 16;

/// Which sums the answers of a network are: others differ in the last bits, so a version keeps
/// those that it was judged by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arithmetic {
    /// Every convolution as a matrix product: versions from before 0.3.0, whose manifests do not
    /// say.
    #[default]
    Direct,
    /// Wide convolutions of 3 x 3 by Winograd's transforms.
    Winograd,
}

impl Arithmetic {
    /// That of trainings, and of the versions that they make.
    pub const CURRENT: Self = Self::Winograd;
}

/// What a network is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Every value that a gradient needs is kept.
    Training,
    /// Dropout is left out.
    Serving(Arithmetic),
}

/// The layers that compute; flattening and the softmax at the end are none.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) input: Shape,
    pub(crate) classes: usize,
    pub(crate) layers: Vec<Placed>,
    /// Floats of all weights, each array at the beginning of a cache line.
    pub(crate) weights: usize,
    /// Floats of all prepared kernels.
    pub(crate) prepared: usize,
}

/// A layer and where its numbers are among all weights.
#[derive(Debug)]
pub(crate) struct Placed {
    /// Place in the architecture and type, such as `0.conv2d`.
    pub(crate) name: String,
    pub(crate) layer: Box<dyn Layer>,
    pub(crate) kernel: Range<usize>,
    pub(crate) bias: Range<usize>,
    /// Where its prepared kernel is among all of them; empty if it reads the kernel itself.
    pub(crate) prepared: Range<usize>,
    /// Whether training leaves its numbers as they are.
    pub(crate) frozen: bool,
}

impl Placed {
    /// Whether it has numbers that are trained, or would be if it were not frozen.
    pub(crate) fn learns(&self) -> bool {
        !self.kernel.is_empty()
    }

    /// What `forward` reads, of a kernel and all prepared ones.
    pub(crate) fn weights<'a>(
        &self,
        kernel: &'a [f32],
        bias: &'a [f32],
        prepared: &'a [f32],
    ) -> Weights<'a> {
        let kernel =
            if self.prepared.is_empty() { kernel } else { &prepared[self.prepared.clone()] };
        Weights { kernel, bias }
    }
}

impl Network {
    pub(crate) fn new(
        architecture: &Architecture,
        classes: usize,
        purpose: Purpose,
    ) -> Result<Self, ArchitectureError> {
        let input = architecture.input;
        let input =
            Shape::Image { height: input.height, width: input.width, channels: input.channels };
        let mut network = Self { input, classes, layers: Vec::new(), weights: 0, prepared: 0 };
        let (mut shape, mut values) = (input, input.len() as u64);
        let specs = &architecture.layers;
        let mut index = 0;
        while index < specs.len() {
            let after = specs.get(index + 1).copied();
            let placing = Placing { index, shape, classes, purpose };
            let (layer, taken) =
                placing.layer(specs[index], after, specs.get(index + 2).copied())?;
            match layer {
                Some(layer) => {
                    values +=
                        (layer.output().len() + layer.saved() + layer.training_scratch()) as u64;
                    placing.bound(specs[index], "values", values)?;
                    shape = layer.output();
                    network.place(&placing, specs[index], layer)?;
                    // An activation that the layer does not compute itself is a layer of its own.
                    if let Some(activation) = specs[index].activation_after() {
                        let placing = Placing { shape, ..placing };
                        values += shape.len() as u64;
                        placing.bound(specs[index], "values", values)?;
                        if let (Some(layer), _) = placing.layer(activation, None, None)? {
                            network.place(&placing, activation, layer)?;
                        }
                    }
                }
                None if specs[index] == LayerSpec::Flatten => shape = flatten(shape),
                None if specs[index] == LayerSpec::Softmax && index + 1 < specs.len() => {
                    return Err(ArchitectureError::Whole("has layers after its softmax"));
                }
                None => {}
            }
            index += taken;
        }
        if specs.last() != Some(&LayerSpec::Softmax) {
            return Err(ArchitectureError::Whole("does not end with a softmax"));
        }
        if network.layers.is_empty() {
            return Err(ArchitectureError::Whole("has no layer that learns"));
        }
        Ok(network)
    }

    fn place(
        &mut self,
        placing: &Placing,
        spec: LayerSpec,
        layer: Box<dyn Layer>,
    ) -> Result<(), ArchitectureError> {
        let name = format!("{}.{}", placing.index, spec.kind());
        let shape = layer.kernel_shape().unwrap_or_default();
        let bias = shape.last().copied().unwrap_or(0);
        let kernel = match &*shape {
            [] => 0,
            shape => shape.iter().fold(1u64, |all, &extent| all.saturating_mul(extent as u64)),
        };
        let needed = (self.weights as u64).saturating_add(kernel).saturating_add(bias as u64);
        placing.bound(spec, "weights", needed)?;
        let kernel = self.weights..self.weights + kernel as usize;
        let first = kernel.end.next_multiple_of(LINE);
        let bias = first..first + bias;
        self.weights = bias.end.next_multiple_of(LINE);
        let prepared = self.prepared..self.prepared + layer.prepared();
        self.prepared = prepared.end.next_multiple_of(LINE);
        self.layers.push(Placed { name, layer, kernel, bias, prepared, frozen: false });
        Ok(())
    }

    /// Training is to leave the layers as they are whose names `is_frozen` knows.
    pub(crate) fn freeze(&mut self, is_frozen: impl Fn(&str) -> bool) {
        for placed in &mut self.layers {
            placed.frozen = placed.learns() && is_frozen(&placed.name);
        }
    }

    /// The first layer that training changes; what comes before it needs no gradient.
    pub(crate) fn first_trained(&self) -> usize {
        let trained = |placed: &Placed| placed.learns() && !placed.frozen;
        self.layers.iter().position(trained).unwrap_or(self.layers.len())
    }

    /// Where the weights are that training changes.
    pub(crate) fn trained(&self) -> Vec<Range<usize>> {
        let mut ranges = Vec::new();
        let mut first = 0;
        for frozen in self.layers.iter().filter(|placed| placed.frozen) {
            ranges.push(first..frozen.kernel.start);
            first = frozen.bias.end.next_multiple_of(LINE);
        }
        ranges.push(first..self.weights);
        ranges.retain(|range| !range.is_empty());
        ranges
    }

    /// Values of the widest layer of one image, the input included.
    pub(crate) fn widest(&self) -> usize {
        let outputs = self.layers.iter().map(|placed| placed.layer.output().len());
        outputs.fold(self.input.len(), usize::max)
    }

    /// Floats of working memory for any of the layers when serving.
    pub(crate) fn scratch(&self) -> usize {
        self.layers.iter().map(|placed| placed.layer.scratch()).fold(0, usize::max)
    }

    /// The same for training, at least 1.
    pub(crate) fn training_scratch(&self) -> usize {
        self.layers.iter().map(|placed| placed.layer.training_scratch()).fold(1, usize::max)
    }
}

/// A layer about to be made.
pub(crate) struct Placing {
    pub(crate) index: usize,
    pub(crate) shape: Shape,
    pub(crate) classes: usize,
    pub(crate) purpose: Purpose,
}

impl Placing {
    /// The layer of a spec, `None` if it computes nothing, and how many specs went into it.
    pub(crate) fn layer(
        &self,
        spec: LayerSpec,
        mut after: Option<LayerSpec>,
        mut later: Option<LayerSpec>,
    ) -> Result<(Option<Box<dyn Layer>>, usize), ArchitectureError> {
        let mut taken = 1;
        // A rectifier of its own right after is the same as one in the layer.
        let mut rectify = |activation: Activation| {
            if after == Some(LayerSpec::Relu) && activation == Activation::None {
                (after, later, taken) = (later, None, 2);
                return true;
            }
            activation == Activation::Relu
        };
        let layer: Box<dyn Layer> = match spec {
            LayerSpec::Conv2d { filters, kernel, stride, dilation, groups, padding, .. }
                if spec.is_grouped() =>
            {
                let image = self.image(spec)?;
                if image.2 % groups != 0 {
                    let expected = format!("channels that {groups} groups can share alike");
                    return Err(self.misfit(spec, expected));
                }
                let reach = Reach { kernel, stride, dilation, padding };
                let covered = (kernel - 1) * dilation + 1;
                let conv = GroupedConv2d::new(image, filters, groups, reach);
                Box::new(conv.ok_or_else(|| {
                    self.misfit(spec, format!("an image of at least {covered} x {covered}"))
                })?)
            }
            LayerSpec::Conv2d { filters, kernel, stride, padding, activation, .. } => {
                let image = self.image(spec)?;
                let relu = rectify(activation);
                let conv = Conv2d::new(image, filters, kernel, stride, padding, relu).ok_or_else(
                    || self.misfit(spec, format!("an image of at least {kernel} x {kernel}")),
                )?;
                let conv = match self.purpose {
                    Purpose::Serving(Arithmetic::Direct) => conv.direct(),
                    Purpose::Serving(Arithmetic::Winograd) | Purpose::Training => conv,
                };
                let pools = spec.activation_after().is_none()
                    && after == Some(LayerSpec::MaxPool2d { size: 2, stride: 2 });
                let room = matches!(conv.output(), Shape::Image { height: 2.., width: 2.., .. });
                if pools && room {
                    taken += 1;
                    Box::new(conv.pooled())
                } else {
                    Box::new(conv)
                }
            }
            LayerSpec::MaxPool2d { size, stride } => {
                let pool = MaxPool2d::new(self.image(spec)?, size, stride);
                Box::new(pool.ok_or_else(|| {
                    self.misfit(spec, format!("an image of at least {size} x {size}"))
                })?)
            }
            LayerSpec::AvgPool2d { size, stride } => {
                let pool = AvgPool2d::new(self.image(spec)?, size, stride);
                Box::new(pool.ok_or_else(|| {
                    self.misfit(spec, format!("an image of at least {size} x {size}"))
                })?)
            }
            LayerSpec::GlobalAvgPool2d => Box::new(AvgPool2d::global(self.image(spec)?)),
            LayerSpec::Dense { units, activation } => {
                let inputs = self.vector(spec)?;
                let relu = rectify(activation);
                Box::new(Dense { inputs, units: units.unwrap_or(self.classes), relu })
            }
            LayerSpec::Relu => Box::new(Relu { shape: self.shape }),
            LayerSpec::LeakyRelu { slope } => self.elementwise(Curve::LeakyRelu(slope as f32)),
            LayerSpec::Gelu => self.elementwise(Curve::Gelu),
            LayerSpec::Sigmoid => self.elementwise(Curve::Sigmoid),
            LayerSpec::Tanh => self.elementwise(Curve::Tanh),
            LayerSpec::Dropout { rate } if self.purpose == Purpose::Training => {
                Box::new(Dropout { shape: self.shape, rate: rate as f32, index: self.index as u64 })
            }
            LayerSpec::Softmax => {
                if self.vector(spec)? != self.classes {
                    let expected = format!("a vector of {}, one for each class", self.classes);
                    return Err(self.misfit(spec, expected));
                }
                return Ok((None, 1));
            }
            LayerSpec::Flatten | LayerSpec::Dropout { .. } => return Ok((None, 1)),
        };
        Ok((Some(layer), taken))
    }

    fn elementwise(&self, curve: Curve) -> Box<dyn Layer> {
        Box::new(Elementwise { shape: self.shape, curve })
    }

    fn image(&self, spec: LayerSpec) -> Result<(usize, usize, usize), ArchitectureError> {
        match self.shape {
            Shape::Image { height, width, channels } => Ok((height, width, channels)),
            Shape::Vector(_) => Err(self.misfit(spec, "an image".to_owned())),
        }
    }

    fn vector(&self, spec: LayerSpec) -> Result<usize, ArchitectureError> {
        match self.shape {
            Shape::Vector(len) => Ok(len),
            Shape::Image { .. } => {
                Err(self.misfit(spec, "a vector: put a flatten layer before it".to_owned()))
            }
        }
    }

    fn misfit(&self, spec: LayerSpec, expected: String) -> ArchitectureError {
        let (index, kind, got) = (self.index, spec.kind(), self.shape.to_string());
        ArchitectureError::Layer { index, kind, got, expected }
    }

    fn bound(
        &self,
        spec: LayerSpec,
        what: &'static str,
        needed: u64,
    ) -> Result<(), ArchitectureError> {
        if needed <= LIMIT {
            return Ok(());
        }
        let (index, kind) = (self.index, spec.kind());
        Err(ArchitectureError::TooLarge { index, kind, what, needed, limit: LIMIT })
    }
}
