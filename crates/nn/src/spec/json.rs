//! Architectures as JSON: what is missing, unknown or out of range is told by layer and key.

use serde_json::{Value, json};
use teller_numeric::options::nearest;
use teller_numeric::{OptionError, Options};

use super::{
    Activation, Architecture, ArchitectureError, Block, Input, LEAKY_SLOPE, LayerSpec, Residual,
};
use crate::layer::Padding;

const RESIDUAL: &str = "residual";

/// The types of layers; a residual block takes those before its own.
const LAYER_TYPES: [&str; 17] = [
    "conv2d",
    "conv_transpose2d",
    "max_pool2d",
    "avg_pool2d",
    "global_avg_pool2d",
    "dense",
    "batch_norm2d",
    "relu",
    "leaky_relu",
    "gelu",
    "sigmoid",
    "tanh",
    "flatten",
    "reshape",
    "dropout",
    RESIDUAL,
    "softmax",
];
const INNER_TYPES: &[&str] = LAYER_TYPES.split_at(15).0;

const MAX_LAYERS: usize = 256;

impl Architecture {
    /// Reads an architecture and checks all that can be checked without the number of classes.
    pub fn from_json(value: &Value) -> Result<Self, ArchitectureError> {
        let mut options = Options::new("the architecture", value)?;
        let name = options.text("name")?.unwrap_or_default().to_owned();
        let input = match options.value("input") {
            Some(input) => Input::from_json(input)?,
            None => return Err(missing("the architecture", "input", "an object").into()),
        };
        let layers = array(&mut options, "the architecture", "layers", 1)?;
        let layers = (0..).zip(layers).map(|(index, layer)| Block::from_json(index, layer));
        let layers = layers.collect::<Result<Vec<_>, _>>()?;
        if layers.iter().map(Block::len).sum::<usize>() > MAX_LAYERS {
            return Err(ArchitectureError::Whole(
                "has more than 256 layers in its residual blocks",
            ));
        }
        options.finish()?;
        Ok(Self { name, input, layers })
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
    /// Reads `height` and `width`, 1 to 4096, and `channels`, 1 (the default) or 3.
    pub fn from_json(value: &Value) -> Result<Self, ArchitectureError> {
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

impl Block {
    fn from_json(index: usize, value: &Value) -> Result<Self, ArchitectureError> {
        match value.get("type").and_then(Value::as_str) {
            Some(RESIDUAL) => Residual::from_json(index, value).map(Self::Residual),
            _ => LayerSpec::from_json(&index.to_string(), &LAYER_TYPES, value).map(Self::Layer),
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Layer(layer) => layer.to_json(),
            Self::Residual(residual) => residual.to_json(),
        }
    }

    /// Layers in it.
    fn len(&self) -> usize {
        match self {
            Self::Layer(_) => 1,
            Self::Residual(residual) => residual.layers.len() + residual.shortcut.len() + 1,
        }
    }
}

impl Residual {
    fn from_json(index: usize, value: &Value) -> Result<Self, ArchitectureError> {
        let subject = format!("layer {index} ({RESIDUAL})");
        let mut options = Options::new(&subject, value)?;
        options.value("type");
        let read = |layers: &[Value], way: &str| {
            let place = |at: usize| format!("{index}.{RESIDUAL}{way}.{at}");
            let layers = (0..).zip(layers);
            layers
                .map(|(at, layer)| LayerSpec::from_json(&place(at), INNER_TYPES, layer))
                .collect::<Result<Vec<_>, _>>()
        };
        let layers = read(array(&mut options, &subject, "layers", 1)?, "")?;
        let shortcut = match options.value("shortcut") {
            None => Vec::new(),
            Some(_) => read(array(&mut options, &subject, "shortcut", 0)?, ".shortcut")?,
        };
        let activation = options.choice("activation", &ACTIVATIONS)?;
        options.finish()?;
        Ok(Self { layers, shortcut, activation })
    }

    fn to_json(&self) -> Value {
        let layers = |layers: &[LayerSpec]| layers.iter().map(|layer| layer.to_json()).collect();
        let [layers, shortcut]: [Vec<Value>; 2] = [layers(&self.layers), layers(&self.shortcut)];
        json!({
            "type": RESIDUAL,
            "layers": layers,
            "shortcut": shortcut,
            "activation": name_of(&ACTIVATIONS, self.activation),
        })
    }
}

impl LayerSpec {
    /// One of the `known` types, to be told of as at `place`.
    fn from_json(
        place: &str,
        known: &[&'static str],
        value: &Value,
    ) -> Result<Self, ArchitectureError> {
        let kind = value.get("type").unwrap_or(&Value::Null);
        let name = kind.as_str().unwrap_or_default();
        let unknown = || ArchitectureError::UnknownType {
            place: place.to_owned(),
            got: summary(kind).to_string(),
            nearest: nearest(name, known.iter().copied()),
            known: known.iter().map(|&name| name.to_owned()).collect(),
        };
        let name = known.iter().copied().find(|known| *known == name).ok_or_else(unknown)?;
        let subject = format!("layer {place} ({name})");
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
                    padding: options.choice("padding", &PADDINGS)?,
                    activation: options.choice("activation", &ACTIVATIONS)?,
                }
            }
            "conv_transpose2d" => Self::ConvTranspose2d {
                filters: required(&mut options, &subject, "filters", 4096)?,
                kernel: required(&mut options, &subject, "kernel", 63)?,
                stride: options.integer("stride", 1, 1..=63)? as usize,
                padding: options.choice("padding", &PADDINGS)?,
                activation: options.choice("activation", &ACTIVATIONS)?,
            },
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
            "batch_norm2d" => Self::BatchNorm2d {
                momentum: options.number("momentum", 0.1, 0.0..=1.0)?,
                epsilon: options.number("epsilon", 1e-5, 1e-10..=1.0)?,
            },
            "relu" => Self::Relu,
            "leaky_relu" => {
                Self::LeakyRelu { slope: options.number("slope", LEAKY_SLOPE, 0.0..=1.0)? }
            }
            "gelu" => Self::Gelu,
            "sigmoid" => Self::Sigmoid,
            "tanh" => Self::Tanh,
            "flatten" => Self::Flatten,
            "reshape" => Self::Reshape {
                height: required(&mut options, &subject, "height", 4096)?,
                width: required(&mut options, &subject, "width", 4096)?,
                channels: required(&mut options, &subject, "channels", 4096)?,
            },
            "dropout" => Self::Dropout { rate: options.number("rate", 0.5, 0.0..=0.95)? },
            _ => Self::Softmax,
        };
        options.finish()?;
        Ok(layer)
    }

    fn to_json(self) -> Value {
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
                "padding": name_of(&PADDINGS, padding),
                "activation": name_of(&ACTIVATIONS, last),
            }),
            Self::ConvTranspose2d { filters, kernel, stride, padding, activation: last } => json!({
                "type": self.kind(),
                "filters": filters,
                "kernel": kernel,
                "stride": stride,
                "padding": name_of(&PADDINGS, padding),
                "activation": name_of(&ACTIVATIONS, last),
            }),
            Self::MaxPool2d { size, stride } | Self::AvgPool2d { size, stride } => {
                json!({"type": self.kind(), "size": size, "stride": stride})
            }
            Self::Dense { units, activation: last } => json!({
                "type": self.kind(),
                "units": units.map_or(json!("classes"), |units| json!(units)),
                "activation": name_of(&ACTIVATIONS, last),
            }),
            Self::BatchNorm2d { momentum, epsilon } => {
                json!({"type": self.kind(), "momentum": momentum, "epsilon": epsilon})
            }
            Self::Reshape { height, width, channels } => {
                json!({"type": self.kind(), "height": height, "width": width, "channels": channels})
            }
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

const PADDINGS: [(&str, Padding); 2] = [("valid", Padding::Valid), ("same", Padding::Same)];

fn name_of<T: PartialEq>(names: &[(&'static str, T)], value: T) -> Option<&'static str> {
    names.iter().find(|(_, known)| *known == value).map(|(name, _)| *name)
}

/// A list of layers, of at least so many.
fn array<'v>(
    options: &mut Options<'v>,
    subject: &str,
    name: &'static str,
    least: usize,
) -> Result<&'v [Value], OptionError> {
    let expected = format!("an array of {least} to {MAX_LAYERS} layers");
    match options.value(name) {
        Some(Value::Array(layers)) if (least..=MAX_LAYERS).contains(&layers.len()) => Ok(layers),
        Some(other) => Err(options.invalid(name, &summary(other), expected)),
        None => Err(missing(subject, name, &expected)),
    }
}

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
