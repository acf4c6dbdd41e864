//! What a network is, as the JSON that users write and model tables keep.

mod json;

use serde_json::Value;
use teller_numeric::OptionError;
use teller_numeric::options::nearest;

use crate::layer::Padding;
use crate::network::{Network, Purpose};

/// The architectures that come with the extension, by name.
const NAMED: [(&str, &str); 6] = [
    ("reference", include_str!("../../../../models/reference.json")),
    ("lenet5", include_str!("../../../../models/lenet5.json")),
    ("small", include_str!("../../../../models/small.json")),
    ("resnet8", include_str!("../../../../models/resnet8.json")),
    ("resnet20", include_str!("../../../../models/resnet20.json")),
    ("forms", include_str!("../../../../models/forms.json")),
];

/// A network's layers, and the images that it reads.
///
/// ```
/// let architecture = teller_nn::Architecture::from_json(&serde_json::json!({
///     "name": "linear",
///     "input": {"height": 8, "width": 8, "channels": 1},
///     "layers": [{"type": "flatten"}, {"type": "dense", "units": "classes"}, {"type": "softmax"}]
/// }))
/// .unwrap();
/// architecture.check(10).unwrap();
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Architecture {
    /// For people; may be empty.
    pub name: String,
    /// What every image is brought to.
    pub input: Input,
    /// In the order in which an image goes through them.
    pub layers: Vec<Block>,
}

/// One entry of an architecture's layers.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    /// A layer after what comes before.
    Layer(LayerSpec),
    /// Two ways through layers, and their sum.
    Residual(Residual),
}

/// `residual` (He et al. 2016): the sum of what `layers` make of the values and the values
/// themselves, or what the `shortcut` makes of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Residual {
    /// `layers`, at least one, none of them residual.
    pub layers: Vec<LayerSpec>,
    /// `shortcut`: empty to take the values as they are.
    pub shortcut: Vec<LayerSpec>,
    /// `activation`: what the sum goes through.
    pub activation: Activation,
}

/// The size of the images that a network reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Input {
    /// Rows of pixels, 1 to 4096.
    pub height: usize,
    /// Columns of pixels, 1 to 4096.
    pub width: usize,
    /// 1 for grey, 3 for colour.
    pub channels: usize,
}

