//! An architecture made ready to compute: shapes checked, sizes bounded, layers placed.
//!
//! The layers stand in one list, in the order in which they compute; each says which value it
//! reads. A residual block is its layers, those of its shortcut, and a sum.

mod placing;

use std::ops::Range;

pub(crate) use placing::Placing;
use serde::{Deserialize, Serialize};
use teller_numeric::Stream;

use crate::layer::{BatchNorm2d, Initialization, Layer, Sum, Weights};
use crate::{Activation, Architecture, ArchitectureError, Block, LayerSpec, Residual, Shape};

/// Most numbers in the kernels of a network, and in the values of one image: 1 GiB each.
const LIMIT: u64 = 1 << 28;
/// Floats of a cache line: every kernel and bias begins at one.
pub(crate) const LINE: usize = 16;
/// Buffers for the values of one image when serving: what a layer reads, what it writes, and the
/// other way through a residual block.
pub(crate) const BUFFERS: usize = 3;

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
    /// Dropout is left out, batch norms are folded into the layers before them.
    Serving(Arithmetic),
}

/// The layers that compute; changes of shape and the softmax at the end are none.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) input: Shape,
    pub(crate) classes: usize,
    pub(crate) layers: Vec<Placed>,
    /// Floats of all weights, each array at the beginning of a cache line.
    pub(crate) weights: usize,
    /// Floats of all prepared kernels.
    pub(crate) prepared: usize,
    /// Whether somebody asks for the gradient to the input, of layers in a row.
    pub(crate) input_gradient: bool,
    /// Layers before the last layer or residual block that learns.
    pub(crate) before_last: usize,
    /// Floats of each buffer when serving; the first one holds the input.
    pub(crate) buffers: [usize; BUFFERS],
}

/// A layer, where its numbers are among all weights, and which values it reads.
#[derive(Debug)]
pub(crate) struct Placed {
    /// Place in the architecture and type, such as `0.conv2d` or `2.residual.0.conv2d`.
    pub(crate) name: String,
    pub(crate) layer: Box<dyn Layer>,
    pub(crate) kernel: Range<usize>,
    pub(crate) bias: Range<usize>,
    /// Running statistics, of a batch norm alone.
    pub(crate) mean: Range<usize>,
    pub(crate) variance: Range<usize>,
    /// Where its prepared kernel is among all of them; empty if it reads the kernel itself.
    pub(crate) prepared: Range<usize>,
    pub(crate) initialization: Initialization,
    /// The batch norm after it that is a part of its kernel and bias.
    pub(crate) folded: Option<Folded>,
    /// The architecture's layer or block that it is of, from 0.
    pub(crate) block: usize,
    /// The value that it reads: 0 is the input, `i + 1` what layer `i` gives.
    pub(crate) reads: usize,
    /// Of a sum, the other way through its block.
    pub(crate) adds: Option<Added>,
    /// What becomes of the gradient to the value that it reads.
    pub(crate) gradient: Gradient,
    /// Whether training leaves its numbers as they are.
    pub(crate) frozen: bool,
    /// When serving, the buffers that it reads and writes.
    pub(crate) from: usize,
    pub(crate) to: usize,
}

/// A batch norm that is no layer of its own.
#[derive(Debug)]
pub(crate) struct Folded {
    pub(crate) name: String,
    pub(crate) norm: BatchNorm2d,
}

/// A value that a sum adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Added {
    /// The one that the block reads.
    Fork(usize),
    /// The shortcut's.
    Shortcut(usize),
}

/// Two layers read the value before a residual block, and its gradient is the sum of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gradient {
    /// It is this layer's alone.
    Own,
    /// This layer's is kept apart until the other one's is there.
    Aside,
    /// That of another layer comes to it: what is kept apart, or the gradient to a sum.
    Joined(usize),
}

impl Placed {
    /// Whether it has numbers that are trained, or would be if it were not frozen.
    pub(crate) fn learns(&self) -> bool {
        !self.kernel.is_empty()
    }

