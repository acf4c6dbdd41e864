//! The training of networks that classify images.

use teller_numeric::{Control, Isa};
use teller_payload::{SharedBytes, TrainingKey};

use crate::batch::{Batch, Changes};
use crate::dataset::BYTES_PER_ROW;
use crate::fitted::{FittedCnn, memory_to_judge};
use crate::floats::Floats;
use crate::labels::at_least_two;
use crate::layer::Noise;
use crate::network::{Network, Purpose};
use crate::normalization::PixelTable;
use crate::objective::Objective;
use crate::optimizer::OptimizerState;
use crate::trainer::{Learning, Trainer, floats_needed, rasters_needed};
use crate::training::{
    Course, Learner, Look, REVISION, Trained, TrainingStep, memory_of_state, stratified,
};
use crate::{Architecture, CnnParams, Error, ImageDataset, Shape, StartFrom};

/// Trains a network on the threads of the ambient rayon pool, reporting a step for every epoch.
///
/// Of the epochs the best one counts, by what the params' `stopping` watches on the part kept apart; its
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
    at_least_two(data.labels())?;
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
    let CnnParams { training, augmentation } = params;
    let split = stratified(data.targets(), classes, training.validation_fraction, training.seed);
    let labels = split.training.iter().map(|&row| data.targets()[row as usize]);
    let class_weights = training.class_weights.resolve(data.labels(), labels)?;
    let (batch, changes) = (split.batch(training), augmentation.is_some());
    let mut trainer = Trainer::new(&network, isa, batch, training.seed, changes)?;
    if let Some(start) = start {
        start.fill(&network, data.labels(), training.seed, &mut trainer.weights)?;
    }
    let (trained, decaying) = (network.trained(), network.decaying());
    let optimizer = training.update.start(network.weights, trained, decaying)?;
    // The digest of the data knows labels by number only.
    let asked = format!("cnn {REVISION} {architecture:?} {params:?} {class_weights:?}");
    let mut digest = data.digest(control)?;
    if let Some(start) = start {
        start.note(&mut digest);
    }
    let course = Course { params: training, split: &split, key: TrainingKey::new(&asked, digest) };
    let learner = ImageLearner {
        params,
        data,
        pixels: &pixels,
        partners: &split.training,
        trainer,
        optimizer,
        objective: Objective::new(training.label_smoothing, class_weights),
        plain: Objective::plain(classes),
    };
    let Trained { weights, best_epoch, epochs } = course.run(learner, resume, control)?;
    let fitted = FittedCnn {
        network,
        weights,
        architecture: architecture.clone(),
        labels: data.labels().to_vec(),
        normalization: data.normalization.clone(),
        epochs,
        best_epoch,
        training_rows: split.training.len() as u64,
        temperature: 1.0,
        judged: None,
    };
    fitted.judge(data, &split.validation, control)
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
    let batch = (params.training.batch_size as u64).min(rows) as usize;
    let dataset = rows.saturating_mul((network.input.len() + BYTES_PER_ROW) as u64);
    let changes = params.augmentation.is_some();
    let rasters = if changes { rasters_needed(network, batch) as u64 } else { 0 };
    let training = floats_needed(network, batch)
        .saturating_mul(4)
        .saturating_add(memory_of_state(&params.training, network.weights))
        .saturating_add(rasters);
    // What training held is given back before the finished network is judged, save its weights.
    let apart = (rows as f64 * params.training.validation_fraction) as u64 + network.classes as u64;
    let weights = 4 * network.weights as u64;
    let judging = memory_to_judge(network, apart).saturating_add(weights);
    training.max(judging).saturating_add(dataset)
}

/// A network that learns from images.
struct ImageLearner<'a> {
    params: &'a CnnParams,
    data: &'a ImageDataset,
    pixels: &'a PixelTable,
    /// Rows that images may be mixed with.
    partners: &'a [u32],
    trainer: Trainer<'a>,
    optimizer: OptimizerState,
    /// What is asked of the images that are learned from, and of those kept apart.
    objective: Objective,
    plain: Objective,
}

impl Learner for ImageLearner<'_> {
    fn state(&self) -> (&Floats, &OptimizerState) {
        (&self.trainer.weights, &self.optimizer)
    }

    fn state_mut(&mut self) -> (&mut Floats, &mut OptimizerState) {
        (&mut self.trainer.weights, &mut self.optimizer)
    }

    fn into_weights(self) -> Floats {
        self.trainer.weights
    }

    fn step(&mut self, step: TrainingStep<'_>, control: &dyn Control) -> Result<f64, Error> {
        let TrainingStep { rows, before, first, rate } = step;
        let seed = self.params.training.seed;
        let noise = Noise { seed, first_image: first };
        let learning = Learning { optimizer: &mut self.optimizer, rate, noise };
        let augmentation = self.params.augmentation.as_ref();
        let partners = self.partners;
        let changes =
            augmentation.map(|augmentation| Changes { augmentation, seed, before, partners });
        let (data, pixels, objective) = (self.data, self.pixels, &self.objective);
        let images = Batch { data, pixels, rows, objective, changes };
        let outcomes = self.trainer.step(images, learning, control)?;
        Ok(outcomes.iter().map(|outcome| outcome.loss).sum())
    }

    fn look(&mut self, rows: &[u32], control: &dyn Control) -> Result<Look, Error> {
        let (data, pixels, objective) = (self.data, self.pixels, &self.plain);
        let images = Batch { data, pixels, rows, objective, changes: None };
        let mut look = Look::default();
        for outcome in self.trainer.look(images, control)? {
            look.loss += outcome.loss;
            look.figure += f64::from(u8::from(outcome.hit));
        }
        Ok(look)
    }
}
