//! Training of recommenders.

use std::sync::Arc;

use teller_numeric::Options;
use teller_payload::SharedBytes;
use teller_recommend::{
    Algorithm, Dataset, Interactions, InteractionsBuilder, Size, memory_needed, read_training,
};

use crate::bridge::interrupts::StatementControl;
use crate::bridge::messages;
use crate::bridge::rhythm::Rhythm;
use crate::bridge::workers::{self, Event};
use crate::catalog::data::{self, Column, Kind, Query, RowsRead};
use crate::catalog::store::TrainedVersion;
use crate::error::Error;
use crate::settings;
use crate::training::side_data::SideData;
use crate::training::{Fit, Trained, metrics, most};

const COLUMNS: [Column; 4] = [
    Column { name: "user_id", kind: Kind::Id, required: true },
    Column { name: "item_id", kind: Kind::Id, required: true },
    Column { name: "weight", kind: Kind::Number, required: false },
    // Only of algorithms that ask for it.
    Column { name: "time", kind: Kind::Time, required: true },
];

/// Checked options of a recommender.
pub struct Plan {
    algorithm: Arc<dyn Algorithm>,
    side: SideData,
}

impl Plan {
    pub fn read(options: &mut Options) -> Result<Self, Error> {
        let algorithm: Arc<dyn Algorithm> = read_training(options)?.into();
        let side = SideData::read(options, &*algorithm)?;
        Ok(Self { algorithm, side })
    }

    pub fn seed(&self) -> Option<u64> {
        self.algorithm.seed()
    }

    /// Reads and checks the data.
    pub fn prepare(&self, query: Query) -> Result<(Box<dyn Fit>, RowsRead), Error> {
        let limit = settings::max_training_memory();
        let (data, read) = self.side.dataset(query, limit)?;
        let size = data.size(settings::threads());
        let needed = |algorithm: &dyn Algorithm| memory_needed(algorithm, &size);
        let fits = |algorithm: &dyn Algorithm| needed(algorithm) <= limit;
        let smaller = || self.algorithm.with_less_memory().filter(|smaller| fits(&**smaller));
        let algorithm = if fits(&*self.algorithm) {
            Arc::clone(&self.algorithm)
        } else if let Some(smaller) = smaller() {
            smaller.into()
        } else {
            let Size { users, items, interactions, .. } = size;
            let what = format!("{interactions} interactions of {users} users with {items} items");
            let fits = most(1..=1024, |factors| {
                let fewer = self.algorithm.with_fewer_factors(factors as usize);
                fewer.is_some_and(|fewer| needed(&*fewer) <= limit)
            });
            let fits = fits.map(|factors| format!("{factors} factors"));
            let needed = needed(&*self.algorithm);
            return Err(Error::TrainingMemory { what, needed, limit, fits });
        };
        Ok((Box::new(Prepared { algorithm, data }), read))
    }
}

struct Prepared {
    algorithm: Arc<dyn Algorithm>,
    data: Dataset,
}

impl Fit for Prepared {
    fn step_noun(&self) -> &'static str {
        self.algorithm.step_noun()
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
            |control| self.algorithm.fit(&self.data, resume, control),
            on_event,
        )??;
        let mut figures = metrics(fitted.metrics.iter().copied());
        let validation = fitted.validation.iter().map(|(name, value)| (&**name, *value));
        let apart = |(name, value)| (format!("validation_{name}"), value);
        figures.extend(metrics(validation).into_iter().map(apart));
        if let Some(reason) = fitted.model["reason"].as_str() {
            messages::info(reason);
        }
        Ok(Trained {
            algorithm: fitted.algorithm.unwrap_or_else(|| self.algorithm.name()),
            model: fitted.model,
            metrics: figures,
            version: TrainedVersion { parts: fitted.parts, records: Vec::new() },
        })
    }
}

/// Reads the interactions of a query into one data set of at most `limit` bytes.
pub fn read_interactions(query: Query, limit: u64) -> Result<(Interactions, RowsRead), Error> {
    let (builder, rows) = gather_interactions(query, false, limit)?;
    Ok((builder.finish(&StatementControl)?, rows))
}

/// Gathers the interactions of a query, and when they were if that is wanted.
pub fn gather_interactions(
    query: Query,
    times: bool,
    limit: u64,
) -> Result<(InteractionsBuilder, RowsRead), Error> {
    let mut builder = InteractionsBuilder::new(limit);
    let columns = if times { &COLUMNS[..] } else { &COLUMNS[..3] };
    let rows = data::read(query, columns, |row| {
        row.id(0, |user| {
            row.id(1, |item| {
                let weight = row.number_of(2)?.unwrap_or(1.0) as f32;
                let pushed = match times {
                    true => builder.push_at(user, item, weight, row.days(3)?),
                    false => builder.push(user, item, weight),
                };
                pushed.map_err(|error| match error.into() {
                    Error::TrainingMemory { what, needed, limit, .. } => {
                        let fits = Some(format!("fewer than {} interactions", row.number()));
                        Error::TrainingMemory { what, needed, limit, fits }
                    }
                    other => other,
                })
            })
        })??
    })?;
    Ok((builder, rows))
}
