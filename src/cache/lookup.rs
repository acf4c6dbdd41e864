//! From a call's arguments to the model that answers it.

use std::cell::RefCell;
use std::ffi::{CStr, CString};
use std::rc::{Rc, Weak};

use pgrx::pg_sys;

use crate::bridge::snapshot::SnapshotKey;
use crate::cache::kept;
use crate::cache::model::Model;
use crate::cache::shared;
use crate::catalog::model_table::{ModelTable, Privilege};
use crate::catalog::name::TableName;
use crate::catalog::version::{Version, Wanted};
use crate::error::Error;
use crate::settings::DefaultModel;

/// What was looked up under one snapshot.
#[derive(Default)]
struct Statement {
    snapshot: SnapshotKey,
    /// Weak, so that a statement that asks for many models holds no more than are kept.
    models: Vec<(pg_sys::Oid, Weak<Model>)>,
    defaults: Vec<Resolved>,
}

/// A default model's name, the path under which it was read, and the table it led to.
struct Resolved {
    default: DefaultModel,
    name: CString,
    search_path: CString,
    table: pg_sys::Oid,
}

thread_local! {
    static STATEMENT: RefCell<Statement> = RefCell::default();
}

/// The model that answers a call with this `model` argument; NULL means the default.
///
/// The privilege and the version in production are those of the statement's snapshot, looked up
/// once for all its calls.
pub fn served(model: Option<pg_sys::Oid>, default: DefaultModel) -> Result<Rc<Model>, Error> {
    match model {
        Some(table) => production(table),
        None => production(default_table(default)?),
    }
}

/// The version of `table` in production.
pub fn production(table: pg_sys::Oid) -> Result<Rc<Model>, Error> {
    shared::refuse_lost()?;
    let known = STATEMENT.with_borrow_mut(|statement| {
        forget_other_snapshots(statement);
        statement
            .models
            .iter()
            .find(|(oid, _)| *oid == table)
            .and_then(|(_, model)| model.upgrade())
    });
    if let Some(model) = known {
        return Ok(model);
    }
    let model = load(table, Privilege::Run, Wanted::Production)?;
    STATEMENT.with_borrow_mut(|statement| {
        forget_other_snapshots(statement);
        statement.models.retain(|(oid, _)| *oid != table);
        statement.models.push((table, Rc::downgrade(&model)));
    });
    Ok(model)
}

/// A version of `table` for whoever may run it, looked up for this call alone.
pub fn version(table: pg_sys::Oid, wanted: Wanted) -> Result<Rc<Model>, Error> {
    load(table, Privilege::Run, wanted)
}

/// The version of `table` in production, for whoever may read its numbers.
pub fn readable(table: pg_sys::Oid) -> Result<Rc<Model>, Error> {
    load(table, Privilege::Read, Wanted::Production)
}

/// A version that was looked up already, by somebody who checked the caller's privilege.
pub fn of_version(table: &ModelTable, version: &Version) -> Result<Rc<Model>, Error> {
    shared::refuse_lost()?;
    kept::get_or_load(table, version)
}

fn load(table: pg_sys::Oid, privilege: Privilege, wanted: Wanted) -> Result<Rc<Model>, Error> {
    shared::refuse_lost()?;
    let opened = ModelTable::open(table, privilege)?;
    of_version(&opened, &Version::find(&opened, wanted)?)
}

fn forget_other_snapshots(statement: &mut Statement) {
    if !statement.snapshot.is_active() {
        statement.models.clear();
        statement.defaults.clear();
    }
}

fn default_table(default: DefaultModel) -> Result<pg_sys::Oid, Error> {
    let name = default.value().ok_or(Error::NoDefault(default))?;
    // SAFETY: a string setting that is never NULL.
    let search_path = unsafe { CStr::from_ptr(pg_sys::namespace_search_path) };
    let known = STATEMENT.with_borrow_mut(|statement| {
        forget_other_snapshots(statement);
        statement
            .defaults
            .iter()
            .find(|known| {
                known.default == default && known.name == name && *known.search_path == search_path
            })
            .map(|known| known.table)
    });
    if let Some(table) = known {
        return Ok(table);
    }
    let text = name.to_string_lossy();
    let table = TableName::parse(&text)?
        .find()
        .ok_or_else(|| Error::UnknownModel { name: text.into_owned() })?;
    let search_path = search_path.to_owned();
    STATEMENT.with_borrow_mut(|statement| {
        statement.defaults.push(Resolved { default, name, search_path, table });
    });
    Ok(table)
}