    /// What `forward` reads, of a kernel and all prepared ones.
    pub(crate) fn weights<'a>(&self, stored: Weights<'a>, prepared: &'a [f32]) -> Weights<'a> {
        match self.prepared.is_empty() {
            true => stored,
            false => Weights { kernel: &prepared[self.prepared.clone()], ..stored },
        }
    }

    /// Its numbers among all weights.
    pub(crate) fn stored<'a>(&self, weights: &'a [f32]) -> Weights<'a> {
        Weights {
            kernel: &weights[self.kernel.clone()],
            bias: &weights[self.bias.clone()],
            mean: &weights[self.mean.clone()],
            variance: &weights[self.variance.clone()],
        }
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
        let mut builder = Builder::new(input, classes, purpose);
        builder.blocks(&architecture.layers)?;
        if architecture.layers.last() != Some(&Block::Layer(LayerSpec::Softmax)) {
            return Err(ArchitectureError::Whole("does not end with a softmax"));
        }
        let network = builder.network;
        if !network.layers.iter().any(Placed::learns) {
            return Err(ArchitectureError::Whole("has no layer that learns"));
        }
        Ok(network)
    }

    /// Layers in a row, from values of any shape to those of the last layer.
    pub(crate) fn chain(
        input: Shape,
        layers: &[LayerSpec],
        purpose: Purpose,
    ) -> Result<Self, ArchitectureError> {
        let mut builder = Builder::new(input, 0, purpose);
        let blocks: Vec<Block> = layers.iter().copied().map(Block::Layer).collect();
        builder.blocks(&blocks)?;
        Ok(builder.network)
    }

    /// What the last layer gives.
    pub(crate) fn output(&self) -> Shape {
        self.layers.last().map_or(self.input, |placed| placed.layer.output())
    }

    /// Draws the weights before training, each layer's from a stream of its own.
    pub(crate) fn initialize(&self, seed: u64, purpose: &str, weights: &mut [f32]) {
        for (index, placed) in (0u64..).zip(&self.layers) {
            let mut stream = Stream::new(seed, purpose, index);
            let kernel = &mut weights[placed.kernel.clone()];
            placed.layer.initialize(placed.initialization, &mut stream, kernel);
            weights[placed.variance.clone()].fill(1.0);
        }
    }

    /// Floats of working memory for any of the layers when serving.
    pub(crate) fn scratch(&self) -> usize {
        self.layers.iter().map(|placed| placed.layer.scratch()).fold(0, usize::max)
    }

    /// The same for training, at least 1.
    pub(crate) fn training_scratch(&self) -> usize {
        self.layers.iter().map(|placed| placed.layer.training_scratch()).fold(1, usize::max)
    }

    /// Where the layers are that look over a whole batch in training; frozen ones do not.
    pub(crate) fn batch_norms(&self) -> Vec<usize> {
        let looks = |placed: &Placed| placed.layer.batch_norm().is_some() && !placed.frozen;
        let layers = self.layers.iter().enumerate();
        layers.filter(|(_, placed)| looks(placed)).map(|(index, _)| index).collect()
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

    /// Whether somebody asks for the gradient to what the layer reads.
    pub(crate) fn asks_gradient(&self, placed: &Placed) -> bool {
        match placed.reads {
            0 => self.input_gradient,
            read => read > self.first_trained(),
        }
    }

    /// Where the kernels are that shrink where weights decay.
    pub(crate) fn decaying(&self) -> Vec<Range<usize>> {
        let layers = self.layers.iter();
        let decaying = layers.filter(|placed| !placed.frozen && placed.layer.decays());
        decaying.map(|placed| placed.kernel.clone()).collect()
    }

    /// Where the weights are that training changes.
    pub(crate) fn trained(&self) -> Vec<Range<usize>> {
        let mut ranges = Vec::new();
        let mut first = 0;
        for frozen in self.layers.iter().filter(|placed| placed.frozen) {
            ranges.push(first..frozen.kernel.start);
            first = frozen.variance.end.next_multiple_of(LINE);
        }
        ranges.push(first..self.weights);
        ranges.retain(|range| !range.is_empty());
        ranges
    }
}

/// How far a way through the layers has come.
#[derive(Clone, Copy, Debug)]
struct Tip {
    shape: Shape,
    /// Which value it is, and in which buffer.
    value: usize,
    buffer: usize,
}

