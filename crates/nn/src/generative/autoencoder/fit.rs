//! The training of autoencoders, and how well they do.

use std::sync::Arc;

use teller_numeric::{Control, Isa, Stream};
use teller_payload::{AlignedBytes, SharedBytes, TrainingKey};

use super::batch::{Asked, Batch, Told};
use super::layout::{AutoencoderLayout, Layers};
use super::learner::{AutoencoderLearner, LOOKING, floats_needed};
use super::likelihood::Likelihood;
use super::scale::Scale;
use super::usual::Usual;
use super::{Autoencoder, AutoencoderParams, Examples, payload};
use crate::Error;
use crate::fitted::Epoch;
use crate::floats::Floats;
use crate::generative::affine::Work;
use crate::training::{Course, REVISION, Trained, memory_of_state, stratified};

/// Rows that are looked at together after the training.
const BATCH: usize = 256;
/// Losses of training rows that are kept, at most.
const LOSSES: usize = 4096;

/// What [`fit_autoencoder`] gives.
#[derive(Debug)]
pub struct FittedAutoencoder {
    /// What was trained.
    pub layout: AutoencoderLayout,
    weights: Floats,
    scale: Scale,
    usual: Usual,
    /// Nats beyond the usual, ascending.
    losses: Vec<f32>,
    /// All epochs that were run.
    pub epochs: Vec<Epoch>,
    /// The epoch whose weights these are, 1-based.
    pub best_epoch: u32,
    /// Rows learned from.
    pub training_rows: u64,
    /// On the part kept apart, if there is one.
    validation: Option<Figures>,
}

/// Means over rows.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Figures {
    rows: usize,
    /// Of codes that are drawn.
    reconstruction: f64,
    divergence: f64,
    /// Of each number, on the scale of the network, of codes that are means.
    squared_error: f64,
}

/// Trains an autoencoder on the threads of the ambient rayon pool, reporting a step for every
/// epoch. The best epoch is that of the lowest loss on the part kept apart.
///
/// The same rows, in the same order, and the same parameters give the same weights, bit by bit,
/// also when a training goes on from a checkpoint (`resume`) that an earlier call with the same
/// arguments offered to its control.
pub fn fit_autoencoder(
    params: &AutoencoderParams,
    examples: &Examples,
    resume: Option<SharedBytes>,
    control: &dyn Control,
) -> Result<FittedAutoencoder, Error> {
    fit_autoencoder_on(Isa::detect(), params, examples, resume, control)
}

/// [`fit_autoencoder`] on a chosen instruction set.
pub fn fit_autoencoder_on(
    isa: Isa,
    params: &AutoencoderParams,
    examples: &Examples,
    resume: Option<SharedBytes>,
    control: &dyn Control,
) -> Result<FittedAutoencoder, Error> {
    examples.check(params.likelihood)?;
    let layout = AutoencoderLayout::new(params, examples)?;
    let layers = &Layers::new(layout)?;
    let training = &params.training;
    let one_label = vec![0; examples.len()];
    let split = stratified(&one_label, 1, training.validation_fraction, training.seed);
    drop(one_label);
    let scale = Scale::of(params.likelihood, examples, &split.training, control)?;
    let asked = Asked { layers, scale: &scale, examples };
    let (batch, learned) = (split.batch(training), split.training.len());
    let learner = AutoencoderLearner::new(isa, asked, params, batch, learned)?;
    let question = format!("autoencoder {REVISION} {params:?}");
    let key = TrainingKey::new(&question, examples.digest(control)?);
    let course = Course { params: training, split: &split, key };
    let Trained { weights, best_epoch, epochs } = course.run(learner, resume, control)?;

    let work = Work { isa, control };
    let told = tell(&work, asked, &weights, &split.training, None)?;
    let (usual, mut losses) = Usual::of(asked, &split.training, &told, control)?;
    losses.sort_unstable_by(f32::total_cmp);
    let losses = evenly(&losses);
    let validation = match &*split.validation {
        [] => None,
        rows => Some(Figures::of(&work, asked, &weights, rows, training.seed)?),
    };
    let training_rows = learned as u64;
    Ok(FittedAutoencoder {
        layout,
        weights,
        scale,
        usual,
        losses,
        epochs,
        best_epoch,
        training_rows,
        validation,
    })
}

/// Bytes that [`fit_autoencoder`], one checkpoint of it and a data set of `rows` like those of
/// `examples` hold at most.
///
/// # Errors
/// Of a network that cannot be made of such rows.
pub fn autoencoder_memory(
    params: &AutoencoderParams,
    examples: &Examples,
    rows: u64,
) -> Result<u64, Error> {
    let layers = Layers::new(AutoencoderLayout::new(params, examples)?)?;
    let batch = (params.training.batch_size as u64).min(rows) as usize;
    let training = floats_needed(&layers, batch)
        .saturating_mul(4)
        .saturating_add(memory_of_state(&params.training, layers.weights));
    let looked = Batch::floats(&layers, BATCH.min(rows as usize));
    let looking = 4 * (layers.weights as u64).saturating_add(looked)
        + rows
            .saturating_mul((size_of::<Told>() + size_of::<[f64; 3]>() + size_of::<f32>()) as u64);
    // A row's places in the split and in an epoch's order.
    let data = rows.saturating_mul(examples.bytes_per_row() + 3 * size_of::<u32>() as u64);
    Ok(training.max(looking).saturating_add(data))
}