/// One layer, as written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LayerSpec {
    /// `conv2d`: `filters`, square `kernel`, `stride` (1), `dilation` (1), `groups` (1), `padding`
    /// (`valid` or `same`).
    Conv2d {
        /// Channels of the output, 1 to 4096.
        filters: usize,
        /// Rows and columns of the kernel, 1 to 63.
        kernel: usize,
        /// Pixels from one place of the kernel to the next, 1 to 63.
        stride: usize,
        /// Pixels from one number of the kernel to the next, 1 to 63.
        dilation: usize,
        /// Parts that the channels and the filters are divided into, each by itself, 1 to 4096.
        groups: usize,
        /// What surrounds the image.
        padding: Padding,
        /// What its outputs go through.
        activation: Activation,
    },
    /// `conv_transpose2d`: `filters`, square `kernel`, `stride` (1), `padding` (`valid` or `same`).
    ConvTranspose2d {
        /// Channels of the output, 1 to 4096.
        filters: usize,
        /// Rows and columns of the kernel, 1 to 63.
        kernel: usize,
        /// Pixels of the output from what one pixel reaches to what the next does, 1 to 63.
        stride: usize,
        /// `Same` for an output that is `stride` times as large, `Valid` for all that is reached.
        padding: Padding,
        /// What its outputs go through.
        activation: Activation,
    },
    /// `max_pool2d`: `size` (2), `stride` (the size).
    MaxPool2d {
        /// Rows and columns of the square, 1 to 63.
        size: usize,
        /// Pixels from one square to the next, 1 to 63.
        stride: usize,
    },
    /// `avg_pool2d`: `size` (2), `stride` (the size).
    AvgPool2d {
        /// Rows and columns of the square, 1 to 63.
        size: usize,
        /// Pixels from one square to the next, 1 to 63.
        stride: usize,
    },
    /// `global_avg_pool2d`: the mean of each channel, as a vector.
    GlobalAvgPool2d,
    /// `dense`: `units`, a number or `"classes"`.
    Dense {
        /// Values of the output, 1 to 65,536; `None` for one a class.
        units: Option<usize>,
        /// What its outputs go through.
        activation: Activation,
    },
    /// `batch_norm2d` (Ioffe and Szegedy 2015): each channel to the mean 0 and variance 1, then to
    /// a scale and a shift that are learned.
    BatchNorm2d {
        /// Share of each batch in the running mean and variance: `momentum` (0.1), 0 to 1.
        momentum: f64,
        /// What is added to the variance before its root divides: `epsilon` (1e-5), 1e-10 to 1.
        epsilon: f64,
    },
    /// `relu`.
    Relu,
    /// `leaky_relu`: `slope` (0.01).
    LeakyRelu {
        /// What negative values are multiplied by, 0 to 1.
        slope: f64,
    },
    /// `gelu`.
    Gelu,
    /// `sigmoid`.
    Sigmoid,
    /// `tanh`.
    Tanh,
    /// `flatten`.
    Flatten,
    /// `reshape`: `height`, `width`, `channels`, of as many values as there are.
    Reshape {
        /// Rows of the image, 1 to 4096.
        height: usize,
        /// Columns of the image, 1 to 4096.
        width: usize,
        /// Values of a pixel, 1 to 4096.
        channels: usize,
    },
    /// `dropout`: `rate`.
    Dropout {
        /// Share of values dropped in training, 0 to 0.95.
        rate: f64,
    },
    /// `softmax`, the last layer.
    Softmax,
}

/// What the outputs of a convolution, dense layer or residual block go through: `activation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `none`.
    None,
    /// `relu`: negative outputs become 0.
    Relu,
    /// `leaky_relu`: negative outputs become a hundredth of themselves.
    LeakyRelu,
    /// `gelu`.
    Gelu,
    /// `sigmoid`.
    Sigmoid,
    /// `tanh`.
    Tanh,
}

/// Why an architecture is no network.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ArchitectureError {
    /// A key or value was refused; the message says of which layer.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// No architecture comes with the extension under this name.
    #[error("unknown architecture \"{name}\", expected one of {}", known.join(", "))]
    UnknownName {
        /// As given.
        name: String,
        /// The name that looks most like it, if one does.
        nearest: Option<String>,
        /// All names.
        known: Vec<String>,
    },
    /// No layer has this type.
    #[error("layer {place} has the type {got}, expected one of {}", known.join(", "))]
    UnknownType {
        /// Where it is, such as `2` or `2.residual.0`.
        place: String,
        /// As given.
        got: String,
        /// The type that looks most like it, if one does.
        nearest: Option<String>,
        /// All types.
        known: Vec<String>,
    },
    /// A layer cannot work on what it gets.
    #[error("layer {place} ({kind}) gets {got}, expected {expected}")]
    Layer {
        /// Where it is, such as `2` or `2.residual.0`.
        place: String,
        /// Its type.
        kind: &'static str,
        /// The shape that it gets.
        got: String,
        /// What it would need.
        expected: String,
    },
    /// The two ways through a residual block end in different shapes.
    #[error(
        "layer {place} (residual) gets {layers} from its layers and {shortcut} from its \
             shortcut, expected the same of both"
    )]
    Sum {
        /// Where it is.
        place: String,
        /// What its layers give.
        layers: String,
        /// What its shortcut gives.
        shortcut: String,
    },
    /// A residual block without anything to add.
    #[error("layer {place} (residual) has no layer that learns among its layers")]
    EmptyResidual {
        /// Where it is.
        place: String,
    },
    /// The layers as a whole are no classifier.
    #[error("the architecture {0}")]
    Whole(&'static str),
    /// Too many numbers for any machine that this runs on.
    #[error("layer {place} ({kind}) needs {needed} {what}, at most {limit} are possible")]
    TooLarge {
        /// Where it is, such as `2` or `2.residual.0`.
        place: String,
        /// Its type.
        kind: &'static str,
        /// What there is too much of.
        what: &'static str,
        /// How many it needs.
        needed: u64,
        /// How many are possible.
        limit: u64,
    },
}

