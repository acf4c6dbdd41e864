//! The training of generators of images.

use std::sync::Arc;

use teller_numeric::{Control, Isa};
use teller_payload::{AlignedBytes, SharedBytes, TrainingKey};

use super::ImageGanParams;
use super::generator::{ImageGenerator, MOST_IMAGES, MOST_VALUES, payload};
use super::layout::{ImageGanLayout, ImageGanNet};
use super::learner::{ImageGanLearner, floats_needed};
use super::report::ImageReport;
use crate::fitted::Epoch;
use crate::floats::Floats;
use crate::training::{Course, REVISION, Split, Trained, memory_of_state, stratified};
use crate::{Error, ImageDataset};

/// What [`fit_images`] gives.
#[derive(Debug)]
pub struct FittedImageGenerator {
    /// What was trained.
    pub layout: ImageGanLayout,
    weights: Floats,
    /// All epochs that were run.
    pub epochs: Vec<Epoch>,
    /// How near its images are to the real ones, and to single ones of them.
    pub report: ImageReport,
}

impl FittedImageGenerator {
    /// What it has learned, as stored.
    pub fn payload(&self) -> AlignedBytes {
        payload(&self.weights)
    }

    /// The generator ready to be asked.
    pub fn generator(&self) -> Result<ImageGenerator, Error> {
        ImageGenerator::load(self.layout.clone(), Arc::new(self.payload()))
    }

    /// Its figures, for the version's manifest.
    pub fn metrics(&self) -> Vec<(String, f64)> {
        let mut metrics = vec![
            ("epochs", self.epochs.len() as f64),
            ("training_rows", self.layout.rows.iter().sum::<u64>() as f64),
            ("training_loss", self.epochs.last().map_or(0.0, |epoch| epoch.loss)),
        ];
        metrics.extend(self.report.figures());
        metrics.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// Trains a generator of images like those of `data`, each by its label if there are several, on
/// the threads of the ambient rayon pool, reporting a step for every epoch.
///
/// The same images, in the same order, and the same parameters give the same weights, bit by bit,
/// also when a training goes on from a checkpoint (`resume`) that an earlier call with the same
/// arguments offered to its control.
pub fn fit_images(
    params: &ImageGanParams,
    data: &ImageDataset,
    resume: Option<SharedBytes>,
    control: &dyn Control,
) -> Result<FittedImageGenerator, Error> {
    fit_images_on(Isa::detect(), params, data, resume, control)
}

/// [`fit_images`] on a chosen instruction set.
pub fn fit_images_on(
    isa: Isa,
    params: &ImageGanParams,
    data: &ImageDataset,
    resume: Option<SharedBytes>,
    control: &dyn Control,
) -> Result<FittedImageGenerator, Error> {
    let training = &params.training;
    let labels = data.labels().len();
    let apart = stratified(data.targets(), labels, training.validation_fraction, training.seed);
    let net = ImageGanNet::new(ImageGanLayout::new(params, data, &apart.training))?;
    // The critic's marks of images kept apart say nothing of the generator.
    let split = Split { training: apart.training.clone(), validation: Vec::new() };
    let key = TrainingKey::new(&format!("gan {REVISION} {params:?}"), data.digest(control)?);
    let course = Course { params: training, split: &split, key };
    let learner = ImageGanLearner::new(isa, &net, params, data, split.batch(training))?;
    let Trained { weights, epochs, .. } = course.run(learner, resume, control)?;
    let mut own = Floats::zeros(net.averaged.len())?;
    own.copy_from_slice(&weights[net.averaged.clone()]);
    drop(weights);
    let report = ImageReport::default();
    let fitted = FittedImageGenerator { layout: net.layout, weights: own, epochs, report };
    let generator = fitted.generator()?.on(isa);
    let report = ImageReport::new(&generator, data, &apart, training.seed, control)?;
    Ok(FittedImageGenerator { report, ..fitted })
}

/// Bytes that [`fit_images`], one checkpoint of it and the images of `data` hold at most, if there
/// were `rows` of them.
pub fn image_gan_memory(
    params: &ImageGanParams,
    data: &ImageDataset,
    rows: u64,
) -> Result<u64, Error> {
    let net = ImageGanNet::new(ImageGanLayout::new(params, data, &[]))?;
    let batch = (params.training.batch_size as u64).min(rows) as usize;
    let training = floats_needed(&net, batch)
        .saturating_mul(4)
        .saturating_add(memory_of_state(&params.training, net.weights()));
    let image = net.layout.image().len() as u64;
    let made = (MOST_VALUES as u64).min(MOST_IMAGES as u64 * image).max(image);
    let compared = 4 * (made + net.weights() as u64) + ImageReport::memory(rows);
    // A row's label, and its places in the split and in an epoch's order.
    let data = rows.saturating_mul(image + 4 * size_of::<u32>() as u64);
    Ok(training.max(compared).saturating_add(data))
}
