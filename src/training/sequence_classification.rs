//! Training of sequence classifiers.

use teller_nn::{SequenceDataset, SequenceParams};
use teller_numeric::Options;
use teller_payload::SharedBytes;

use crate::bridge::rhythm::Rhythm;
use crate::bridge::workers::{self, Event};
use crate::cache::{ClassifierInfo, WEIGHTS};
use crate::catalog::data::{Query, RowsRead};
use crate::catalog::store::{CONFUSION, TrainedVersion};
use crate::error::Error;
use crate::settings;
use crate::training::confusion::confusion;
use crate::training::sequence_rows::read_dataset;
use crate::training::{Fit, Trained, metrics};

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
