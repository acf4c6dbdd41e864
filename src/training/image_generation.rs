//! Training of generators of images.

use std::sync::Arc;

use teller_nn::vision::Preprocessing;
use teller_nn::{
    ImageDataset, ImageGanLayout, ImageGanParams, Input, fit_images, image_gan_memory,
};
use teller_numeric::Options;
use teller_payload::SharedBytes;

use crate::bridge::rhythm::Rhythm;
use crate::bridge::workers::{self, Event};
use crate::cache::{GAN, ImageGeneratorInfo, WEIGHTS};
use crate::catalog::data::{Query, RowsRead};
use crate::catalog::store::TrainedVersion;
use crate::error::Error;
use crate::settings;
use crate::training::generation::tell_failures;
use crate::training::image_rows::{LABELLED_OR_NOT, read_dataset};
use crate::training::{Fit, Trained, metrics, most};

/// The size of images where the options tell none.
const USUAL: Input = Input { height: 28, width: 28, channels: 1 };

/// Checked options of a generator of images.
pub struct Plan {
    params: ImageGanParams,
    preprocessing: Preprocessing,
}

impl Plan {
    pub fn read(options: &mut Options) -> Result<Self, Error> {
        let input = options.value("input").map(Input::from_json).transpose();
        let input = input.map_err(teller_nn::Error::from)?.unwrap_or(USUAL);
        ImageGanLayout::check_size(input)?;
        let preprocessing = Preprocessing::read(options, input)?;
        Ok(Self { params: ImageGanParams::read(options)?, preprocessing })
    }

    pub fn seed(&self) -> u64 {
        self.params.training.seed
    }

    /// Reads and checks the data.
    pub fn prepare(&self, query: Query) -> Result<(Box<dyn Fit + '_>, RowsRead), Error> {
        let limit = settings::max_training_memory();
        let (images, read) = read_images(query, &self.preprocessing, limit)?;
        let rows = images.len() as u64;
        let needed = image_gan_memory(&self.params, &images, rows)?;
        if needed > limit {
            let fits = |rows| {
                image_gan_memory(&self.params, &images, rows).is_ok_and(|needed| needed <= limit)
            };
            let fits = match most(1..=rows, fits) {
                Some(rows) => format!("{rows} images"),
                None => "fewer filters, or a smaller image or batch_size".to_owned(),
            };
            let what = format!("{rows} images of {} labels", images.labels().len());
            return Err(Error::TrainingMemory { what, needed, limit, fits: Some(fits) });
        }
        Ok((Box::new(Prepared { plan: self, images }), read))
    }
}

/// Decodes the images of a query into at most `limit` bytes; without labels all have an empty one.
pub fn read_images(
    query: Query,
    size: &Preprocessing,
    limit: u64,
) -> Result<(ImageDataset, RowsRead), Error> {
    let fits = |rows, _: &[String]| format!("fewer than {rows} images");
    let (builder, rows) = read_dataset(query, &LABELLED_OR_NOT, size, limit, fits)?;
    Ok((builder.finish_for_evaluation()?, rows))
}

struct Prepared<'p> {
    plan: &'p Plan,
    images: ImageDataset,
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
            |control| fit_images(params, &self.images, resume, control),
            on_event,
        )??;
        tell_failures(fitted.report.privacy);
        let figures = fitted.metrics();
        let info =
            ImageGeneratorInfo { layout: fitted.layout.clone(), preprocessing: *preprocessing };
        Ok(Trained {
            algorithm: GAN,
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
