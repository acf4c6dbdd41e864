//! A training from the first epoch to the last, or until it no longer gets better.

use std::time::Instant;

use teller_numeric::{Control, Isa, Moment, Step, Stream};
use teller_payload::{SharedBytes, TrainingKey};

use crate::fitted::{Epoch, FittedCnn, Validation};
use crate::floats::Floats;
use crate::layer::Noise;
use crate::network::{Network, Purpose};
use crate::normalization::PixelTable;
use crate::optimizer::OptimizerState;
use crate::progress::{Extent, Progress, REVISION, Tally};
use crate::split::{Split, stratified};
use crate::trainer::{Batch, Learning, Outcome, Trainer, floats_needed};
use crate::{Architecture, CnnParams, Error, ImageDataset, Shape};

/// Trains a network on the threads of the ambient rayon pool, reporting a step for every epoch.
///
/// Of the epochs, the one with the highest validation accuracy counts, of equal ones the one with
/// the lowest validation loss; its weights are the result. `params.patience` epochs without a
/// better one end the training. Without a validation part the last weights are the result.
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
    control.check()?;
    let classes = data.labels().len();
    if let [label] = data.labels() {
        return Err(Error::OneClass { label: label.clone() });
    }
    let network = Network::new(architecture, classes, Purpose::Training)?;
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
    let mut trainer = Trainer::new(&network, isa, batch, params.seed)?;
    let mut optimizer = params.optimizer.start(network.weights)?;
    let training_rows = split.training.len() as u64;
    let asked = format!("cnn {REVISION} {architecture:?} {params:?}");
    let key = TrainingKey::new(&asked, data.digest(control)?);
    let extent = Extent {
        epochs: params.epochs,
        patience: params.patience,
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
    let training = Training {
        params,
        data,
        pixels: &pixels,
        split,
        extent,
        trainer,
        optimizer,
        progress,
        key,
        control,
    };
    let Trained { weights, best_epoch, epochs } = training.run()?;
    Ok(FittedCnn {
        network,
        weights,
        architecture: architecture.clone(),
        labels: data.labels().to_vec(),
        normalization: data.normalization.clone(),
        epochs,
        best_epoch,
        training_rows,
    })
}

/// Bytes that [`fit`], one checkpoint of it and a dataset of `rows` images hold at most.
pub fn memory_needed(
    architecture: &Architecture,
    params: &CnnParams,
    rows: u64,
    classes: usize,
) -> Result<u64, Error> {
    let network = Network::new(architecture, classes, Purpose::Training)?;
    let batch = (params.batch_size as u64).min(rows) as usize;
    // The optimizer's memory, and the best epoch's weights; a checkpoint copies both, and the
    // weights.
    let kept = (params.optimizer.moments() as u64 + 1) * network.weights as u64;
    let more = 2 * kept + network.weights as u64;
    let floats = floats_needed(&network, batch).saturating_add(more);
    // The raster, the target and two row numbers.
    let dataset = rows.saturating_mul(network.input.len() as u64 + 12);
    Ok(floats.saturating_mul(4).saturating_add(dataset))
}

struct Training<'a> {
    params: &'a CnnParams,
    data: &'a ImageDataset,
    pixels: &'a PixelTable,
    split: Split,
    extent: Extent,
    trainer: Trainer<'a>,
    optimizer: OptimizerState,
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
            self.progress.finish_epoch(Epoch { epoch, loss, validation }, &self.trainer.weights)?;
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
        let best_epoch = self.progress.best_epoch().unwrap_or(self.progress.done());
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
            let factor = params.schedule.factor(step, batches * u64::from(params.epochs));
            let first = before * order.len() as u64 + batch * params.batch_size as u64;
            let learning = Learning {
                optimizer: &mut self.optimizer,
                rate: params.learning_rate * factor,
                noise: Noise { seed: params.seed, first_image: first },
            };
            let images = Batch { data: self.data, pixels: self.pixels, rows };
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
            let images = Batch { data: self.data, pixels: self.pixels, rows };
            let looked = &mut self.progress.looked;
            for Outcome { loss, hit } in self.trainer.look(images, self.control)? {
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
