//! Training of text classifiers.

use teller_nn::{PreparedTexts, TextDataset, TextDatasetBuilder, TextParams};
use teller_numeric::Options;
use teller_payload::SharedBytes;

use crate::bridge::interrupts::StatementControl;
use crate::bridge::rhythm::Rhythm;
use crate::bridge::workers::{self, Event};
use crate::cache::{ClassifierInfo, WEIGHTS};
use crate::catalog::data::{self, Column, Kind, Query, RowsRead};
use crate::catalog::store::{CONFUSION, TrainedVersion};
use crate::error::Error;
use crate::settings;
use crate::training::confusion::confusion;
use crate::training::{Fit, Trained, metrics};

const COLUMNS: [Column; 2] = [
    Column { name: "text", kind: Kind::Label, required: true },
    Column { name: "label", kind: Kind::Label, required: true },
];

/// Checked options of a text classifier.
pub struct Plan {
    params: TextParams,
}

impl Plan {
    pub fn read(options: &mut Options) -> Result<Self, Error> {
        Ok(Self { params: TextParams::read(options)? })
    }

    pub fn seed(&self) -> u64 {
        self.params.training().seed
    }

    /// Reads and checks the data.
    pub fn prepare(&self, query: Query) -> Result<(Box<dyn Fit + '_>, RowsRead), Error> {
        let (builder, read) = read_dataset(query, settings::max_training_memory())?;
        Ok((Box::new(Prepared { params: &self.params, dataset: builder.finish()? }), read))
    }
}

struct Prepared<'p> {
    params: &'p TextParams,
    dataset: TextDataset,
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
        let prepared = PreparedTexts::new(self.params, &self.dataset, &StatementControl)?;
        let (needed, limit) = (prepared.memory_needed(), settings::max_training_memory());
        if needed > limit {
            let labels = self.dataset.labels().len();
            let what = format!("{} texts of {labels} labels", self.dataset.len());
            let fits = Some("fewer max_terms, units or texts in a batch".to_owned());
            return Err(Error::TrainingMemory { what, needed, limit, fits });
        }
        let fitted = workers::run(
            settings::threads(),
            rhythm,
            |control| prepared.fit(resume, control),
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

/// The texts of a query, at most `limit` bytes of them.
pub fn read_dataset(query: Query, limit: u64) -> Result<(TextDatasetBuilder, RowsRead), Error> {
    let mut builder = TextDatasetBuilder::default();
    let mut label = String::new();
    let mut text = String::new();
    let rows = data::read(query, &COLUMNS, |row| {
        let copy = |to: &mut String, from: &str| {
            to.clear();
            to.push_str(from);
        };
        row.text(0, |given| copy(&mut text, given))?;
        row.text(1, |given| copy(&mut label, given))?;
        builder.push(&text, &label)?;
        let needed = builder.memory();
        if needed > limit {
            let what = format!("the first {} texts", row.number());
            let fits = Some(format!("{} texts", row.number() - 1));
            return Err(Error::TrainingMemory { what, needed, limit, fits });
        }
        Ok(())
    })?;
    Ok((builder, rows))
}
