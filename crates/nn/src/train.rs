//! A training from the first epoch to the last, or until it no longer gets better.

use std::time::Instant;

use teller_numeric::{Control, Isa, Moment, Step, Stream};
use teller_payload::{SharedBytes, TrainingKey};

use crate::batch::{Batch, Changes};
use crate::dataset::BYTES_PER_ROW;
use crate::fitted::{Epoch, FittedCnn, Validation, memory_to_judge};
use crate::floats::Floats;
use crate::group::Outcome;
use crate::layer::Noise;
use crate::network::{Network, Purpose};
use crate::normalization::PixelTable;
use crate::objective::Objective;
use crate::optimizer::{OptimizerState, Pace};
use crate::progress::{Extent, Progress, REVISION, Tally};
use crate::split::{Split, stratified};
use crate::trainer::{Learning, Trainer, floats_needed, rasters_needed};
use crate::{Architecture, CnnParams, Error, ImageDataset, Shape, StartFrom};

/// Trains a network on the threads of the ambient rayon pool, reporting a step for every epoch.
///
/// Of the epochs the best one counts, by what `params.stopping` watches on the part kept apart; its
/// weights are the result. Enough epochs without a better one end the training. Without a part kept
/// apart the last weights are the result.
///
/// The same data, in the same order, and the same parameters give the same weights, bit by bit,
/// also when a training goes on from a checkpoint (`resume`) that an earlier call with the same
/// arguments offered to its control. A checkpoint of anything else is an [`Error::Checkpoint`].
pub fn fit(
    architecture: &Architecture,
    params: &CnnParams,
    data: &ImageDataset,
    resume: Option<SharedBytes>,
    control: &dyn Control,
) -> Result<FittedCnn, Error> {
    fit_on(Isa::detect(), architecture, params, data, resume, control)
}

/// [`fit`] on a chosen instruction set.
pub fn fit_on(
    isa: Isa,
    architecture: &Architecture,
    params: &CnnParams,
    data: &ImageDataset,
    resume: Option<SharedBytes>,
    control: &dyn Control,
) -> Result<FittedCnn, Error> {
    run(isa, None, architecture, params, data, resume, control)
}

/// [`fit`] that starts from the weights of another network instead of random ones.
///
/// The frozen layers come out bit by bit as they went in. They take part in the forward pass as all
/// do, dropout among them included, but below the first layer that is trained there is no backward
/// pass.
pub fn fine_tune(
    start: &StartFrom,
    architecture: &Architecture,
    params: &CnnParams,
    data: &ImageDataset,
    resume: Option<SharedBytes>,
    control: &dyn Control,
) -> Result<FittedCnn, Error> {
    run(Isa::detect(), Some(start), architecture, params, data, resume, control)
}

