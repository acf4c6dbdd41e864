//! Training of image classifiers.

use std::sync::Arc;

use teller_nn::vision::Preprocessing;
use teller_nn::{Architecture, Arithmetic, CnnParams, ImageDataset};
use teller_numeric::Options;
use teller_payload::SharedBytes;

use crate::bridge::rhythm::Rhythm;
use crate::bridge::workers::{self, Event};
use crate::cache::{ImageModelInfo, WEIGHTS};
use crate::catalog::data::{Query, RowsRead};
use crate::catalog::manifest::StartPoint;
use crate::catalog::store::{CONFUSION, TrainedVersion};
use crate::error::Error;
use crate::settings;
use crate::training::confusion::confusion;
use crate::training::image_rows::{LABELLED, read_dataset};
use crate::training::start::{Source, Trainee};
use crate::training::{Fit, Trained, metrics, most};

/// The network that is trained when the options name none.
const DEFAULT_ARCHITECTURE: &str = "reference";

/// Checked options of an image classifier.
pub struct Plan {
    architecture: Architecture,
    preprocessing: Preprocessing,
    params: CnnParams,
    source: Option<Source>,
}

impl Plan {
    pub fn read(
        options: &mut Options,
        start_from: &mut Option<StartPoint>,
        trainee: Trainee,
    ) -> Result<Self, Error> {
        options.choice("algorithm", &[("cnn", ())])?;
        let source = Source::read(options, start_from, trainee)?;
        let architecture = match (options.value("architecture"), &source) {
            (Some(given), _) => Architecture::read(given),
            (None, Some(source)) => Ok(source.architecture.clone()),
            (None, None) => Architecture::named(DEFAULT_ARCHITECTURE),
        }
        .map_err(teller_nn::Error::from)?;
        let preprocessing = match (options.value("preprocessing"), &source) {
            (None, Some(source)) => source.info.preprocessing.for_input(architecture.input)?,
            _ => Preprocessing::read(options, architecture.input)?,
        };
        let params = CnnParams::read(options)?;
        if let Some(source) = &source {
            source.weights.check(&architecture)?;
        }
        Ok(Self { architecture, preprocessing, params, source })
    }

    /// Checks the network for `labels`, and tells the bytes that its training on `rows` images
    /// needs.
    fn needed(&self, rows: u64, labels: &[String]) -> Result<u64, teller_nn::Error> {
        let Self { architecture, params, .. } = self;
        match &self.source {
            None => teller_nn::memory_needed(architecture, params, rows, labels.len()),
            Some(source) => source.weights.memory_needed(architecture, params, rows, labels),
        }
    }

    pub fn seed(&self) -> u64 {
        self.params.training.seed
    }

    /// Of `rows` images that need too much, what would fit.
    fn fits(&self, rows: u64, labels: &[String], limit: u64) -> String {
        // As long as few labels are known, there may be no network for them.
        if self.needed(1, labels).is_err() {
            return format!("fewer than {rows} images");
        }
        let fits = |rows: u64| self.needed(rows, labels).is_ok_and(|needed| needed <= limit);
        match most(1..=rows, fits) {
            Some(rows) => format!("{rows} images"),
            None => "a smaller network, image or batch_size".to_owned(),
        }
    }

    /// Reads and checks the data.
    pub fn prepare(&self, query: Query) -> Result<(Box<dyn Fit + '_>, RowsRead), Error> {
        let limit = settings::max_training_memory();
        let fits = |rows, labels: &[String]| self.fits(rows, labels, limit);
        let (builder, read) = read_dataset(query, &LABELLED, &self.preprocessing, limit, fits)?;
        let mut dataset = builder.finish()?;
        let (rows, labels) = (dataset.len() as u64, dataset.labels());
        let needed = self.needed(rows, labels)?;
        if needed > limit {
            let what = format!("{rows} images of {} classes", labels.len());
            let fits = Some(self.fits(rows, labels, limit));
            return Err(Error::TrainingMemory { what, needed, limit, fits });
        }
        // The layers that are taken over know numbers of this scale.
        if let Some(source) = &self.source
            && source.architecture.input.channels == self.architecture.input.channels
        {
            dataset.normalization = source.info.normalization.clone();
        }
        Ok((Box::new(Prepared { plan: self, dataset }), read))
    }
}

struct Prepared<'p> {
    plan: &'p Plan,
    dataset: ImageDataset,
}

impl Fit for Prepared<'_> {
    fn step_noun(&self) -> &'static str {
        "epoch"
    }

    fn fit(
        &self,
        resume: Option<SharedBytes>,
        rhythm: &Rhythm,
        on_event: &mut dyn FnMut(Event) -> Result<(), Error>,
    ) -> Result<Trained, Error> {
        let Plan { architecture, params, preprocessing, source } = self.plan;
        let data = &self.dataset;
        let fitted = workers::run(
            settings::threads(),
            rhythm,
            |control| match source {
                None => teller_nn::fit(architecture, params, data, resume, control),
                Some(Source { weights, .. }) => {
                    teller_nn::fine_tune(weights, architecture, params, data, resume, control)
                }
            },
            on_event,
        )??;
        let figures = fitted.metrics();
        let info = ImageModelInfo {
            architecture: fitted.architecture.to_json(),
            preprocessing: *preprocessing,
            normalization: fitted.normalization.clone(),
            labels: fitted.labels.clone(),
            arithmetic: Arithmetic::CURRENT,
            temperature: Some(fitted.temperature),
        };
        Ok(Trained {
            algorithm: "cnn",
            model: serde_json::to_value(info)
                .map_err(|error| Error::Internal(error.to_string()))?,
            metrics: metrics(figures.iter().map(|(name, value)| (&**name, *value))),
            version: TrainedVersion {
                parts: vec![(WEIGHTS.into(), Arc::new(fitted.payload()))],
                records: vec![(CONFUSION, confusion(&fitted.labels, fitted.confusion()))],
            },
        })
    }
}
