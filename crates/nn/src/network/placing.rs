//! One layer about to be made: what it gets, what fits that, and what is computed along with it.

use super::{Arithmetic, LIMIT, Purpose};
use crate::layer::{
    AvgPool2d, BatchNorm2d, Conv2d, ConvTranspose2d, Curve, Dense, Dropout, Elementwise,
    GroupedConv2d, Initialization, Layer, MaxPool2d, Reach,
};
use crate::{Activation, ArchitectureError, LayerSpec, Shape};

/// Where a layer is to be.
#[derive(Clone, Debug)]
pub(crate) struct Placing {
    /// Such as `2` or `2.residual.0`.
    pub(crate) place: String,
    /// A number of its own, from which its random numbers are drawn.
    pub(crate) number: u64,
    pub(crate) shape: Shape,
    pub(crate) classes: usize,
    pub(crate) purpose: Purpose,
}

/// A layer made, with what it computes of the specs after its own.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) layer: Box<dyn Layer>,
    /// A batch norm after it whose numbers are to be folded into its own.
    pub(crate) folded: Option<BatchNorm2d>,
    pub(crate) initialization: Initialization,
    /// Its activation, where that is a layer of its own.
    pub(crate) after: Option<LayerSpec>,
    /// Specs that went into it.
    pub(crate) taken: usize,
}

impl Made {
    fn one(layer: impl Layer + 'static) -> Self {
        Self {
            layer: Box::new(layer),
            folded: None,
            initialization: Initialization::HeNormal,
            after: None,
            taken: 1,
        }
    }
}

/// The specs after a layer's own that it computes itself.
#[derive(Clone, Copy, Debug)]
struct Fused {
    norm: Option<(f64, f64)>,
    relu: bool,
    /// A rectifier or batch norm before the next one, so that its own activation is done.
    taken: usize,
}

impl Placing {
    /// The layer of the first of `specs`, `None` if that computes nothing.
    pub(crate) fn layer(&self, specs: &[LayerSpec]) -> Result<Option<Made>, ArchitectureError> {
        let Some(&spec) = specs.first() else { return Ok(None) };
        let made = match spec {
            LayerSpec::Conv2d { .. } if spec.is_grouped() => self.grouped_conv2d(spec, specs)?,
            LayerSpec::Conv2d { .. } => self.conv2d(spec, specs)?,
            LayerSpec::ConvTranspose2d { filters, kernel, stride, padding, activation } => {
                let conv =
                    ConvTranspose2d::new(self.image(spec)?, filters, kernel, stride, padding);
                let conv = conv.ok_or_else(|| self.misfit(spec, "a smaller image".to_owned()))?;
                self.plain(conv, activation, specs)
            }
            LayerSpec::Dense { units, activation } => {
                let inputs = self.vector(spec)?;
                let fused = self.fused(activation, specs);
                let units = units.unwrap_or(self.classes);
                let initialization = match fused.relu {
                    true => Initialization::HeNormal,
                    false => Initialization::GlorotUniform,
                };
                Made {
                    folded: fused.batch_norm(Shape::Vector(units)),
                    initialization,
                    after: activation.layer().filter(|_| activation != Activation::Relu),
                    taken: fused.taken,
                    ..Made::one(Dense { inputs, units, relu: fused.relu })
                }
            }
            LayerSpec::BatchNorm2d { momentum, epsilon } => {
                let relu = specs.get(1) == Some(&LayerSpec::Relu);
                let norm = BatchNorm2d { shape: self.shape, momentum, epsilon, relu };
                Made { taken: 1 + usize::from(relu), ..Made::one(norm) }
            }
            LayerSpec::MaxPool2d { size, stride } => {
                let pool = MaxPool2d::new(self.image(spec)?, size, stride);
                Made::one(pool.ok_or_else(|| self.too_small(spec, size))?)
            }
            LayerSpec::AvgPool2d { size, stride } => {
                let pool = AvgPool2d::new(self.image(spec)?, size, stride);
                Made::one(pool.ok_or_else(|| self.too_small(spec, size))?)
            }
            LayerSpec::GlobalAvgPool2d => Made::one(AvgPool2d::global(self.image(spec)?)),
            LayerSpec::Relu => self.elementwise(Curve::Relu),
            LayerSpec::LeakyRelu { slope } => self.elementwise(Curve::LeakyRelu(slope as f32)),
            LayerSpec::Gelu => self.elementwise(Curve::Gelu),
            LayerSpec::Sigmoid => self.elementwise(Curve::Sigmoid),
            LayerSpec::Tanh => self.elementwise(Curve::Tanh),
            LayerSpec::Dropout { rate } if self.purpose == Purpose::Training => {
                Made::one(Dropout { shape: self.shape, rate: rate as f32, index: self.number })
            }
            LayerSpec::Softmax => {
                if self.vector(spec)? != self.classes {
                    let expected = format!("a vector of {}, one for each class", self.classes);
                    return Err(self.misfit(spec, expected));
                }
                return Ok(None);
            }
            LayerSpec::Flatten | LayerSpec::Reshape { .. } | LayerSpec::Dropout { .. } => {
                return Ok(None);
            }
        };
        Ok(Some(made))
    }

