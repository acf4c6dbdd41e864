//! Training of recommenders.

use std::sync::Arc;

use teller_numeric::Options;
use teller_payload::SharedBytes;
use teller_recommend::{AlgorithmParams, Interactions, InteractionsBuilder, memory_needed};

use crate::bridge::interrupts::StatementControl;
use crate::bridge::rhythm::Rhythm;
use crate::bridge::workers::{self, Event};
use crate::catalog::data::{self, Column, Kind, Query, RowsRead};
use crate::catalog::store::TrainedVersion;
use crate::error::Error;
use crate::settings;
use crate::training::{Fit, Trained, metrics, most};

const COLUMNS: [Column; 3] = [
    Column { name: "user_id", kind: Kind::Id, required: true },
    Column { name: "item_id", kind: Kind::Id, required: true },
    Column { name: "weight", kind: Kind::Number, required: false },
];

/// Checked options of a recommender.
pub struct Plan(AlgorithmParams);

impl Plan {
    pub fn read(options: &mut Options) -> Result<Self, Error> {
        Ok(Self(AlgorithmParams::read(options)?))
    }

    pub fn seed(&self) -> Option<u64> {
        self.0.seed()
    }

    /// Reads and checks the data.
    pub fn prepare(&self, query: Query) -> Result<(Box<dyn Fit + '_>, RowsRead), Error> {
        let limit = settings::max_training_memory();
        let (data, read) = read_interactions(query, limit)?;
        let (users, items) = (data.users().len() as u64, data.items().len() as u64);
        let texts = data.users().text_bytes() + data.items().text_bytes();
        let needed = |algorithm: &AlgorithmParams| {
            memory_needed(algorithm, users, items, data.len() as u64, texts)
        };
        if needed(&self.0) > limit {
            let what = format!("{} interactions of {users} users with {items} items", data.len());
            let fits = most(1..=1024, |factors| {
                let fewer = self.0.with_fewer_factors(factors as usize);
                fewer.is_some_and(|algorithm| needed(&algorithm) <= limit)
            });
            let fits = fits.map(|factors| format!("{factors} factors"));
            let needed = needed(&self.0);
            return Err(Error::TrainingMemory { what, needed, limit, fits });
        }
        Ok((Box::new(Prepared { algorithm: &self.0, data }), read))
    }
}

struct Prepared<'p> {
    algorithm: &'p AlgorithmParams,
    data: Interactions,
}

impl Fit for Prepared<'_> {
    fn step_noun(&self) -> &'static str {
        match self.algorithm {
            AlgorithmParams::Svd(_) => "iteration",
            _ => "sweep",
        }
    }

    fn fit(
        &self,
        resume: Option<SharedBytes>,
        rhythm: &Rhythm,
        on_event: &mut dyn FnMut(Event) -> Result<(), Error>,
    ) -> Result<Trained, Error> {
        let fitted = workers::run(
            settings::threads(),
            rhythm,
            |control| teller_recommend::fit(self.algorithm, &self.data, resume, control),
            on_event,
        )??;
        let share = |(name, part)| (name, Arc::new(part));
        Ok(Trained {
            algorithm: self.algorithm.name(),
            model: serde_json::json!({}),
            metrics: metrics(fitted.metrics.iter().copied()),
            version: TrainedVersion {
                parts: fitted.parts().into_iter().map(share).collect(),
                records: Vec::new(),
            },
        })
    }
}

/// Reads the interactions of a query into one data set of at most `limit` bytes.
pub fn read_interactions(query: Query, limit: u64) -> Result<(Interactions, RowsRead), Error> {
    let mut builder = InteractionsBuilder::new(limit);
    let rows = data::read(query, &COLUMNS, |row| {
        row.id(0, |user| {
            row.id(1, |item| {
                let weight = row.number_of(2)?.unwrap_or(1.0) as f32;
                builder.push(user, item, weight).map_err(|error| match error.into() {
                    Error::TrainingMemory { what, needed, limit, .. } => {
                        let fits = Some(format!("fewer than {} interactions", row.number()));
                        Error::TrainingMemory { what, needed, limit, fits }
                    }
                    other => other,
                })
            })
        })??
    })?;
    Ok((builder.finish(&StatementControl)?, rows))
}
