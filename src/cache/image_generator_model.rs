//! A generator of images in the form in which it answers.

use serde::{Deserialize, Serialize};
use teller_nn::vision::{Preprocessing, png_of_unit};
use teller_nn::{ImageGanLayout, ImageGenerator};
use teller_payload::SharedBytes;

use crate::bridge::rhythm::Rhythm;
use crate::bridge::workers;
use crate::catalog::manifest::Manifest;
use crate::error::Error;
use crate::settings;

/// The algorithm of these generators; all others make rows of tables.
pub const GAN: &str = "gan";

/// What a generator needs besides its weights; the manifest's `model`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageGeneratorInfo {
    /// What the network is.
    pub layout: ImageGanLayout,
    /// How the images that it learned from became rasters.
    pub preprocessing: Preprocessing,
}

/// A generator of images.
pub struct ImageGeneratorModel {
    generator: ImageGenerator,
    preprocessing: Preprocessing,
}

impl ImageGeneratorModel {
    pub(super) fn load(manifest: &Manifest, weights: SharedBytes) -> Result<Self, String> {
        let ImageGeneratorInfo { layout, preprocessing } =
            serde_json::from_value(manifest.model.clone())
                .map_err(|error| format!("its model description cannot be read: {error}"))?;
        let generator = ImageGenerator::load(layout, weights).map_err(|error| error.to_string())?;
        if preprocessing.raster_len() != generator.shape().len() {
            return Err("its preprocessing does not fit its network".to_owned());
        }
        Ok(Self { generator, preprocessing })
    }

    /// Bytes held beside the weights.
    pub(super) fn memory(&self) -> usize {
        self.generator.memory()
    }

    /// How images become rasters like those that it makes.
    pub fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    /// The engine.
    pub fn generator(&self) -> &ImageGenerator {
        &self.generator
    }

    /// `count` images from number `first` on, each as its values from 0 to 1, row by row, a pixel's
    /// channels together; of one label, or of all as often as in the training data.
    pub fn images(
        &self,
        first: u64,
        count: usize,
        label: Option<u32>,
        seed: u64,
    ) -> Result<Vec<Vec<f32>>, Error> {
        let values = workers::run(
            settings::threads(),
            &Rhythm::never(),
            |control| self.generator.images(first, count, label, seed, control),
            |_| Ok(()),
        )??;
        Ok(values.chunks_exact(self.generator.shape().len()).map(<[f32]>::to_vec).collect())
    }

    /// The place of a label.
    pub fn label(&self, label: &str) -> Result<u32, Error> {
        let labels = &self.generator.layout().labels;
        if labels.len() < 2 {
            return Err(Error::Unsupported("it knows no labels, got one".to_owned()));
        }
        let unknown = || Error::unknown("label", label, labels.iter().map(String::as_str));
        self.generator.label(label).ok_or_else(unknown)
    }

    /// An image as a PNG.
    pub fn png(&self, image: &[f32]) -> Result<Vec<u8>, Error> {
        let ImageGanLayout { height, width, channels, .. } = *self.generator.layout();
        Ok(png_of_unit(image, height, width, channels)?)
    }
}
