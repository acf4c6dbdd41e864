//! How an image becomes the raster that a network was trained on. It is stored with a version and
//! applied the same in training and in serving.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use teller_numeric::{Control, OptionError, Options};

use super::decode::{self, Decoded, Raster};
use super::orientation::Area;
use super::pixels::Pixels;
use super::resample::{self, Target};
use super::{ImageError, Limits};
use crate::Input;

/// The largest height and width of a raster.
const MAX_SIDE: usize = 4096;

/// What happens to an image whose sides are in another proportion than the raster's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// The whole image, undistorted, in the middle of a background. The default: on a scan of a
    /// form or a cheque anything may matter, and a distorted digit reads as another.
    #[default]
    Contain,
    /// The middle of the image, undistorted, so that it fills the raster; the rest is cut off.
    Cover,
    /// The whole image, each axis scaled on its own.
    Stretch,
}

/// Size, colours and fitting of a raster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Preprocessing {
    height: usize,
    width: usize,
    channels: usize,
    fit: Fit,
    background: u8,
}

/// The JSON of a [`Preprocessing`], anybody's until it is checked.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    height: usize,
    width: usize,
    channels: usize,
    fit: Fit,
    background: u8,
}

/// A size that no raster has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the raster's {name} is {got}, expected {expected}")]
pub struct InvalidRaster {
    /// Height, width or channels.
    pub name: &'static str,
    /// The value as given.
    pub got: usize,
    /// What would have been right.
    pub expected: &'static str,
}

impl Preprocessing {
    /// A raster of `height` x `width` (1 to 4096 each) in 1 channel (grey) or 3 (red, green, blue).
    /// `background` (0 black, 255 white) fills what a contained image leaves free and shows through
    /// where an image is transparent.
    pub fn new(
        height: usize,
        width: usize,
        channels: usize,
        fit: Fit,
        background: u8,
    ) -> Result<Self, InvalidRaster> {
        for (name, got) in [("height", height), ("width", width)] {
            if !(1..=MAX_SIDE).contains(&got) {
                return Err(InvalidRaster { name, got, expected: "1 to 4096" });
            }
        }
        if channels != 1 && channels != 3 {
            let expected = "1 for grey or 3 for colour";
            return Err(InvalidRaster { name: "channels", got: channels, expected });
        }
        Ok(Self { height, width, channels, fit, background })
    }

    /// Reads the option `preprocessing`, an object of `fit` (`contain`, the default, `cover` or
    /// `stretch`) and `background` (0 to 255, by default 255, paper). Size and channels are those
    /// of the architecture's `input`.
    pub fn read(options: &mut Options<'_>, input: Input) -> Result<Self, OptionError> {
        let none = Value::Object(serde_json::Map::new());
        let given = options.value("preprocessing").unwrap_or(&none);
        let mut nested = Options::new("preprocessing", given)?;
        let fit = nested.choice(
            "fit",
            &[("contain", Fit::Contain), ("cover", Fit::Cover), ("stretch", Fit::Stretch)],
        )?;
        let background = nested.integer("background", 255, 0..=255)? as u8;
        nested.finish()?;
        Self::of_input(input, fit, background)
    }

    /// The same fitting and background for images of another network.
    pub fn for_input(&self, input: Input) -> Result<Self, OptionError> {
        Self::of_input(input, self.fit, self.background)
    }

    fn of_input(input: Input, fit: Fit, background: u8) -> Result<Self, OptionError> {
        let Input { height, width, channels } = input;
        Self::new(height, width, channels, fit, background).map_err(|error| OptionError::Invalid {
            subject: "the architecture's input".to_owned(),
            name: error.name.to_owned(),
            got: error.got.to_string(),
            expected: error.expected.to_owned(),
            nearest: None,
        })
    }

    /// Pixels down.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Pixels across.
    pub fn width(&self) -> usize {
        self.width
    }

    /// 1 for grey, 3 for red, green and blue.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// How other proportions are fitted.
    pub fn fit(&self) -> Fit {
        self.fit
    }

    /// The grey of free and transparent places.
    pub fn background(&self) -> u8 {
        self.background
    }

    /// Bytes of a raster: height x width x channels.
    pub fn raster_len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// Decodes an image file and writes its raster to `out`: [`Preprocessing::raster_len`] bytes,
    /// row by row from the top, a pixel's channels together.
    ///
    /// Reads PNG, JPEG, TIFF, BMP, WebP and the first frame of GIF, of any size up to `limits` and
    /// of any depth; turns the picture upright as its EXIF or TIFF orientation says; composes what
    /// is transparent over the background. Colour becomes grey by the weights of ITU-R BT.601.
    /// Colour profiles are not applied.
    ///
    /// The same file gives the same bytes on every CPU. After an error `out` holds anything.
    ///
    /// `control` is asked every few kilobytes read, so a cancellation is heard within milliseconds.
    /// Decoders that read first and compute later answer when that is done: a lossy WebP takes
    /// some 17 ms a megapixel and is refused beyond ten of them, a JPEG whose data end long before
    /// the picture some 5.
    pub fn raster(
        &self,
        image: &[u8],
        limits: &Limits,
        control: &dyn Control,
        out: &mut [u8],
    ) -> Result<(), ImageError> {
        if out.len() != self.raster_len() {
            return Err(ImageError::Buffer { got: out.len(), expected: self.raster_len() });
        }
        control.check()?;
        let &Self { height, width, channels, .. } = self;
        let mut raster = Raster { width, height, channels, out };
        match decode::decode(image, *limits, control, &mut raster)? {
            Decoded::Raster => Ok(()),
            Decoded::Pixels(pixels) => self.place(&pixels, control, raster.out),
        }
    }