struct Builder {
    network: Network,
    purpose: Purpose,
    /// Floats of one image in training, as far as it is built.
    values: u64,
    /// The block that is built, and the buffer that it must leave alone.
    block: usize,
    held: Option<usize>,
    tip: Tip,
}

impl Builder {
    fn new(input: Shape, classes: usize, purpose: Purpose) -> Self {
        let mut buffers = [0; BUFFERS];
        buffers[0] = input.len();
        let network = Network {
            input,
            classes,
            layers: Vec::new(),
            weights: 0,
            prepared: 0,
            input_gradient: false,
            before_last: 0,
            buffers,
        };
        let tip = Tip { shape: input, value: 0, buffer: 0 };
        Self { network, purpose, values: input.len() as u64, block: 0, held: None, tip }
    }

    fn blocks(&mut self, blocks: &[Block]) -> Result<(), ArchitectureError> {
        let mut index = 0;
        while let Some(block) = blocks.get(index) {
            self.block = index;
            let before = self.network.layers.len();
            index += match block {
                Block::Layer(LayerSpec::Softmax) if index + 1 < blocks.len() => {
                    self.layer(String::new(), index, &[LayerSpec::Softmax])?;
                    return Err(ArchitectureError::Whole("has layers after its softmax"));
                }
                Block::Layer(_) => {
                    let run: Vec<LayerSpec> = run(&blocks[index..]).collect();
                    self.layer(String::new(), index, &run)?
                }
                Block::Residual(residual) => {
                    let next = run(&blocks[index + 1..]).next();
                    self.residual(residual, next)?
                }
            };
            if self.network.layers[before..].iter().any(Placed::learns) {
                self.network.before_last = before;
            }
        }
        Ok(())
    }

    /// A residual block, and how many blocks went into it: a rectifier after it is its own.
    fn residual(
        &mut self,
        residual: &Residual,
        next: Option<LayerSpec>,
    ) -> Result<usize, ArchitectureError> {
        let place = self.block.to_string();
        let fork = self.tip;
        let way = |shortcut: &str| format!("{place}.residual{shortcut}.");
        self.held = Some(fork.buffer);
        let first = self.network.layers.len();
        self.way(&way(""), &residual.layers)?;
        let body = self.tip;
        if !self.network.layers[first..].iter().any(Placed::learns) {
            return Err(ArchitectureError::EmptyResidual { place });
        }

        self.held = Some(body.buffer);
        self.tip = fork;
        let aside = self.network.layers.len();
        self.way(&way(".shortcut"), &residual.shortcut)?;
        let shortcut = self.tip;
        self.held = None;
        if body.shape != shortcut.shape {
            let [layers, shortcut] = [body.shape, shortcut.shape].map(|shape| shape.to_string());
            return Err(ArchitectureError::Sum { place, layers, shortcut });
        }

        let at = self.network.layers.len();
        let adds = if aside < at {
            self.network.layers[aside].gradient = Gradient::Aside;
            self.network.layers[first].gradient = Gradient::Joined(aside);
            Added::Shortcut(shortcut.value)
        } else {
            self.network.layers[first].gradient = Gradient::Joined(at);
            Added::Fork(fork.value)
        };
        let rectified = residual.activation == Activation::None && next == Some(LayerSpec::Relu);
        let relu = rectified || residual.activation == Activation::Relu;
        let placing = self.placing(place, self.block);
        let sum = Placed {
            adds: Some(adds),
            reads: body.value,
            from: body.buffer,
            to: shortcut.buffer,
            ..self.placed(&placing, "residual", Box::new(Sum { shape: body.shape, relu }))?
        };
        self.push(sum);
        if let Some(activation) = residual.activation.layer().filter(|_| !relu) {
            self.layer(String::new(), self.block, &[activation])?;
        }
        Ok(1 + usize::from(rectified))
    }

    /// One of the ways through a block.
    fn way(&mut self, prefix: &str, specs: &[LayerSpec]) -> Result<(), ArchitectureError> {
        let mut index = 0;
        while index < specs.len() {
            index += self.layer(prefix.to_owned(), index, &specs[index..])?;
        }
        Ok(())
    }

