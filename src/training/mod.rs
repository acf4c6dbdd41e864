//! Training: from arguments to a stored version, in one transaction or committing as it goes.

mod autoencoding;
mod check;
mod confusion;
mod evaluation;
mod fold_in;
mod gate;
mod generation;
mod image_classification;
mod image_generation;
mod image_rows;
mod progress;
mod promotion;
mod recommendation;
mod retrain;
mod sequence_classification;
mod sequence_rows;
mod side_data;
mod start;
mod text_classification;
mod train;

use std::ops::RangeInclusive;
use std::time::Instant;

use serde_json::{Map, Value};
use teller_numeric::Options;
use teller_payload::SharedBytes;

use crate::bridge::identity;
use crate::bridge::memory::MemoryWatch;
use crate::bridge::rhythm::Rhythm;
use crate::bridge::sandbox::Reader;
use crate::bridge::workers::Event;
use crate::catalog::data::{Query, RowsRead};
use crate::catalog::manifest::{Definition, Lineage, Manifest, Task};
use crate::catalog::store::TrainedVersion;
use crate::catalog::timestamp;
use crate::error::Error;
use generation::Algorithm;
use promotion::Promotion;
use start::Trainee;
use teller_nn::GenerationParams;

pub use check::retrain_check;
pub use evaluation::evaluate_version;
pub use fold_in::fold_in;
pub use retrain::retrain;
pub use train::{Request, train};

/// Data that was read and checked, and the parameters to train with.
trait Fit {
    /// What a step is called.
    fn step_noun(&self) -> &'static str;

    /// Trains; from the checkpoint `resume`, if there is one, to the same result as without.
    fn fit(
        &self,
        resume: Option<SharedBytes>,
        rhythm: &Rhythm,
        on_event: &mut dyn FnMut(Event) -> Result<(), Error>,
    ) -> Result<Trained, Error>;
}

/// What a task's training gives.
struct Trained {
    algorithm: &'static str,
    model: Value,
    metrics: Map<String, Value>,
    version: TrainedVersion,
}

/// Figures as the JSON of a manifest; whole ones without a fraction.
fn metrics<'a>(figures: impl IntoIterator<Item = (&'a str, f64)>) -> Map<String, Value> {
    let number = |value: f64| {
        if value.fract() == 0.0 && value.abs() < 1e15 {
            Value::from(value as i64)
        } else {
            value.into()
        }
    };
    figures.into_iter().map(|(name, value)| (name.to_owned(), number(value))).collect()
}

/// The largest number in `range` that fits, if the smallest does; what fits, fits with less.
fn most(range: RangeInclusive<u64>, fits: impl Fn(u64) -> bool) -> Option<u64> {
    let (mut low, mut high) = range.into_inner();
    if !fits(low) {
        return None;
    }
    while low < high {
        let middle = high - (high - low) / 2;
        if fits(middle) { low = middle } else { high = middle - 1 }
    }
    Some(low)
}

/// The checked options of a training.
struct Plan {
    engine: Engine,
    promotion: Promotion,
}

/// A task's checked options.
enum Engine {
    ImageClassification(Box<image_classification::Plan>),
    TextClassification(Box<text_classification::Plan>),
    SequenceClassification(Box<sequence_classification::Plan>),
    Recommendation(recommendation::Plan),
    Generation(generation::Plan),
    ImageGeneration(image_generation::Plan),
    Autoencoding(autoencoding::Plan),
}

