//! The life of a version: candidate, production, archived, gone.
//!
//! Which versions were in production, one after the other, stands in the model's table itself, as
//! the part `promotion` of version 0: so it is dumped and replicated with the model, and a rollback
//! undoes what really happened.

use std::ffi::CStr;

use pgrx::JsonB;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::bridge::identity;
use crate::catalog::audit::{self, Action};
use crate::catalog::model_table::ModelTable;
use crate::catalog::timestamp;
use crate::catalog::version::{Version, Wanted};
use crate::catalog::writer::Writer;
use crate::error::Error;

/// The statuses that this code sets.
pub mod status {
    pub const TRAINING: &str = "training";
    pub const FAILED: &str = "failed";
    pub const CANDIDATE: &str = "candidate";
    pub const PRODUCTION: &str = "production";
    pub const ARCHIVED: &str = "archived";
}

/// The version whose rows tell the history of the others.
pub const HISTORY_VERSION: i32 = 0;
const HISTORY_PART: &CStr = c"promotion";
/// The part that remembers versions that are gone, by their numbers as chunks: no other version
/// gets one of them.
pub const RETIRED: &CStr = c"retired";

/// How a version came into production.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It was put there.
    Promote,
    /// The version after it was taken back.
    Rollback,
}

/// A row of the history.
#[derive(Serialize, Deserialize)]
struct Promotion {
    change: Change,
    version: i32,
    by: String,
    at: String,
}

/// Puts `version` into production and archives the one that is there.
pub fn promote(table: &ModelTable, version: i32) -> Result<i32, Error> {
    let writer = Writer::open(table)?;
    match status_of(table, version)?.as_str() {
        status::PRODUCTION => {}
        status::CANDIDATE | status::ARCHIVED => {
            writer.put_into_production(version, Change::Promote)?;
        }
        other => {
            return Err(Error::NotPromotable {
                model: table.name(),
                version,
                status: other.to_owned(),
            });
        }
    }
    Ok(version)
}

/// Puts the version back that was in production before the one that is there.
pub fn rollback(table: &ModelTable) -> Result<i32, Error> {
    let writer = Writer::open(table)?;
    let current = Version::find(table, Wanted::Production)?.number;
    let archived = |version: &i32| {
        *version != current
            && status_of(table, *version).is_ok_and(|status| status == status::ARCHIVED)
    };
    let before = earlier(&history(table)?).into_iter().rev().find(archived);
    let version = before.ok_or_else(|| Error::NoEarlierVersion { model: table.name() })?;
    writer.put_into_production(version, Change::Rollback)?;
    Ok(version)
}

/// Deletes a version that is not in production.
pub fn drop_version(table: &ModelTable, version: i32) -> Result<(), Error> {
    let writer = Writer::open(table)?;
    if status_of(table, version)? == status::PRODUCTION {
        return Err(Error::InProduction { model: table.name(), version });
    }
    writer.run("DELETE FROM ONLY {model} WHERE version = $1", &[version.into()])?;
    let entry = json!({
        "by": identity::role_name(identity::calling_user()),
        "at": timestamp::statement_start(),
    });
    // There already if the owner has written a version of that number by hand.
    writer.run(
        "INSERT INTO {model} (version, part, chunk, info) SELECT $1, $2, $3, $4 \
         WHERE NOT EXISTS (SELECT FROM ONLY {model} \
                           WHERE version = $1 AND part = $2 AND chunk = $3)",
        &[
            HISTORY_VERSION.into(),
            (*RETIRED.to_string_lossy()).into(),
            version.into(),
            JsonB(entry).into(),
        ],
    )?;
    audit::append(table, Action::Retire, Some(version), None, None)
}

impl Change {
    fn action(self) -> Action {
        match self {
            Self::Promote => Action::Promote,
            Self::Rollback => Action::Rollback,
        }
    }
}

impl Writer<'_> {
    /// Moves the statuses, writes the history and the audit log.
    pub fn put_into_production(&self, version: i32, change: Change) -> Result<(), Error> {
        let before = self.get::<i32>(
            "SELECT max(version) FROM ONLY {model} WHERE part = '' AND status = $1",
            &[status::PRODUCTION.into()],
        )?;
        let set_status = "UPDATE ONLY {model} SET status = $1 WHERE part = '' AND ";
        self.run(
            &format!("{set_status} status = $2"),
            &[status::ARCHIVED.into(), status::PRODUCTION.into()],
        )?;
        self.run(
            &format!("{set_status} version = $2"),
            &[status::PRODUCTION.into(), version.into()],
        )?;
        let entry = Promotion {
            change,
            version,
            by: identity::role_name(identity::calling_user()),
            at: timestamp::statement_start(),
        };
        let info =
            serde_json::to_value(entry).map_err(|error| Error::Internal(error.to_string()))?;
        let part = HISTORY_PART.to_string_lossy();
        let chunk = self.get::<i32>(
            "SELECT coalesce(max(chunk), 0) + 1 FROM ONLY {model} WHERE version = $1 AND part = $2",
            &[HISTORY_VERSION.into(), (*part).into()],
        )?;
        self.insert(HISTORY_VERSION, &part, chunk.unwrap_or(1), None, Some(info), None)?;
        audit::append(self.table, change.action(), before, Some(version), None)
    }
}

/// A version's status.
pub fn status_of(table: &ModelTable, version: i32) -> Result<String, Error> {
    table
        .manifest(version, |row| Ok(row.status()))?
        .ok_or_else(|| Error::NoVersion { model: table.name(), number: version })?
        .ok_or_else(|| Error::damaged(table, Some(version), "it has no status"))
}

fn history(table: &ModelTable) -> Result<Vec<Promotion>, Error> {
    let rows = table.part(HISTORY_VERSION, HISTORY_PART, |row| Ok(row.info()))?;
    let entries = rows.into_iter().flatten().map(serde_json::from_value);
    entries.collect::<Result<_, _>>().map_err(|error| {
        Error::damaged(table, None, format!("its history cannot be read: {error}"))
    })
}

/// The versions that were in production and not taken back, the latest last.
fn earlier(history: &[Promotion]) -> Vec<i32> {
    let mut stack = Vec::new();
    for entry in history {
        match entry.change {
            Change::Promote => stack.push(entry.version),
            // Down to the version that it went back to: those between may be gone by now.
            Change::Rollback => {
                while stack.last().is_some_and(|top| *top != entry.version) {
                    stack.pop();
                }
            }
        }
    }
    stack
}