    /// The layer of the first of `specs`, and how many of them went into it.
    fn layer(
        &mut self,
        prefix: String,
        index: usize,
        specs: &[LayerSpec],
    ) -> Result<usize, ArchitectureError> {
        let Some(&spec) = specs.first() else { return Ok(1) };
        let placing = self.placing(format!("{prefix}{index}"), index);
        let Some(made) = placing.layer(specs)? else {
            self.tip.shape = placing.reshaped(spec)?;
            return Ok(1);
        };
        let mut placed = self.placed(&placing, spec.kind(), made.layer)?;
        placed.initialization = made.initialization;
        placed.folded = made.folded.map(|norm| {
            let name = format!("{prefix}{}.{}", index + 1, BATCH_NORM);
            Folded { name, norm }
        });
        self.push(placed);
        if let Some(activation) = made.after {
            let placing = Placing { shape: self.tip.shape, ..placing };
            if let Some(made) = placing.layer(&[activation])? {
                let placed = self.placed(&placing, activation.kind(), made.layer)?;
                self.push(placed);
            }
        }
        Ok(made.taken)
    }

    fn placing(&self, place: String, index: usize) -> Placing {
        // Numbers of layers in a block must be those of no other layer.
        let inner = (self.network.layers.len() as u64) << 32;
        let number = index as u64 + if place.contains('.') { inner } else { 0 };
        let (classes, purpose) = (self.network.classes, self.purpose);
        Placing { place, number, shape: self.tip.shape, classes, purpose }
    }

    /// The layer after the tip with room for its numbers.
    fn placed(
        &mut self,
        placing: &Placing,
        kind: &'static str,
        layer: Box<dyn Layer>,
    ) -> Result<Placed, ArchitectureError> {
        self.values += (layer.output().len() + layer.saved() + layer.training_scratch()) as u64;
        placing.bound(kind, "values", self.values)?;
        let shape = layer.kernel_shape().unwrap_or_default();
        let bias = shape.last().copied().unwrap_or(0);
        let kernel = match &*shape {
            [] => 0,
            shape => shape.iter().fold(1u64, |all, &extent| all.saturating_mul(extent as u64)),
        };
        let statistics = if layer.batch_norm().is_some() { bias } else { 0 };
        let more = (bias + 2 * statistics) as u64;
        let needed = (self.network.weights as u64).saturating_add(kernel).saturating_add(more);
        placing.bound(kind, "weights", needed)?;
        let [kernel, bias, mean, variance] =
            [kernel as usize, bias, statistics, statistics].map(|len| self.network.room(len));
        let first = self.network.prepared;
        let prepared = first..first + layer.prepared();
        self.network.prepared = prepared.end.next_multiple_of(LINE);
        let from = self.tip.buffer;
        let to = (0..BUFFERS).find(|&buffer| buffer != from && Some(buffer) != self.held);
        Ok(Placed {
            name: format!("{}.{kind}", placing.place),
            layer,
            kernel,
            bias,
            mean,
            variance,
            prepared,
            initialization: Initialization::HeNormal,
            folded: None,
            block: self.block,
            reads: self.tip.value,
            adds: None,
            gradient: Gradient::Own,
            frozen: false,
            from,
            to: to.unwrap_or(0),
        })
    }

    fn push(&mut self, placed: Placed) {
        let shape = placed.layer.output();
        let buffer = placed.to;
        self.network.layers.push(placed);
        self.network.buffers[buffer] = self.network.buffers[buffer].max(shape.len());
        self.tip = Tip { shape, value: self.network.layers.len(), buffer };
    }
}

const BATCH_NORM: &str = "batch_norm2d";

impl Network {
    /// Room for an array among the weights.
    fn room(&mut self, len: usize) -> Range<usize> {
        let range = self.weights..self.weights + len;
        self.weights = range.end.next_multiple_of(LINE);
        range
    }
}

/// The layers before the next residual block.
fn run(blocks: &[Block]) -> impl Iterator<Item = LayerSpec> {
    blocks.iter().map_while(|block| match block {
        Block::Layer(layer) => Some(*layer),
        Block::Residual(_) => None,
    })
}
