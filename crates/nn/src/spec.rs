//! What a network is, as the JSON that users write and model tables keep.

use serde_json::{Value, json};
use teller_numeric::options::nearest;
use teller_numeric::{OptionError, Options};

use crate::layer::Padding;
use crate::network::{Network, Purpose};

/// The architectures that come with the extension, by name.
const NAMED: [(&str, &str); 3] = [
    ("reference", include_str!("../../../models/reference.json")),
    ("lenet5", include_str!("../../../models/lenet5.json")),
    ("small", include_str!("../../../models/small.json")),
];

const LAYER_TYPES: [&str; 13] = [
    "conv2d",
    "max_pool2d",
    "avg_pool2d",
    "global_avg_pool2d",
    "dense",
    "relu",
    "leaky_relu",
    "gelu",
    "sigmoid",
    "tanh",
    "flatten",
    "dropout",
    "softmax",
];

const MAX_LAYERS: usize = 256;

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
    pub layers: Vec<LayerSpec>,
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
    /// `dropout`: `rate`.
    Dropout {
        /// Share of values dropped in training, 0 to 0.95.
        rate: f64,
    },
    /// `softmax`, the last layer.
    Softmax,
}

/// What the outputs of a convolution or dense layer go through: `activation`.
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
    #[error("layer {index} has the type {got}, expected one of {}", known.join(", "))]
    UnknownType {
        /// Place in the list of layers, from 0.
        index: usize,
        /// As given.
        got: String,
        /// The type that looks most like it, if one does.
        nearest: Option<String>,
        /// All types.
        known: Vec<String>,
    },
    /// A layer cannot work on what it gets.
    #[error("layer {index} ({kind}) gets {got}, expected {expected}")]
    Layer {
        /// Place in the list of layers, from 0.
        index: usize,
        /// Its type.
        kind: &'static str,
        /// The shape that it gets.
        got: String,
        /// What it would need.
        expected: String,
    },
    /// The layers as a whole are no classifier.
    #[error("the architecture {0}")]
    Whole(&'static str),
    /// Too many numbers for any machine that this runs on.
    #[error("layer {index} ({kind}) needs {needed} {what}, at most {limit} are possible")]
    TooLarge {
        /// Place in the list of layers, from 0.
        index: usize,
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
    /// Reads an architecture and checks all that can be checked without the number of classes.
    pub fn from_json(value: &Value) -> Result<Self, ArchitectureError> {
        let mut options = Options::new("the architecture", value)?;
        let name = options.text("name")?.unwrap_or_default().to_owned();
        let input = match options.value("input") {
            Some(input) => Input::from_json(input)?,
            None => return Err(missing("the architecture", "input", "an object").into()),
        };
        let layers = match options.value("layers") {
            Some(Value::Array(layers)) if (1..=MAX_LAYERS).contains(&layers.len()) => layers,
            Some(other) => {
                let expected = format!("an array of 1 to {MAX_LAYERS} layers");
                return Err(options.invalid("layers", &summary(other), expected).into());
            }
            None => return Err(missing("the architecture", "layers", "an array").into()),
        };
        let layers = layers
            .iter()
            .enumerate()
            .map(|(index, layer)| LayerSpec::from_json(index, layer))
            .collect::<Result<_, _>>()?;
        options.finish()?;
        Ok(Self { name, input, layers })
    }

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

    /// The canonical JSON, every default written out.
    pub fn to_json(&self) -> Value {
        let Input { height, width, channels } = self.input;
        json!({
            "name": self.name,
            "input": {"height": height, "width": width, "channels": channels},
            "layers": self.layers.iter().map(|layer| layer.to_json()).collect::<Vec<_>>(),
        })
    }
}

impl Input {
    fn from_json(value: &Value) -> Result<Self, ArchitectureError> {
        let subject = "the architecture's input";
        let mut options = Options::new(subject, value)?;
        let height = required(&mut options, subject, "height", 4096)?;
        let width = required(&mut options, subject, "width", 4096)?;
        let channels = match options.integer("channels", 1, 1..=3)? {
            2 => {
                let expected = "1 (grey) or 3 (colour)".to_owned();
                return Err(options.invalid("channels", &json!(2), expected).into());
            }
            channels => channels as usize,
        };
        options.finish()?;
        Ok(Self { height, width, channels })
    }
}

impl LayerSpec {
    fn from_json(index: usize, value: &Value) -> Result<Self, ArchitectureError> {
        let kind = value.get("type").unwrap_or(&Value::Null);
        let name = kind.as_str().unwrap_or_default();
        let unknown = || ArchitectureError::UnknownType {
            index,
            got: summary(kind).to_string(),
            nearest: nearest(name, LAYER_TYPES.into_iter()),
            known: LAYER_TYPES.map(str::to_owned).to_vec(),
        };
        let name = LAYER_TYPES.into_iter().find(|known| *known == name).ok_or_else(unknown)?;
        let subject = format!("layer {index} ({name})");
        let mut options = Options::new(&subject, value)?;
        options.value("type");
        let layer = match name {
            "conv2d" => {
                let filters = required(&mut options, &subject, "filters", 4096)?;
                let groups = options.integer("groups", 1, 1..=4096)? as usize;
                if filters % groups != 0 {
                    let expected = format!("a divisor of the {filters} filters");
                    return Err(options.invalid("groups", &json!(groups), expected).into());
                }
                Self::Conv2d {
                    filters,
                    kernel: required(&mut options, &subject, "kernel", 63)?,
                    stride: options.integer("stride", 1, 1..=63)? as usize,
                    dilation: options.integer("dilation", 1, 1..=63)? as usize,
                    groups,
                    padding: options
                        .choice("padding", &[("valid", Padding::Valid), ("same", Padding::Same)])?,
                    activation: options.choice("activation", &ACTIVATIONS)?,
                }
            }
            "max_pool2d" => {
                let size = options.integer("size", 2, 1..=63)?;
                let stride = options.integer("stride", size, 1..=63)?;
                Self::MaxPool2d { size: size as usize, stride: stride as usize }
            }
            "avg_pool2d" => {
                let size = options.integer("size", 2, 1..=63)?;
                let stride = options.integer("stride", size, 1..=63)?;
                Self::AvgPool2d { size: size as usize, stride: stride as usize }
            }
            "global_avg_pool2d" => Self::GlobalAvgPool2d,
            "dense" => Self::Dense {
                units: match options.value("units") {
                    Some(Value::String(classes)) if classes == "classes" => None,
                    Some(units @ Value::String(_)) => {
                        let expected = "a whole number or \"classes\"".to_owned();
                        return Err(options.invalid("units", units, expected).into());
                    }
                    _ => Some(required(&mut options, &subject, "units", 65_536)?),
                },
                activation: options.choice("activation", &ACTIVATIONS)?,
            },
            "relu" => Self::Relu,
            "leaky_relu" => {
                Self::LeakyRelu { slope: options.number("slope", LEAKY_SLOPE, 0.0..=1.0)? }
            }
            "gelu" => Self::Gelu,
            "sigmoid" => Self::Sigmoid,
            "tanh" => Self::Tanh,
            "flatten" => Self::Flatten,
            "dropout" => Self::Dropout { rate: options.number("rate", 0.5, 0.0..=0.95)? },
            _ => Self::Softmax,
        };
        options.finish()?;
        Ok(layer)
    }

    /// The layer that its activation is, unless the layer computes that itself.
    pub(crate) fn activation_after(self) -> Option<Self> {
        let (Self::Conv2d { activation, .. } | Self::Dense { activation, .. }) = self else {
            return None;
        };
        match activation {
            Activation::Relu if self.is_grouped() => Some(Self::Relu),
            Activation::None | Activation::Relu => None,
            Activation::LeakyRelu => Some(Self::LeakyRelu { slope: LEAKY_SLOPE }),
            Activation::Gelu => Some(Self::Gelu),
            Activation::Sigmoid => Some(Self::Sigmoid),
            Activation::Tanh => Some(Self::Tanh),
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
            Self::MaxPool2d { .. } => "max_pool2d",
            Self::AvgPool2d { .. } => "avg_pool2d",
            Self::GlobalAvgPool2d => "global_avg_pool2d",
            Self::Dense { .. } => "dense",
            Self::Relu => "relu",
            Self::LeakyRelu { .. } => "leaky_relu",
            Self::Gelu => "gelu",
            Self::Sigmoid => "sigmoid",
            Self::Tanh => "tanh",
            Self::Flatten => "flatten",
            Self::Dropout { .. } => "dropout",
            Self::Softmax => "softmax",
        }
    }

    fn to_json(self) -> Value {
        let activation = |activation| {
            let known = ACTIVATIONS.into_iter().find(|(_, known)| *known == activation);
            known.map(|(name, _)| name)
        };
        match self {
            Self::Conv2d {
                filters,
                kernel,
                stride,
                dilation,
                groups,
                padding,
                activation: last,
            } => json!({
                "type": self.kind(),
                "filters": filters,
                "kernel": kernel,
                "stride": stride,
                "dilation": dilation,
                "groups": groups,
                "padding": match padding { Padding::Valid => "valid", Padding::Same => "same" },
                "activation": activation(last),
            }),
            Self::MaxPool2d { size, stride } | Self::AvgPool2d { size, stride } => {
                json!({"type": self.kind(), "size": size, "stride": stride})
            }
            Self::Dense { units, activation: last } => json!({
                "type": self.kind(),
                "units": units.map_or(json!("classes"), |units| json!(units)),
                "activation": activation(last),
            }),
            Self::Dropout { rate } => json!({"type": self.kind(), "rate": rate}),
            Self::LeakyRelu { slope } => json!({"type": self.kind(), "slope": slope}),
            Self::GlobalAvgPool2d
            | Self::Relu
            | Self::Gelu
            | Self::Sigmoid
            | Self::Tanh
            | Self::Flatten
            | Self::Softmax => json!({"type": self.kind()}),
        }
    }
}

const ACTIVATIONS: [(&str, Activation); 6] = [
    ("none", Activation::None),
    ("relu", Activation::Relu),
    ("leaky_relu", Activation::LeakyRelu),
    ("gelu", Activation::Gelu),
    ("sigmoid", Activation::Sigmoid),
    ("tanh", Activation::Tanh),
];

/// Of leaky rectifiers that say nothing else.
const LEAKY_SLOPE: f64 = 0.01;

fn required(
    options: &mut Options<'_>,
    subject: &str,
    name: &'static str,
    most: i64,
) -> Result<usize, OptionError> {
    if options.value(name).is_none() {
        return Err(missing(subject, name, &format!("a whole number between 1 and {most}")));
    }
    options.integer(name, 1, 1..=most).map(|value| value as usize)
}

fn missing(subject: &str, name: &str, expected: &str) -> OptionError {
    OptionError::Invalid {
        subject: subject.to_owned(),
        name: name.to_owned(),
        got: "missing".to_owned(),
        expected: expected.to_owned(),
        nearest: None,
    }
}

/// Something short to show of a value that may be huge.
fn summary(value: &Value) -> Value {
    match value {
        Value::Array(items) => json!(format!("an array of {}", items.len())),
        Value::Object(_) => json!("an object"),
        Value::String(text) if text.len() > 80 => json!(text.chars().take(80).collect::<String>()),
        other => other.clone(),
    }
}

#[cfg(test)]
#[path = "spec_tests.rs"]
mod tests;
