//! Random changes to training images, so that a network learns from each image in many forms
//! (Simard, Steinkraus, Platt 2003). From 8 bits to 8 bits, mostly in whole numbers, so that the
//! same seed gives the same images on every processor; no memory is asked for.

mod blur;
mod cutout;
mod geometry;
mod mixup;
mod noise;
mod tone;

use teller_numeric::{OptionError, Options, Stream};

use crate::Shape;

/// How far images may be changed; 0 leaves them as they are. Each image draws anew, evenly from
/// its range, in every epoch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Augmentation {
    /// `shift` to any side, as a share of the image's, 0 to 0.5.
    pub shift: f64,
    /// `rotation` to either side in degrees, 0 to 180.
    pub rotation: f64,
    /// `scale`: a change of size up and down by a share, 0 to 0.9.
    pub scale: f64,
    /// `shear` to either side in degrees, 0 to 60.
    pub shear: f64,
    /// `crop`: the share of both sides that may be cut off around a part that then fills the
    /// image, 0 to 0.9.
    pub crop: f64,
    /// `flip`: mirrors half of the images, and of both axes each on its own.
    pub flip: Flip,
    /// `fill`: what comes in from outside the image.
    pub fill: Fill,
    /// `blur` of a Gaussian up to this deviation in pixels, 0 to 5.
    pub blur: f64,
    /// `contrast`, raised and lowered by a share, 0 to 1.
    pub contrast: f64,
    /// `brightness`, up and down by a share of the range from black to white, 0 to 1.
    pub brightness: f64,
    /// `noise` on each value, up to this deviation as a share of the same range, 0 to 0.5.
    pub noise: f64,
    /// `cutout`: a square of up to this share of the shorter side becomes the image's mean, 0 to 1
    /// (DeVries and Taylor 2017).
    pub cutout: f64,
    /// `mixup`: each image is mixed with another, in shares from a beta distribution with this
    /// parameter, 0 to 10 (Zhang et al. 2018); 0 mixes none.
    pub mixup: f64,
}

/// The axes along which images may be mirrored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flip {
    /// None.
    #[default]
    None,
    /// Left and right.
    Horizontal,
    /// Top and bottom.
    Vertical,
    /// Either, or both.
    Both,
}

/// What is outside an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fill {
    /// `"edge"`: the nearest pixel of the image.
    #[default]
    Edge,
    /// A value from 0, black, to 255, white.
    Value(u8),
}

/// The size of the images.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
}

impl Size {
    pub(crate) fn of(shape: Shape) -> Option<Self> {
        match shape {
            Shape::Image { height, width, channels } => Some(Self { height, width, channels }),
            Shape::Vector(_) => None,
        }
    }
}

/// Another image to mix one with, and how much of the first is left, of 256 parts.
pub(crate) struct Partner {
    pub(crate) index: u32,
    pub(crate) parts: u32,
}

impl Augmentation {
    /// Reads the option `augmentation`, an object; `None` without it.
    pub(crate) fn read(options: &mut Options<'_>) -> Result<Option<Self>, OptionError> {
        let Some(given) = options.value("augmentation") else { return Ok(None) };
        let mut options = Options::new("augmentation", given)?;
        let mut number = |name, most| options.number(name, 0.0, 0.0..=most);
        let augmentation = Self {
            shift: number("shift", 0.5)?,
            rotation: number("rotation", 180.0)?,
            scale: number("scale", 0.9)?,
            shear: number("shear", 60.0)?,
            crop: number("crop", 0.9)?,
            blur: number("blur", blur::LARGEST)?,
            contrast: number("contrast", 1.0)?,
            brightness: number("brightness", 1.0)?,
            noise: number("noise", noise::LARGEST)?,
            cutout: number("cutout", 1.0)?,
            mixup: number("mixup", 10.0)?,
            flip: options.choice(
                "flip",
                &[
                    ("none", Flip::None),
                    ("horizontal", Flip::Horizontal),
                    ("vertical", Flip::Vertical),
                    ("both", Flip::Both),
                ],
            )?,
            fill: Fill::read(&mut options)?,
        };
        options.finish()?;
        Ok(Some(augmentation))
    }

    /// Changes one image, alone; `between` is working memory of its size.
    pub(crate) fn change(
        &self,
        size: Size,
        stream: &mut Stream,
        from: &[u8],
        to: &mut [u8],
        between: &mut [u8],
    ) {
        if self.moves() {
            geometry::Affine::draw(self, size, stream).resample(size, self.fill, from, to);
        } else {
            to.copy_from_slice(from);
        }
        if self.blur > 0.0 {
            blur::blur(size, self.blur * share(stream), to, between);
        }
        if self.contrast > 0.0 || self.brightness > 0.0 {
            tone::change(1.0 + self.contrast * side(stream), self.brightness * side(stream), to);
        }
        if self.noise > 0.0 {
            noise::add(self.noise * share(stream), stream, to);
        }
        if self.cutout > 0.0 {
            cutout::cut(size, self.cutout * share(stream), stream, to);
        }
    }

    /// Which of so many images one is to be mixed with, if any.
    pub(crate) fn partner(&self, images: u32, stream: &mut Stream) -> Option<Partner> {
        (self.mixup > 0.0 && images > 0).then(|| Partner {
            index: stream.below(images),
            parts: mixup::parts(self.mixup, stream),
        })
    }

    /// Leaves of `image` so many of 256 parts, the rest being the partner's.
    pub(crate) fn mix(image: &mut [u8], parts: u32, partner: &[u8]) {
        mixup::mix(image, parts, partner);
    }

    /// Whether pixels change their places.
    fn moves(&self) -> bool {
        let Self { shift, rotation, scale, shear, crop, flip, .. } = self;
        [shift, rotation, scale, shear, crop].into_iter().any(|&range| range > 0.0)
            || *flip != Flip::None
    }
}

impl Fill {
    fn read(options: &mut Options<'_>) -> Result<Self, OptionError> {
        let Some(value) = options.value("fill") else { return Ok(Self::Edge) };
        match (value.as_str(), value.as_u64().map(u8::try_from)) {
            (Some("edge"), _) => Ok(Self::Edge),
            (_, Some(Ok(value))) => Ok(Self::Value(value)),
            _ => {
                let expected = "\"edge\" or a whole number between 0 and 255".to_owned();
                Err(options.invalid("fill", value, expected))
            }
        }
    }
}

/// From 0 to 1.
fn share(stream: &mut Stream) -> f64 {
    f64::from(stream.uniform())
}

/// From -1 to 1.
fn side(stream: &mut Stream) -> f64 {
    2.0 * share(stream) - 1.0
}

#[cfg(test)]
mod tests;