/// Figures of `teller.evaluate` over all rows of `examples`: `rows`, nats a row (`negative_elbo`
/// and its parts `reconstruction` and `divergence`, of codes drawn by a seed of its own), and
/// `mean_squared_error` of a number, on the network's scale.
pub fn evaluate_autoencoder(
    model: &Autoencoder,
    examples: &Examples,
    control: &dyn Control,
) -> Result<Vec<(String, f64)>, Error> {
    let layout = model.layout();
    examples.check(layout.likelihood)?;
    if examples.width() != layout.width {
        let (got, expected) = (examples.width(), layout.width);
        return Err(Error::RowLength { what: "features", got, expected });
    }
    let asked = Asked { layers: &model.layers, scale: &model.stored.scale, examples };
    let weights = model.stored.payload.get(model.stored.weights);
    let work = Work { isa: model.isa(), control };
    let rows: Vec<u32> = (0..examples.len() as u32).collect();
    Ok(Figures::of(&work, asked, weights, &rows, 0)?.named(""))
}

impl FittedAutoencoder {
    /// What it has learned, as stored.
    pub fn payload(&self) -> AlignedBytes {
        payload::write(&self.weights, &self.scale, &self.usual, &self.losses)
    }

    /// The network ready to be asked.
    pub fn autoencoder(&self) -> Result<Autoencoder, Error> {
        Autoencoder::load(self.layout, Arc::new(self.payload()))
    }

    /// Figures of the weights' own epoch, by name; see [`evaluate_autoencoder`].
    pub fn metrics(&self) -> Vec<(String, f64)> {
        let mut metrics = vec![
            ("epochs".to_owned(), self.epochs.len() as f64),
            ("best_epoch".to_owned(), f64::from(self.best_epoch)),
            ("training_rows".to_owned(), self.training_rows as f64),
        ];
        if let Some(best) = self.epochs.iter().find(|epoch| epoch.epoch == self.best_epoch) {
            metrics.push(("training_loss".to_owned(), best.loss));
        }
        metrics.extend(self.validation.iter().flat_map(|figures| figures.named("validation_")));
        metrics
    }
}

impl Figures {
    fn of(
        work: &Work<'_>,
        asked: Asked<'_>,
        weights: &[f32],
        rows: &[u32],
        seed: u64,
    ) -> Result<Self, Error> {
        let drawn = tell(work, asked, weights, rows, Some(seed))?;
        let mean = |figure: fn(&Told) -> f64, told: &[Told]| {
            told.iter().map(figure).sum::<f64>() / rows.len() as f64
        };
        let reconstruction = mean(|told| told.reconstruction, &drawn);
        let divergence = mean(|told| told.divergence, &drawn);
        drop(drawn);
        let means = tell(work, asked, weights, rows, None)?;
        let squared_error = mean(|told| told.squared_error, &means) / asked.examples.width() as f64;
        Ok(Self { rows: rows.len(), reconstruction, divergence, squared_error })
    }

    fn named(&self, prefix: &str) -> Vec<(String, f64)> {
        let Self { rows, reconstruction, divergence, squared_error } = *self;
        let figures = [
            ("rows", rows as f64),
            ("negative_elbo", reconstruction + divergence),
            ("reconstruction", reconstruction),
            ("divergence", divergence),
            ("mean_squared_error", squared_error),
        ];
        figures.map(|(name, value)| (format!("{prefix}{name}"), value)).to_vec()
    }
}

/// How well each of `rows` is told, by codes that are drawn by a seed or are means.
fn tell(
    work: &Work<'_>,
    asked: Asked<'_>,
    weights: &[f32],
    rows: &[u32],
    seed: Option<u64>,
) -> Result<Vec<Told>, Error> {
    let variances = Likelihood::variances(&weights[asked.layers.log_variances.clone()]);
    let mut batch = Batch::new(asked.layers, rows.len().min(BATCH))?;
    let mut told = vec![Told::default(); rows.len()];
    for (rows, told) in rows.chunks(BATCH).zip(told.chunks_mut(BATCH)) {
        match seed {
            None => batch.forward(work, asked, weights, rows, None)?,
            Some(seed) => {
                let noise = |row: usize| Stream::new(seed, LOOKING, rows[row].into());
                batch.forward(work, asked, weights, rows, Some(&noise))?;
            }
        }
        batch.judge(work, asked.layers, &variances, told)?;
    }
    Ok(told)
}

/// All of some ascending numbers, or as many as are kept, from the least to the greatest.
fn evenly(ascending: &[f32]) -> Vec<f32> {
    let last = ascending.len().saturating_sub(1);
    if last < LOSSES {
        return ascending.to_vec();
    }
    (0..LOSSES).map(|place| ascending[place * last / (LOSSES - 1)]).collect()
}
