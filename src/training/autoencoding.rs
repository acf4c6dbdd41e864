//! Training of autoencoders.

use std::sync::Arc;

use teller_nn::vision::{Limits, Preprocessing};
use teller_nn::{
    AutoencoderLayout, AutoencoderParams, Examples, Input, Likelihood, autoencoder_memory,
    fit_autoencoder,
};
use teller_numeric::Options;
use teller_payload::SharedBytes;

use crate::bridge::interrupts::StatementControl;
use crate::bridge::rhythm::Rhythm;
use crate::bridge::workers::{self, Event};
use crate::cache::{AutoencoderInfo, WEIGHTS};
use crate::catalog::data::{self, Column, Kind, Query, RowsRead};
use crate::catalog::store::TrainedVersion;
use crate::error::Error;
use crate::settings;
use crate::training::{Fit, Trained, metrics, most};

const FEATURES: [Column; 1] = [Column { name: "features", kind: Kind::Numbers, required: true }];
const IMAGE: [Column; 1] = [Column { name: "image", kind: Kind::Bytes, required: true }];

/// Checked options of an autoencoder.
pub struct Plan {
    params: AutoencoderParams,
    /// Of images, which have an `input`.
    preprocessing: Option<Preprocessing>,
}

impl Plan {
    pub fn read(options: &mut Options) -> Result<Self, Error> {
        options.choice("algorithm", &[("vae", ())])?;
        let input = options.value("input").map(Input::from_json).transpose();
        let input = input.map_err(teller_nn::Error::from)?;
        let (preprocessing, usual) = match input {
            None => (None, Likelihood::Gaussian),
            Some(input) => (Some(Preprocessing::read(options, input)?), Likelihood::Bernoulli),
        };
        let params = AutoencoderParams::read(options, AutoencoderParams::of(usual))?;
        match &preprocessing {
            // Images of another size are refused before they are read.
            Some(size) => drop(AutoencoderLayout::new(&params, &no_images(size, 0))?),
            None if params.filters.is_some() => {
                let expected = "dense where there is no input of images".to_owned();
                return Err(options.invalid("network", &"convolutional".into(), expected).into());
            }
            None => {}
        }
        Ok(Self { params, preprocessing })
    }

    pub fn seed(&self) -> u64 {
        self.params.training.seed
    }

    /// Reads and checks the data.
    pub fn prepare(&self, query: Query) -> Result<(Box<dyn Fit + '_>, RowsRead), Error> {
        let limit = settings::max_training_memory();
        let fewer = |rows| format!("fewer than {rows} rows");
        let (examples, read) = read_examples(query, self.preprocessing.as_ref(), limit, fewer)?;
        let needed = |rows| autoencoder_memory(&self.params, &examples, rows);
        let rows = examples.len() as u64;
        if needed(rows)? > limit {
            let what = format!("{rows} rows of {} numbers", examples.width());
            let fits = match most(1..=rows, |rows| needed(rows).is_ok_and(|needed| needed <= limit))
            {
                Some(rows) => format!("{rows} rows"),
                None => "a smaller network, row or batch_size".to_owned(),
            };
            let needed = needed(rows)?;
            return Err(Error::TrainingMemory { what, needed, limit, fits: Some(fits) });
        }
        Ok((Box::new(Prepared { plan: self, examples }), read))
    }
}

struct Prepared<'p> {
    plan: &'p Plan,
    examples: Examples,
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
        let Plan { params, preprocessing } = self.plan;
        let fitted = workers::run(
            settings::threads(),
            rhythm,
            |control| fit_autoencoder(params, &self.examples, resume, control),
            on_event,
        )??;
        let figures = fitted.metrics();
        let info = AutoencoderInfo { layout: fitted.layout, preprocessing: *preprocessing };
        Ok(Trained {
            algorithm: "vae",
            model: serde_json::to_value(info)
                .map_err(|error| Error::Internal(error.to_string()))?,
            metrics: metrics(figures.iter().map(|(name, value)| (&**name, *value))),
            version: TrainedVersion {
                parts: vec![(WEIGHTS.into(), Arc::new(fitted.payload()))],
                records: Vec::new(),
            },
        })
    }
}

/// Reads the rows of a query, or with a `preprocessing` its images, into at most `limit` bytes. If
/// there are more, `fits` says what would fit, from the number of rows so far.
pub fn read_examples(
    query: Query,
    preprocessing: Option<&Preprocessing>,
    limit: u64,
    fits: impl Fn(u64) -> String,
) -> Result<(Examples, RowsRead), Error> {
    let within = |examples: &Examples, rows| {
        let needed = examples.memory();
        if needed <= limit {
            return Ok(());
        }
        let what = format!("the first {rows} rows");
        Err(Error::TrainingMemory { what, needed, limit, fits: Some(fits(rows)) })
    };
    let Some(preprocessing) = preprocessing else {
        let mut examples = Examples::numbers(limit);
        let rows = data::read(query, &FEATURES, |row| {
            row.numbers(0, |numbers, _| examples.push_numbers(numbers))?
                .map_err(|error| Error::from(error).in_row(row.number()))?;
            within(&examples, row.number())
        })?;
        return Ok((examples, rows));
    };
    let limits = Limits { max_pixels: settings::max_image_pixels() };
    let mut raster = vec![0; preprocessing.raster_len()];
    let mut examples = no_images(preprocessing, limit);
    let rows = data::read(query, &IMAGE, |row| {
        row.bytes(0, |image| preprocessing.raster(image, &limits, &StatementControl, &mut raster))?
            .map_err(|source| Error::DataRow { row: row.number(), source })?;
        examples.push_pixels(&raster)?;
        within(&examples, row.number())
    })?;
    Ok((examples, rows))
}

/// To put images into.
fn no_images(size: &Preprocessing, limit: u64) -> Examples {
    Examples::pixels(size.height(), size.width(), size.channels(), limit)
}
