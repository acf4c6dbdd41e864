//! Training of generators of images.

use std::sync::Arc;

use teller_nn::vision::{Limits, Preprocessing};
use teller_nn::{
    ImageDataset, ImageDatasetBuilder, ImageGanLayout, ImageGanParams, Input, fit_images,
    image_gan_memory,
};
use teller_numeric::Options;
use teller_payload::SharedBytes;

use crate::bridge::interrupts::StatementControl;
use crate::bridge::rhythm::Rhythm;
use crate::bridge::workers::{self, Event};
use crate::cache::{GAN, ImageGeneratorInfo, WEIGHTS};
use crate::catalog::data::{self, Column, Kind, Query, RowsRead};
use crate::catalog::store::TrainedVersion;
use crate::error::Error;
use crate::settings;
use crate::training::{Fit, Trained, metrics, most};

const COLUMNS: [Column; 2] = [
    Column { name: "image", kind: Kind::Bytes, required: true },
    Column { name: "label", kind: Kind::Label, required: false },
];

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
    let limits = Limits { max_pixels: settings::max_image_pixels() };
    let mut raster = vec![0; size.raster_len()];
    let builder = ImageDatasetBuilder::new(size.height(), size.width(), size.channels());
    let mut builder = builder.within(limit);
    let rows = data::read(query, &COLUMNS, |row| {
        row.bytes(0, |image| size.raster(image, &limits, &StatementControl, &mut raster))?
            .map_err(|source| Error::DataRow { row: row.number(), source })?;
        match row.has(1) {
            true => row.text(1, |label| builder.push(&raster, label))??,
            false => builder.push(&raster, "")?,
        }
        let needed = builder.memory();
        if needed > limit {
            let what = format!("the first {} images", row.number());
            let fits = Some(format!("fewer than {} images", row.number()));
            return Err(Error::TrainingMemory { what, needed, limit, fits });
        }
        Ok(())
    })?;
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
