//! Training of sequence classifiers.

use teller_nn::{SequenceDataset, SequenceDatasetBuilder, SequenceParams};
use teller_numeric::Options;
use teller_payload::SharedBytes;

use crate::bridge::rhythm::Rhythm;
use crate::bridge::workers::{self, Event};
use crate::cache::{ClassifierInfo, WEIGHTS};
use crate::catalog::data::{self, Column, Kind, Query, RowsRead};
use crate::catalog::store::{CONFUSION, TrainedVersion};
use crate::error::Error;
use crate::settings;
use crate::training::confusion::confusion;
use crate::training::{Fit, Trained, metrics};

const COLUMNS: [Column; 3] = [
    Column { name: "sequence", kind: Kind::Numbers, required: true },
    Column { name: "static", kind: Kind::Numbers, required: false },
    Column { name: "label", kind: Kind::Label, required: true },
];

/// Checked options of a sequence classifier.
pub struct Plan {
    params: SequenceParams,
}

impl Plan {
    pub fn read(options: &mut Options) -> Result<Self, Error> {
        Ok(Self { params: SequenceParams::read(options)? })
    }

    pub fn seed(&self) -> u64 {
        self.params.training.seed
    }

    /// Reads and checks the data.
    pub fn prepare(&self, query: Query) -> Result<(Box<dyn Fit + '_>, RowsRead), Error> {
        let limit = settings::max_training_memory();
        let (builder, read) = read_dataset(query, self.params.max_steps, limit)?;
        let dataset = builder.finish()?;
        let needed = teller_nn::sequence_memory_needed(&self.params, &dataset)?;
        if needed > limit {
            let what = format!("{} sequences", dataset.len());
            let fits = Some("fewer units, steps, or sequences in a batch".to_owned());
            return Err(Error::TrainingMemory { what, needed, limit, fits });
        }
        Ok((Box::new(Prepared { params: &self.params, dataset }), read))
    }
}

struct Prepared<'p> {
    params: &'p SequenceParams,
    dataset: SequenceDataset,
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
        let Self { params, dataset } = self;
        let fitted = workers::run(
            settings::threads(),
            rhythm,
            |control| teller_nn::fit_sequences(params, dataset, resume, control),
            on_event,
        )??;
        let figures = fitted.metrics();
        Ok(Trained {
            algorithm: fitted.algorithm,
            model: ClassifierInfo::of(&fitted)?,
            metrics: metrics(figures.iter().map(|(name, value)| (&**name, *value))),
            version: TrainedVersion {
                parts: vec![(WEIGHTS.into(), fitted.payload())],
                records: vec![(CONFUSION, confusion(&fitted.labels, fitted.confusion()))],
            },
        })
    }
}

/// The sequences of a query, at most `limit` bytes of them; of each, the last `max_steps` steps.
pub fn read_dataset(
    query: Query,
    max_steps: usize,
    limit: u64,
) -> Result<(SequenceDatasetBuilder, RowsRead), Error> {
    let mut builder = SequenceDatasetBuilder::new(max_steps);
    let (mut sequence, mut statics) = (Vec::new(), Vec::new());
    let rows = data::read(query, &COLUMNS, |row| {
        let copy = |to: &mut Vec<f32>, from: &[f32]| {
            to.clear();
            to.extend_from_slice(from);
        };
        let width = row.numbers(0, |numbers, width| {
            copy(&mut sequence, numbers);
            width
        })?;
        row.numbers(1, |numbers, _| copy(&mut statics, numbers))?;
        row.text(2, |label| builder.push(&sequence, width, &statics, label))?
            .map_err(|source| refusal(row.number(), source))?;
        let needed = builder.memory();
        if needed > limit {
            let what = format!("the first {} sequences", row.number());
            let fits = Some(format!("{} sequences", row.number() - 1));
            return Err(Error::TrainingMemory { what, needed, limit, fits });
        }
        Ok(())
    })?;
    Ok((builder, rows))
}

/// What is wrong with a row.
fn refusal(row: u64, source: teller_nn::Error) -> Error {
    let what = format!("row {row} of the data: {source}");
    match source {
        teller_nn::Error::NotFinite => Error::NumberInData(what),
        teller_nn::Error::EmptySequence | teller_nn::Error::SequenceWidth { .. } => {
            Error::Data(what)
        }
        other => other.into(),
    }
}
