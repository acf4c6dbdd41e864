//! A training from the first epoch to the last, or until it no longer gets better.

use std::time::Instant;

use teller_numeric::{Control, Isa, Step, Stream};

use crate::fitted::{Epoch, FittedCnn, Validation};
use crate::floats::Floats;
use crate::layer::Noise;
use crate::network::{Network, Purpose};
use crate::normalization::PixelTable;
use crate::optimizer::OptimizerState;
use crate::split::{Split, stratified};
use crate::trainer::{Batch, Learning, Outcome, Trainer, floats_needed};
use crate::{Architecture, CnnParams, Error, ImageDataset, Shape};

/// Trains a network on the threads of the ambient rayon pool, reporting a step for every epoch.
///
/// Of the epochs, the one with the highest validation accuracy counts, of equal ones the one with
/// the lowest validation loss; its weights are the result. `params.patience` epochs without a
/// better one end the training. Without a validation part the last weights are the result.
///
/// The same data, in the same order, and the same parameters give the same weights, bit by bit.
pub fn fit(
    architecture: &Architecture,
    params: &CnnParams,
    data: &ImageDataset,
    control: &dyn Control,
) -> Result<FittedCnn, Error> {
    fit_on(Isa::detect(), architecture, params, data, control)
}

/// [`fit`] on a chosen instruction set.
pub fn fit_on(
    isa: Isa,
    architecture: &Architecture,
    params: &CnnParams,
    data: &ImageDataset,
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
    let trainer = Trainer::new(&network, isa, batch, params.seed)?;
    let optimizer = params.optimizer.start(network.weights)?;
    let training_rows = split.training.len() as u64;
    let training = Training { params, data, pixels: &pixels, split, trainer, optimizer, control };
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

/// Bytes that [`fit`] and a dataset of `rows` images hold at most.
pub fn memory_needed(
    architecture: &Architecture,
    params: &CnnParams,
    rows: u64,
    classes: usize,
) -> Result<u64, Error> {
    let network = Network::new(architecture, classes, Purpose::Training)?;
    let batch = (params.batch_size as u64).min(rows) as usize;
    // The optimizer's memory, and the best epoch's weights.
    let more = (params.optimizer.moments() as u64 + 1) * network.weights as u64;
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
    trainer: Trainer<'a>,
    optimizer: OptimizerState,
    control: &'a dyn Control,
}

struct Trained {
    weights: Floats,
    best_epoch: u32,
    epochs: Vec<Epoch>,
}

impl Training<'_> {
    fn run(mut self) -> Result<Trained, Error> {
        let mut epochs = Vec::new();
        let mut best: Option<(Validation, u32, Floats)> = None;
        for epoch in 1..=self.params.epochs {
            let begun = Instant::now();
            let loss = self.learn(epoch)?;
            let validation = self.validate()?;
            epochs.push(Epoch { epoch, loss, validation });
            self.control.report(Step {
                step: epoch,
                of: self.params.epochs,
                loss,
                validation: validation.map(|validation| ("accuracy", validation.accuracy)),
                rows: self.split.training.len() as u64,
                elapsed: begun.elapsed(),
            });
            let Some(validation) = validation else { continue };
            match &mut best {
                Some((so_far, since, _)) if !validation.is_better_than(so_far) => {
                    if self.params.patience > 0 && epoch - *since >= self.params.patience {
                        break;
                    }
                }
                Some((so_far, since, weights)) => {
                    (*so_far, *since) = (validation, epoch);
                    weights.copy_from_slice(&self.trainer.weights);
                }
                None => {
                    let mut weights = Floats::zeros(self.trainer.weights.len())?;
                    weights.copy_from_slice(&self.trainer.weights);
                    best = Some((validation, epoch, weights));
                }
            }
        }
        let (weights, best_epoch) = match best {
            Some((_, epoch, weights)) => (weights, epoch),
            None => (self.trainer.weights, epochs.len() as u32),
        };
        Ok(Trained { weights, best_epoch, epochs })
    }

    /// One pass over the training images in a new order; gives the mean loss.
    fn learn(&mut self, epoch: u32) -> Result<f64, Error> {
        let params = self.params;
        let before = u64::from(epoch - 1);
        let mut order = self.split.training.clone();
        Stream::new(params.seed, "epoch order", before).shuffle(&mut order);
        let batches = order.len().div_ceil(params.batch_size) as u64;
        let mut loss = 0.0;
        for (batch, rows) in (0u64..).zip(order.chunks(params.batch_size)) {
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
            loss += outcomes.iter().map(|outcome| outcome.loss).sum::<f64>();
            if !loss.is_finite() {
                return Err(Error::Diverged { epoch });
            }
        }
        if !self.trainer.weights.iter().all(|weight| weight.is_finite()) {
            return Err(Error::Diverged { epoch });
        }
        Ok(loss / order.len() as f64)
    }

    fn validate(&mut self) -> Result<Option<Validation>, Error> {
        let rows = self.split.validation.len();
        if rows == 0 {
            return Ok(None);
        }
        let (mut loss, mut hits) = (0.0, 0u64);
        for rows in self.split.validation.chunks(self.trainer.batch()) {
            let images = Batch { data: self.data, pixels: self.pixels, rows };
            for Outcome { loss: one, hit } in self.trainer.look(images, self.control)? {
                loss += one;
                hits += u64::from(*hit);
            }
        }
        let (loss, accuracy) = (loss / rows as f64, hits as f64 / rows as f64);
        Ok(Some(Validation { loss, accuracy, rows: rows as u64 }))
    }
}

impl Validation {
    fn is_better_than(&self, other: &Self) -> bool {
        self.accuracy > other.accuracy
            || (self.accuracy == other.accuracy && self.loss < other.loss)
    }
}
