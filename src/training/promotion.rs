//! Whether a trained version goes into production, as far as its options decide.

use teller_numeric::Options;

use crate::bridge::identity::RestrictedIdentity;
use crate::bridge::sandbox::Reader;
use crate::cache::{self, Model};
use crate::catalog::manifest::{GATE, Manifest};
use crate::catalog::model_table::ModelTable;
use crate::catalog::store::TrainedVersion;
use crate::catalog::version::Wanted;
use crate::error::Error;
use crate::training::gate::Gate;

/// What becomes of a trained version, for callers who may promote.
pub struct Promotion {
    promote: bool,
    gate: Option<Gate>,
}

impl Promotion {
    /// Reads `promote` and `gate`.
    pub fn read(options: &mut Options) -> Result<Self, Error> {
        Ok(Self {
            promote: options.boolean("promote", true)?,
            gate: options.value("gate").map(Gate::read).transpose()?,
        })
    }

    /// Whether the version goes into production, as far as the options and the gate decide; the
    /// gate's figures go into the manifest. Without a gate, rows that tell of single rows do not.
    pub fn decide(
        &self,
        table: &ModelTable,
        version: &TrainedVersion,
        manifest: &mut Manifest,
        reader: Reader,
    ) -> Result<bool, Error> {
        let Some(gate) = &self.gate else { return Ok(self.promote && !manifest.tells_of_rows()) };
        let challenger = Model::assemble(table.name(), manifest, &version.shared_parts())
            .map_err(Error::Internal)?;
        let champion = {
            let _owner = match reader {
                Reader::Caller => None,
                Reader::Stored { role, .. } => Some(RestrictedIdentity::enter(role)),
            };
            match cache::version(table.oid(), Wanted::Production) {
                Err(Error::NoProduction { .. }) => None,
                champion => Some(champion?),
            }
        };
        let verdict = gate.judge(&challenger, champion.as_deref(), reader)?;
        manifest.metrics.insert(GATE.to_owned(), verdict.to_json());
        Ok(self.promote && verdict.passed)
    }
}
