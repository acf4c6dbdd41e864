//! Training of image classifiers.

use serde_json::Value;
use teller_nn::vision::{Limits, Preprocessing};
use teller_nn::{Architecture, CnnParams, ImageDataset, Normalization};
use teller_numeric::Options;

use crate::bridge::interrupts::StatementControl;
use crate::bridge::workers;
use crate::cache::{ImageModelInfo, WEIGHTS};
use crate::catalog::data::{self, Column, Kind};
use crate::catalog::store::TrainedVersion;
use crate::error::Error;
use crate::settings;
use crate::training::Trained;
use crate::training::progress::Progress;

const COLUMNS: [Column; 2] = [
    Column { name: "image", kind: Kind::Bytes, required: true },
    Column { name: "label", kind: Kind::Label, required: true },
];

/// The network that is trained when the options name none.
const DEFAULT_ARCHITECTURE: &str = "reference";

/// Checked options of an image classifier.
pub struct Plan {
    architecture: Architecture,
    preprocessing: Preprocessing,
    params: CnnParams,
}

impl Plan {
    pub fn read(options: &mut Options) -> Result<Self, Error> {
        options.choice("algorithm", &[("cnn", ())])?;
        let architecture = match options.value("architecture") {
            None => Architecture::named(DEFAULT_ARCHITECTURE)?,
            Some(Value::String(name)) => Architecture::named(name)?,
            Some(object) => Architecture::from_json(object)?,
        };
        let preprocessing = Preprocessing::read(options, architecture.input())?;
        let params = CnnParams::read(options)?;
        Ok(Self { architecture, preprocessing, params })
    }

    pub fn train(&self, query: &str) -> Result<Trained, Error> {
        let limit = settings::max_training_memory();
        let dataset = read_dataset(query, &self.preprocessing, limit)?;
        let needed = teller_nn::memory_needed(&self.architecture, &self.params, &dataset)?;
        if needed > limit {
            let what = format!("{} images", dataset.len());
            return Err(Error::TrainingMemory { what, needed, limit });
        }
        let mut progress = Progress::new("epoch");
        let fitted = workers::run(
            settings::threads(),
            |control| teller_nn::fit(&self.architecture, &self.params, &dataset, control),
            |step| progress.step(step),
        )??;
        let info = ImageModelInfo {
            architecture: self.architecture.to_json(),
            preprocessing: self.preprocessing.clone(),
            normalization: Normalization::default(),
            labels: dataset.labels().to_vec(),
        };
        Ok(Trained {
            algorithm: "cnn",
            rows: dataset.len() as u64,
            model: serde_json::to_value(info)
                .map_err(|error| Error::Internal(error.to_string()))?,
            metrics: fitted.metrics.iter().map(|(k, v)| (k.clone(), (*v).into())).collect(),
            version: TrainedVersion {
                parts: vec![(WEIGHTS, fitted.payload())],
                log: progress.into_log(),
            },
        })
    }
}

/// Decodes the images of a query into one data set of at most `limit` bytes.
pub fn read_dataset(
    query: &str,
    preprocessing: &Preprocessing,
    limit: u64,
) -> Result<ImageDataset, Error> {
    let limits = Limits { max_pixels: settings::max_image_pixels() };
    let mut raster = vec![0; preprocessing.raster_len()];
    let mut builder = ImageDataset::builder(preprocessing.raster_len(), limit);
    data::read(query, &COLUMNS, |row| {
        row.bytes(0, |image| preprocessing.raster(image, &limits, &StatementControl, &mut raster))?
            .map_err(|source| Error::DataRow { row: row.number(), source })?;
        row.text(1, |label| builder.push(&raster, label))??;
        Ok(())
    })?;
    Ok(builder.finish()?)
}