fn run(
    isa: Isa,
    start: Option<&StartFrom>,
    architecture: &Architecture,
    params: &CnnParams,
    data: &ImageDataset,
    resume: Option<SharedBytes>,
    control: &dyn Control,
) -> Result<FittedCnn, Error> {
    control.check()?;
    let classes = data.labels().len();
    if let [label] = data.labels() {
        return Err(Error::OneClass { label: label.clone() });
    }
    let network = match start {
        None => Network::new(architecture, classes, Purpose::Training)?,
        Some(start) => start.network(architecture, data.labels())?,
    };
    if data.shape() != network.input {
        let (got, expected) = (data.shape().to_string(), network.input.to_string());
        return Err(Error::Shape { got, expected });
    }
    let Shape::Image { channels, .. } = network.input else {
        return Err(Error::Normalization("needs images"));
    };
    let pixels = data.normalization.table(channels)?;
    let split = stratified(data.targets(), classes, params.validation_fraction, params.seed);
    let batch = params.batch_size.min(split.training.len());
    let labels = split.training.iter().map(|&row| data.targets()[row as usize]);
    let class_weights = params.class_weights.resolve(data.labels(), labels)?;
    let changes = params.augmentation.is_some();
    let mut trainer = Trainer::new(&network, isa, batch, params.seed, changes)?;
    if let Some(start) = start {
        start.fill(&network, data.labels(), params.seed, &mut trainer.weights)?;
    }
    let (trained, decaying) = (network.trained(), network.decaying());
    let mut optimizer = params.update.start(network.weights, trained, decaying)?;
    let training_rows = split.training.len() as u64;
    // The digest of the data knows labels by number only.
    let asked = format!("cnn {REVISION} {architecture:?} {params:?} {class_weights:?}");
    let mut digest = data.digest(control)?;
    if let Some(start) = start {
        start.note(&mut digest);
    }
    let key = TrainingKey::new(&asked, digest);
    let extent = Extent {
        epochs: params.epochs,
        stopping: params.stopping,
        training: training_rows.div_ceil(params.batch_size as u64),
        validation: split.validation.len().div_ceil(batch) as u64,
        validation_rows: split.validation.len() as u64,
    };
    let progress = match resume {
        None => Progress::start(),
        Some(checkpoint) => {
            let weights = &mut trainer.weights;
            Progress::resume(checkpoint, &key, &extent, weights, &mut optimizer)?
        }
    };
    let validation = split.validation.clone();
    let training = Training {
        params,
        data,
        pixels: &pixels,
        split,
        extent,
        trainer,
        optimizer,
        objective: Objective::new(params.label_smoothing, class_weights),
        plain: Objective::plain(classes),
        pace: Pace::new(params.schedule, params.warmup_fraction, extent.training, params.epochs),
        progress,
        key,
        control,
    };
    let Trained { weights, best_epoch, epochs } = training.run()?;
    let fitted = FittedCnn {
        network,
        weights,
        architecture: architecture.clone(),
        labels: data.labels().to_vec(),
        normalization: data.normalization.clone(),
        epochs,
        best_epoch,
        training_rows,
        temperature: 1.0,
        judged: None,
    };
    fitted.judge(data, &validation, control)
}

/// Bytes that [`fit`], one checkpoint of it and a dataset of `rows` images hold at most.
pub fn memory_needed(
    architecture: &Architecture,
    params: &CnnParams,
    rows: u64,
    classes: usize,
) -> Result<u64, Error> {
    let network = Network::new(architecture, classes, Purpose::Training)?;
    Ok(memory_of(&network, params, rows))
}

/// [`memory_needed`] of a network, of which layers may be frozen.
pub(crate) fn memory_of(network: &Network, params: &CnnParams, rows: u64) -> u64 {
    let batch = (params.batch_size as u64).min(rows) as usize;
    // The optimizer's memory, and the best epoch's weights; a checkpoint copies both, and the
    // weights.
    let kept = (params.update.moments() as u64 + 1) * network.weights as u64;
    let more = 2 * kept + network.weights as u64;
    let floats = floats_needed(network, batch).saturating_add(more);
    let dataset = rows.saturating_mul((network.input.len() + BYTES_PER_ROW) as u64);
    let changes = params.augmentation.is_some();
    let rasters = if changes { rasters_needed(network, batch) as u64 } else { 0 };
    let training = floats.saturating_mul(4).saturating_add(rasters);
    // What training held is given back before the finished network is judged, save its weights.
    let apart = (rows as f64 * params.validation_fraction) as u64 + network.classes as u64;
    let weights = 4 * network.weights as u64;
    let judging = memory_to_judge(network, apart).saturating_add(weights);
    training.max(judging).saturating_add(dataset)
}

struct Training<'a> {
    params: &'a CnnParams,
    data: &'a ImageDataset,
    pixels: &'a PixelTable,
    split: Split,
    extent: Extent,
    trainer: Trainer<'a>,
    optimizer: OptimizerState,
    /// What is asked of the images that are learned from, and of those kept apart.
    objective: Objective,
    plain: Objective,
    pace: Pace,
    progress: Progress,
    key: TrainingKey,
    control: &'a dyn Control,
}

struct Trained {
    weights: Floats,
    best_epoch: u32,
    epochs: Vec<Epoch>,
}

