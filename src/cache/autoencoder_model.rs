//! An autoencoder in the form in which it answers.

use serde::{Deserialize, Serialize};
use teller_nn::vision::{Limits, Preprocessing, png_of_unit};
use teller_nn::{Autoencoder, AutoencoderLayout};
use teller_payload::SharedBytes;

use crate::bridge::interrupts::StatementControl;
use crate::catalog::manifest::Manifest;
use crate::error::Error;
use crate::settings;

/// What an autoencoder needs besides its numbers; the manifest's `model`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutoencoderInfo {
    /// What the network is.
    pub layout: AutoencoderLayout,
    /// How an image becomes a raster, where rows are images.
    pub preprocessing: Option<Preprocessing>,
}

/// An autoencoder with its preprocessing.
pub struct AutoencoderModel {
    network: Autoencoder,
    preprocessing: Option<Preprocessing>,
}

impl AutoencoderModel {
    /// Of the manifest's `model` and the part of its numbers, or what is wrong with them.
    pub(super) fn load(manifest: &Manifest, numbers: SharedBytes) -> Result<Self, String> {
        let AutoencoderInfo { layout, preprocessing } =
            serde_json::from_value(manifest.model.clone())
                .map_err(|error| format!("its model description cannot be read: {error}"))?;
        if preprocessing.is_some_and(|preprocessing| preprocessing.raster_len() != layout.width) {
            return Err("its preprocessing does not fit its network".to_owned());
        }
        let network = Autoencoder::load(layout, numbers).map_err(|error| error.to_string())?;
        Ok(Self { network, preprocessing })
    }

    /// Bytes held beside the numbers.
    pub(super) fn memory(&self) -> usize {
        self.network.memory()
    }

    /// The network.
    pub fn network(&self) -> &Autoencoder {
        &self.network
    }

    /// How its images become rasters, where its rows are images.
    pub fn preprocessing(&self) -> Option<&Preprocessing> {
        self.preprocessing.as_ref()
    }

    /// An image as a row of the network.
    pub fn row(&self, image: &[u8]) -> Result<Vec<f32>, Error> {
        let preprocessing = self.of_images()?;
        let limits = Limits { max_pixels: settings::max_image_pixels() };
        let mut raster = vec![0; preprocessing.raster_len()];
        preprocessing.raster(image, &limits, &StatementControl, &mut raster)?;
        Ok(Autoencoder::unit(&raster))
    }

    /// A row of the network as a PNG.
    pub fn png(&self, row: &[f32]) -> Result<Vec<u8>, Error> {
        let size = self.of_images()?;
        Ok(png_of_unit(row, size.height(), size.width(), size.channels())?)
    }

    fn of_images(&self) -> Result<&Preprocessing, Error> {
        let numbers = || Error::Data("the model's rows are numbers, got an image".to_owned());
        self.preprocessing.as_ref().ok_or_else(numbers)
    }
}
