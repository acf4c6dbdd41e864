//! Convolutions that halve an image until it is small, and transposed ones that double it back
//! (Radford, Metz and Chintala 2016), without batch norm.

use serde::{Deserialize, Serialize};

use crate::layer::Padding;
use crate::{Activation, Error, LayerSpec, Shape};

/// Rows and columns of the kernels.
const KERNEL: usize = 4;
/// Sides are halved as long as one is longer than this.
const SMALL: usize = 8;
/// The longest side.
const LONGEST: usize = 512;

/// The size of an image, and how many channels come next to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pyramid {
    /// Rows of pixels, even.
    pub height: usize,
    /// Columns of pixels, even.
    pub width: usize,
    /// 1 for grey, 3 for colour.
    pub channels: usize,
    /// Channels next to the image; each halving of the sides doubles them.
    pub filters: usize,
}

impl Pyramid {
    /// Whether there is such a network, of images of this size.
    pub(super) fn check(&self) -> Result<(), Error> {
        let Self { height, width, channels, filters } = *self;
        let even = |side: usize| side.is_multiple_of(2) && (2..=LONGEST).contains(&side);
        if !(even(height) && even(width)) {
            return Err(Error::Shape {
                got: format!("{height} x {width}"),
                expected: format!("even sides of at most {LONGEST}"),
            });
        }
        for (what, needed, limit) in [("channels", channels, 3), ("filters", filters, 256)] {
            if !(1..=limit).contains(&needed) {
                let (needed, limit) = (needed as u64, limit as u64);
                return Err(Error::TooLarge { what, needed, limit });
            }
        }
        Ok(())
    }

    pub(super) fn image(&self) -> Shape {
        let Self { height, width, channels, .. } = *self;
        Shape::Image { height, width, channels }
    }

    /// How often the sides are halved.
    fn halvings(&self) -> u32 {
        let halved = |times: &u32| {
            let sides = [self.height, self.width].map(|side| side >> (times - 1));
            sides.iter().all(|side| side.is_multiple_of(2))
                && sides.iter().any(|&side| side > SMALL)
        };
        (2..).take_while(halved).last().unwrap_or(1)
    }

    /// From the image to a small one of many channels, each layer with the activation after it.
    pub(super) fn shrinking(&self, activation: LayerSpec) -> Vec<LayerSpec> {
        let layer = |level| {
            let filters = self.filters << level;
            let (padding, none) = (Padding::Same, Activation::None);
            let convolution = LayerSpec::Conv2d {
                filters,
                kernel: KERNEL,
                stride: 2,
                dilation: 1,
                groups: 1,
                padding,
                activation: none,
            };
            [convolution, activation]
        };
        (0..self.halvings()).flat_map(layer).collect()
    }

    /// From a vector to the image, by a dense layer that makes a small one of it; the last layer has
    /// an activation of its own.
    pub(super) fn enlarging(&self, activation: Activation, last: Activation) -> Vec<LayerSpec> {
        let halvings = self.halvings();
        let [height, width] = [self.height, self.width].map(|side| side >> halvings);
        let channels = self.filters << (halvings - 1);
        let units = Some(height * width * channels);
        let mut layers = vec![
            LayerSpec::Dense { units, activation },
            LayerSpec::Reshape { height, width, channels },
        ];
        for level in (0..halvings).rev() {
            let (filters, activation) = match level.checked_sub(1) {
                Some(level) => (self.filters << level, activation),
                None => (self.channels, last),
            };
            let (kernel, stride, padding) = (KERNEL, 2, Padding::Same);
            layers.push(LayerSpec::ConvTranspose2d {
                filters,
                kernel,
                stride,
                padding,
                activation,
            });
        }
        layers
    }
}