impl Training<'_> {
    fn run(mut self) -> Result<Trained, Error> {
        while !self.progress.is_over(&self.extent) {
            let begun = Instant::now();
            let epoch = self.progress.done() + 1;
            let loss = self.learn(epoch)?;
            let validation = self.validate()?;
            let done = Epoch { epoch, loss, validation };
            self.progress.finish_epoch(done, &self.extent, &self.trainer.weights)?;
            self.control.report(Step {
                step: epoch,
                of: self.params.epochs,
                loss,
                validation: validation.map(|validation| ("accuracy", validation.accuracy)),
                rows: self.split.training.len() as u64,
                elapsed: begun.elapsed(),
            });
            self.offer_checkpoint(Moment::EndOfStep);
        }
        let best_epoch = self.progress.best_epoch(&self.extent).unwrap_or(self.progress.done());
        let weights = self.progress.best.unwrap_or(self.trainer.weights);
        Ok(Trained { weights, best_epoch, epochs: self.progress.epochs })
    }

    fn offer_checkpoint(&self, moment: Moment) {
        let state = || self.progress.checkpoint(&self.key, &self.trainer.weights, &self.optimizer);
        self.control.checkpoint(moment, &state);
    }

    /// What is left of one pass over the training images in a new order; gives the mean loss.
    fn learn(&mut self, epoch: u32) -> Result<f64, Error> {
        let params = self.params;
        let before = u64::from(epoch - 1);
        let mut order = self.split.training.clone();
        Stream::new(params.seed, "epoch order", before).shuffle(&mut order);
        let batches = self.extent.training;
        let left = (0u64..).zip(order.chunks(params.batch_size));
        for (batch, rows) in left.skip(self.progress.learned.done as usize) {
            let step = before * batches + batch;
            let first = before * order.len() as u64 + batch * params.batch_size as u64;
            let learning = Learning {
                optimizer: &mut self.optimizer,
                rate: params.learning_rate * self.pace.factor(step),
                noise: Noise { seed: params.seed, first_image: first },
            };
            let changes = params.augmentation.as_ref().map(|augmentation| Changes {
                augmentation,
                seed: params.seed,
                before,
                partners: &self.split.training,
            });
            let (data, pixels, objective) = (self.data, self.pixels, &self.objective);
            let images = Batch { data, pixels, rows, objective, changes };
            let outcomes = self.trainer.step(images, learning, self.control)?;
            let learned = &mut self.progress.learned;
            learned.loss += outcomes.iter().map(|outcome| outcome.loss).sum::<f64>();
            learned.done = batch + 1;
            if !learned.loss.is_finite() {
                return Err(Error::Diverged { epoch });
            }
            self.offer_checkpoint(Moment::InsideStep);
        }
        if !self.trainer.weights.iter().all(|weight| weight.is_finite()) {
            return Err(Error::Diverged { epoch });
        }
        Ok(self.progress.learned.loss / order.len() as f64)
    }

    /// What is left of a look at the part kept apart.
    fn validate(&mut self) -> Result<Option<Validation>, Error> {
        let rows = self.split.validation.len() as u64;
        if rows == 0 {
            return Ok(None);
        }
        let left = (1u64..).zip(self.split.validation.chunks(self.trainer.batch()));
        for (done, rows) in left.skip(self.progress.looked.done as usize) {
            let (data, pixels, objective) = (self.data, self.pixels, &self.plain);
            let images = Batch { data, pixels, rows, objective, changes: None };
            let looked = &mut self.progress.looked;
            for Outcome { loss, hit, .. } in self.trainer.look(images, self.control)? {
                looked.loss += loss;
                looked.hits += u64::from(*hit);
            }
            looked.done = done;
            self.offer_checkpoint(Moment::InsideStep);
        }
        let Tally { loss, hits, .. } = self.progress.looked;
        let (loss, accuracy) = (loss / rows as f64, hits as f64 / rows as f64);
        Ok(Some(Validation { loss, accuracy, rows }))
    }
}