impl Architecture {
    /// An architecture as an option: the name of one that comes with the extension, or an object.
    pub fn read(value: &Value) -> Result<Self, ArchitectureError> {
        match value {
            Value::String(name) => Self::named(name),
            object => Self::from_json(object),
        }
    }

    /// The architecture that comes with the extension under `name`.
    pub fn named(name: &str) -> Result<Self, ArchitectureError> {
        let Some((_, text)) = NAMED.iter().find(|(known, _)| *known == name) else {
            return Err(ArchitectureError::UnknownName {
                name: name.to_owned(),
                nearest: nearest(name, Self::names()),
                known: Self::names().map(str::to_owned).collect(),
            });
        };
        let value: Value = serde_json::from_str(text)
            .map_err(|_| ArchitectureError::Whole("that comes with the extension is no JSON"))?;
        Self::from_json(&value)
    }

    /// The names of the architectures that come with the extension.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMED.iter().map(|(name, _)| *name)
    }

    /// Checks every layer against what it gets, for a network of `classes` classes.
    pub fn check(&self, classes: usize) -> Result<(), ArchitectureError> {
        Network::new(self, classes, Purpose::Training).map(|_| ())
    }
}

impl LayerSpec {
    /// What its outputs go through.
    pub(crate) fn activation(self) -> Activation {
        match self {
            Self::Conv2d { activation, .. }
            | Self::ConvTranspose2d { activation, .. }
            | Self::Dense { activation, .. } => activation,
            _ => Activation::None,
        }
    }

    /// Whether it is a convolution that is no plain one.
    pub(crate) fn is_grouped(self) -> bool {
        matches!(self, Self::Conv2d { groups, dilation, .. } if groups > 1 || dilation > 1)
    }

    /// Its type, as written.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Conv2d { .. } => "conv2d",
            Self::ConvTranspose2d { .. } => "conv_transpose2d",
            Self::MaxPool2d { .. } => "max_pool2d",
            Self::AvgPool2d { .. } => "avg_pool2d",
            Self::GlobalAvgPool2d => "global_avg_pool2d",
            Self::Dense { .. } => "dense",
            Self::BatchNorm2d { .. } => "batch_norm2d",
            Self::Relu => "relu",
            Self::LeakyRelu { .. } => "leaky_relu",
            Self::Gelu => "gelu",
            Self::Sigmoid => "sigmoid",
            Self::Tanh => "tanh",
            Self::Flatten => "flatten",
            Self::Reshape { .. } => "reshape",
            Self::Dropout { .. } => "dropout",
            Self::Softmax => "softmax",
        }
    }
}

impl Activation {
    /// The layer that it is by itself.
    pub(crate) fn layer(self) -> Option<LayerSpec> {
        match self {
            Self::None => None,
            Self::Relu => Some(LayerSpec::Relu),
            Self::LeakyRelu => Some(LayerSpec::LeakyRelu { slope: LEAKY_SLOPE }),
            Self::Gelu => Some(LayerSpec::Gelu),
            Self::Sigmoid => Some(LayerSpec::Sigmoid),
            Self::Tanh => Some(LayerSpec::Tanh),
        }
    }
}

/// Of leaky rectifiers that say nothing else.
const LEAKY_SLOPE: f64 = 0.01;

#[cfg(test)]
mod tests;
