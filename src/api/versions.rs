//! `promote`, `rollback`, `drop_version`.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::bridge::transaction::refuse_read_only;
use crate::catalog::life;
use crate::catalog::model_table::{ModelTable, Privilege};

#[pg_extern(sql = false)]
fn promote(model: pg_sys::Oid, version: i32) -> Result<i32, ErrorReport> {
    refuse_read_only(c"teller.promote");
    Ok(life::promote(&ModelTable::open(model, Privilege::Promote)?, version)?)
}

#[pg_extern(sql = false)]
fn rollback(model: pg_sys::Oid) -> Result<i32, ErrorReport> {
    refuse_read_only(c"teller.rollback");
    Ok(life::rollback(&ModelTable::open(model, Privilege::Promote)?)?)
}

#[pg_extern(sql = false)]
fn drop_version(model: pg_sys::Oid, version: i32) -> Result<(), ErrorReport> {
    refuse_read_only(c"teller.drop_version");
    Ok(life::drop_version(&ModelTable::open(model, Privilege::Retire)?, version)?)
}