impl Plan {
    /// Checks the options, and fixes in the definition what they lead to.
    fn read(definition: &mut Definition, trainee: Trainee) -> Result<Self, Error> {
        let Definition { task, options, start_from, .. } = definition;
        let mut options = Options::new(task.name(), options)?;
        let promotion = Promotion::read(&mut options)?;
        let engine = match task {
            Task::ImageClassification => Engine::ImageClassification(Box::new(
                image_classification::Plan::read(&mut options, start_from, trainee)?,
            )),
            Task::TextClassification => {
                let plan = text_classification::Plan::read(&mut options)?;
                Engine::TextClassification(Box::new(plan))
            }
            Task::SequenceClassification => {
                let plan = sequence_classification::Plan::read(&mut options)?;
                Engine::SequenceClassification(Box::new(plan))
            }
            Task::Recommendation => {
                // A version that others were folded in from is trained from nothing.
                *start_from = None;
                Engine::Recommendation(recommendation::Plan::read(&mut options)?)
            }
            Task::Generation => match Algorithm::read(&mut options)? {
                Algorithm::Gan => {
                    Engine::ImageGeneration(image_generation::Plan::read(&mut options)?)
                }
                Algorithm::TabularGan => {
                    let params = GenerationParams::read_gan(&mut options)?;
                    Engine::Generation(generation::Plan::read(params, &mut options)?)
                }
                Algorithm::TabularVae => {
                    let params = GenerationParams::read_vae(&mut options)?;
                    Engine::Generation(generation::Plan::read(params, &mut options)?)
                }
            },
            Task::Autoencoding => Engine::Autoencoding(autoencoding::Plan::read(&mut options)?),
        };
        options.finish()?;
        Ok(Self { engine, promotion })
    }

    fn seed(&self) -> Option<u64> {
        match &self.engine {
            Engine::ImageClassification(plan) => Some(plan.seed()),
            Engine::TextClassification(plan) => Some(plan.seed()),
            Engine::SequenceClassification(plan) => Some(plan.seed()),
            Engine::Recommendation(plan) => plan.seed(),
            Engine::Generation(plan) => Some(plan.seed()),
            Engine::ImageGeneration(plan) => Some(plan.seed()),
            Engine::Autoencoding(plan) => Some(plan.seed()),
        }
    }

    fn prepare(&self, data: &str, reader: Reader) -> Result<(Box<dyn Fit + '_>, RowsRead), Error> {
        let query = Query { text: data, reader };
        match &self.engine {
            Engine::ImageClassification(plan) => plan.prepare(query),
            Engine::TextClassification(plan) => plan.prepare(query),
            Engine::SequenceClassification(plan) => plan.prepare(query),
            Engine::Recommendation(plan) => plan.prepare(query),
            Engine::Generation(plan) => plan.prepare(query),
            Engine::ImageGeneration(plan) => plan.prepare(query),
            Engine::Autoencoding(plan) => plan.prepare(query),
        }
    }
}

/// Time and memory of a training.
struct Meter {
    began: Instant,
    memory: MemoryWatch,
    /// Of attempts that were interrupted.
    earlier: (f64, Option<u64>),
}

impl Meter {
    fn start() -> Self {
        Self { began: Instant::now(), memory: MemoryWatch::start(), earlier: (0.0, None) }
    }

    /// The lineage as far as it is known when the rows have been read.
    fn lineage(&self, plan: &Plan, rows: RowsRead) -> Lineage {
        self.lineage_of(plan.seed(), rows)
    }

    fn lineage_of(&self, seed: Option<u64>, rows: RowsRead) -> Lineage {
        let mut lineage = Lineage {
            rows: rows.rows,
            rows_digest: Some(rows.digest),
            seed,
            extension: env!("CARGO_PKG_VERSION").to_owned(),
            trained_by: identity::role_name(identity::current_user()),
            trained_at: timestamp::statement_start(),
            seconds: 0.0,
            peak_memory: None,
            folded_in: None,
        };
        self.note(&mut lineage);
        lineage
    }

    /// Goes on from what earlier attempts took.
    fn resume(&mut self, lineage: &Lineage) {
        self.earlier = (lineage.seconds, lineage.peak_memory);
    }

    /// Writes down what was taken by now.
    fn note(&self, lineage: &mut Lineage) {
        let (seconds, peak) = self.earlier;
        lineage.seconds = seconds + self.began.elapsed().as_secs_f64();
        lineage.peak_memory = peak.max(Some(self.memory.peak()));
    }
}

/// The manifest of what was trained, and its numbers.
fn manifest(
    definition: Definition,
    lineage: Lineage,
    trained: Trained,
) -> (Manifest, TrainedVersion) {
    let Trained { algorithm, model, metrics, version } = trained;
    let (parts, digest) = version.describe();
    let algorithm = algorithm.to_owned();
    (Manifest { definition, lineage, algorithm, model, metrics, parts, digest }, version)
}
