//! Rows of the audit log. The log is chained and append-only; sql/audit.sql keeps it so.

use pgrx::spi::Spi;
use pgrx::{JsonB, pg_sys};
use serde_json::Value;

use crate::bridge::identity::{self, PinnedSearchPath, RestrictedIdentity};
use crate::catalog::model_table::ModelTable;
use crate::error::Error;

/// What was done to a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Train,
    Promote,
    Rollback,
    Retire,
    FailedGate,
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Promote => "promote",
            Self::Rollback => "rollback",
            Self::Retire => "retire",
            Self::FailedGate => "failed gate",
        }
    }
}

/// Adds a row. Other writers of the log wait until this transaction ends.
pub fn append(
    table: &ModelTable,
    action: Action,
    from: Option<i32>,
    to: Option<i32>,
    detail: Option<Value>,
) -> Result<(), Error> {
    let (session, acting) = (identity::session_user(), identity::calling_user());
    let _path = PinnedSearchPath::enter();
    // Only the log's owner may write it.
    let owner = Spi::get_one::<pg_sys::Oid>(
        "SELECT relowner FROM pg_class WHERE oid = 'teller.audit_log'::regclass",
    )?
    .ok_or_else(|| Error::Internal("there is no audit log".to_owned()))?;
    let _owner = RestrictedIdentity::enter(owner);
    Spi::run_with_args(
        "SELECT teller.append_audit($1, $2, $3, $4, $5, $6, $7), teller.audit_access($3)",
        &[
            identity::role_name(session).into(),
            identity::role_name(acting).into(),
            action.name().into(),
            table.name().into(),
            from.into(),
            to.into(),
            detail.map(JsonB).into(),
        ],
    )?;
    Ok(())
}