    /// A plain convolution, with the pooling by 2 x 2 after it.
    fn conv2d(&self, spec: LayerSpec, specs: &[LayerSpec]) -> Result<Made, ArchitectureError> {
        let LayerSpec::Conv2d { filters, kernel, stride, padding, activation, .. } = spec else {
            return Err(self.misfit(spec, "a convolution".to_owned()));
        };
        let image = self.image(spec)?;
        let mut fused = self.fused(activation, specs);
        let conv = Conv2d::new(image, filters, kernel, stride, padding, fused.relu);
        let conv = conv.ok_or_else(|| self.too_small(spec, kernel))?;
        let conv = match self.purpose {
            Purpose::Serving(Arithmetic::Direct) => conv.direct(),
            Purpose::Serving(Arithmetic::Winograd) | Purpose::Training => conv,
        };
        let after = activation.layer().filter(|_| activation != Activation::Relu);
        let folded = fused.batch_norm(conv.output());
        let room = matches!(conv.output(), Shape::Image { height: 2.., width: 2.., .. });
        let next = specs.get(fused.taken);
        let pools = after.is_none() && next == Some(&LayerSpec::MaxPool2d { size: 2, stride: 2 });
        let made = if pools && room {
            fused.taken += 1;
            Made::one(conv.pooled())
        } else {
            Made::one(conv)
        };
        let initialization = started_by(activation, specs);
        Ok(Made { folded, initialization, after, taken: fused.taken, ..made })
    }

    /// A convolution in groups or with a dilated kernel, which leaves its activation to a layer.
    fn grouped_conv2d(
        &self,
        spec: LayerSpec,
        specs: &[LayerSpec],
    ) -> Result<Made, ArchitectureError> {
        let LayerSpec::Conv2d { filters, kernel, stride, dilation, groups, padding, activation } =
            spec
        else {
            return Err(self.misfit(spec, "a convolution".to_owned()));
        };
        let image = self.image(spec)?;
        if image.2 % groups != 0 {
            let expected = format!("channels that {groups} groups can share alike");
            return Err(self.misfit(spec, expected));
        }
        let reach = Reach { kernel, stride, dilation, padding };
        let conv = GroupedConv2d::new(image, filters, groups, reach);
        let conv = conv.ok_or_else(|| self.too_small(spec, (kernel - 1) * dilation + 1))?;
        Ok(self.plain(conv, activation, specs))
    }

    /// A convolution that leaves its activation to a layer.
    fn plain(
        &self,
        conv: impl Layer + 'static,
        activation: Activation,
        specs: &[LayerSpec],
    ) -> Made {
        let norm = self.norm(activation, specs);
        let fused = Fused { norm, relu: false, taken: 1 + usize::from(norm.is_some()) };
        Made {
            folded: fused.batch_norm(conv.output()),
            initialization: started_by(activation, specs),
            after: activation.layer(),
            taken: fused.taken,
            ..Made::one(conv)
        }
    }

    /// What a layer that computes nothing gives.
    pub(crate) fn reshaped(&self, spec: LayerSpec) -> Result<Shape, ArchitectureError> {
        match spec {
            LayerSpec::Flatten => Ok(Shape::Vector(self.shape.len())),
            LayerSpec::Reshape { height, width, channels } => {
                let shape = Shape::Image { height, width, channels };
                match shape.len() == self.shape.len() {
                    true => Ok(shape),
                    false => Err(self.misfit(spec, format!("{} values", shape.len()))),
                }
            }
            _ => Ok(self.shape),
        }
    }

    /// What goes into a layer of this activation that can rectify.
    fn fused(&self, activation: Activation, specs: &[LayerSpec]) -> Fused {
        let norm = self.norm(activation, specs);
        let mut taken = 1 + usize::from(norm.is_some());
        // A rectifier of its own right after is the same as one in the layer.
        let after = activation == Activation::None && specs.get(taken) == Some(&LayerSpec::Relu);
        taken += usize::from(after);
        Fused { norm, relu: after || activation == Activation::Relu, taken }
    }

    /// The batch norm right after, which serving makes a part of the layer.
    fn norm(&self, activation: Activation, specs: &[LayerSpec]) -> Option<(f64, f64)> {
        match specs.get(1) {
            Some(&LayerSpec::BatchNorm2d { momentum, epsilon })
                if self.purpose != Purpose::Training && activation == Activation::None =>
            {
                Some((momentum, epsilon))
            }
            _ => None,
        }
    }

    fn elementwise(&self, curve: Curve) -> Made {
        Made::one(Elementwise { shape: self.shape, curve })
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

    fn too_small(&self, spec: LayerSpec, side: usize) -> ArchitectureError {
        self.misfit(spec, format!("an image of at least {side} x {side}"))
    }

    fn misfit(&self, spec: LayerSpec, expected: String) -> ArchitectureError {
        let (place, kind, got) = (self.place.clone(), spec.kind(), self.shape.to_string());
        ArchitectureError::Layer { place, kind, got, expected }
    }

    pub(super) fn bound(
        &self,
        kind: &'static str,
        what: &'static str,
        needed: u64,
    ) -> Result<(), ArchitectureError> {
        if needed <= LIMIT {
            return Ok(());
        }
        let place = self.place.clone();
        Err(ArchitectureError::TooLarge { place, kind, what, needed, limit: LIMIT })
    }
}

impl Fused {
    /// The batch norm over what the layer gives.
    fn batch_norm(&self, shape: Shape) -> Option<BatchNorm2d> {
        let (momentum, epsilon) = self.norm?;
        Some(BatchNorm2d { shape, momentum, epsilon, relu: false })
    }
}

/// How the kernel of a convolution with this activation is drawn, which may also be the layer
/// right after it.
fn started_by(activation: Activation, specs: &[LayerSpec]) -> Initialization {
    let after = match activation {
        Activation::None => specs.get(1).copied(),
        activation => activation.layer(),
    };
    match after {
        Some(LayerSpec::Sigmoid | LayerSpec::Tanh) => Initialization::GlorotUniform,
        _ => Initialization::HeNormal,
    }
}