    /// Scales, turns and places decoded pixels.
    fn place(
        &self,
        pixels: &Pixels,
        control: &dyn Control,
        out: &mut [u8],
    ) -> Result<(), ImageError> {
        let orientation = pixels.orientation;
        let (width, height) = orientation.size(pixels.width, pixels.height);
        let (from, to) = self.areas(width, height);
        if (to.width, to.height) != (self.width, self.height) {
            out.fill(self.background);
        }
        let (stored_width, stored_height) = orientation.size(to.width, to.height);
        let target = Target {
            area: orientation.stored(from, width, height),
            width: stored_width,
            height: stored_height,
            channels: self.channels,
            background: self.background,
        };
        resample::resample(pixels, &target, control, |y, row| {
            for (x, pixel) in row.chunks_exact(self.channels).enumerate() {
                let (x, y) = orientation.place(x, y, stored_width, stored_height);
                let at = ((to.y + y) * self.width + to.x + x) * self.channels;
                out[at..at + self.channels].copy_from_slice(pixel);
            }
        })
    }

    /// The part of a picture of `width` x `height` that is used, and the part of the raster that
    /// it fills.
    fn areas(&self, width: usize, height: usize) -> (Area, Area) {
        let picture = Area { x: 0, y: 0, width, height };
        let raster = Area { x: 0, y: 0, width: self.width, height: self.height };
        match self.fit {
            Fit::Stretch => (picture, raster),
            Fit::Contain => (picture, centred(raster, width, height)),
            Fit::Cover => (centred(picture, self.width, self.height), raster),
        }
    }
}

/// The largest part in the middle of `area` whose sides are as `width` to `height`, rounded to
/// whole pixels and at least one.
fn centred(area: Area, width: usize, height: usize) -> Area {
    let scaled = |side: usize, by: usize, to: usize| {
        let (side, by, to) = (side as u128, by as u128, to as u128);
        (((side * by + to / 2) / to) as usize).max(1)
    };
    let (inner_width, inner_height) =
        if width as u128 * area.height as u128 >= height as u128 * area.width as u128 {
            (area.width, scaled(area.width, height, width).min(area.height))
        } else {
            (scaled(area.height, width, height).min(area.width), area.height)
        };
    Area {
        x: (area.width - inner_width) / 2,
        y: (area.height - inner_height) / 2,
        width: inner_width,
        height: inner_height,
    }
}

impl TryFrom<Stored> for Preprocessing {
    type Error = InvalidRaster;

    fn try_from(stored: Stored) -> Result<Self, InvalidRaster> {
        let Stored { height, width, channels, fit, background } = stored;
        Self::new(height, width, channels, fit, background)
    }
}

impl From<Preprocessing> for Stored {
    fn from(checked: Preprocessing) -> Self {
        let Preprocessing { height, width, channels, fit, background } = checked;
        Self { height, width, channels, fit, background }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const INPUT: Input = Input { height: 28, width: 20, channels: 1 };

    fn read(given: Value, input: Input) -> Result<Preprocessing, OptionError> {
        let mut options = Options::new("cnn", &given).unwrap();
        let read = Preprocessing::read(&mut options, input)?;
        options.finish().map(|()| read)
    }

    #[test]
    fn options_have_defaults_and_nearest_names() {
        let plain = read(json!({}), INPUT).unwrap();
        assert_eq!(plain, Preprocessing::new(28, 20, 1, Fit::Contain, 255).unwrap());
        let given = json!({"preprocessing": {"fit": "cover", "background": 0}});
        assert_eq!(
            read(given, INPUT).unwrap(),
            Preprocessing::new(28, 20, 1, Fit::Cover, 0).unwrap()
        );
        for (given, message) in [
            (json!({"preprocessing": 3}), "options of preprocessing are a number"),
            (
                json!({"preprocessing": {"fitt": "cover"}}),
                "unknown option \"fitt\" for preprocessing",
            ),
            (json!({"preprocessing": {"fit": "crop"}}), "expected one of contain, cover, stretch"),
            (json!({"preprocessing": {"background": 256}}), "between 0 and 255"),
        ] {
            let error = read(given, INPUT).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
        let error = read(json!({}), Input { channels: 2, ..INPUT }).unwrap_err().to_string();
        assert!(error.contains("\"channels\" of the architecture's input is 2"), "{error}");
    }

    #[test]
    fn stored_json_is_checked() {
        let checked = Preprocessing::new(28, 20, 3, Fit::Stretch, 7).unwrap();
        let stored = serde_json::to_value(checked).unwrap();
        assert_eq!(serde_json::from_value::<Preprocessing>(stored.clone()).unwrap(), checked);
        for (key, value) in [
            ("height", json!(0)),
            ("width", json!(4097)),
            ("channels", json!(2)),
            ("fit", json!("crop")),
            ("background", json!(-1)),
            ("more", json!(1)),
        ] {
            let mut altered = stored.clone();
            altered[key] = value;
            assert!(serde_json::from_value::<Preprocessing>(altered).is_err(), "{key}");
        }
        let huge = json!({"height": u64::MAX, "width": 1, "channels": 1, "fit": "contain",
                          "background": 0});
        assert!(serde_json::from_value::<Preprocessing>(huge).is_err());
    }

    #[test]
    fn a_wrong_buffer_is_refused() {
        let preprocessing = Preprocessing::new(2, 2, 1, Fit::Contain, 0).unwrap();
        let limits = Limits { max_pixels: 100 };
        let got = preprocessing.raster(b"", &limits, &teller_numeric::Uninterrupted, &mut [0; 3]);
        assert_eq!(got, Err(ImageError::Buffer { got: 3, expected: 4 }));
    }
}
