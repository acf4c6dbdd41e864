//! Names of tables: from text to a table, and from a table to a text.

use std::ffi::{CStr, CString, c_char};

use pgrx::pg_sys;

use crate::error::Error;

/// A table name as a user wrote it.
pub struct TableName(*mut pg_sys::RangeVar);

impl TableName {
    /// Parses `name` by the rules of SQL: `t`, `s.t`, `"My Model"`.
    pub fn parse(name: &str) -> Result<Self, Error> {
        let c_name = CString::new(name).map_err(|_| Error::ModelName { name: name.to_owned() })?;
        // SAFETY: cstring_to_text copies the string; the list parser and the range variable are
        // allocated in the current memory context, which outlives this statement's use of them.
        unsafe {
            let text = pg_sys::cstring_to_text(c_name.as_ptr());
            let names = pg_sys::textToQualifiedNameList(text);
            Ok(Self(pg_sys::makeRangeVarFromNameList(names)))
        }
    }

    /// The table of this name, if the `search_path` leads to one.
    pub fn find(&self) -> Option<pg_sys::Oid> {
        // SAFETY: the range variable was built by `parse`.
        let oid = unsafe {
            pg_sys::RangeVarGetRelidExtended(
                self.0,
                pg_sys::NoLock as i32,
                pg_sys::RVROption::RVR_MISSING_OK,
                None,
                std::ptr::null_mut(),
            )
        };
        (oid != pg_sys::Oid::INVALID).then_some(oid)
    }

    /// Schema and name under which the table would be created.
    pub fn creation_target(&self) -> (String, String) {
        // SAFETY: as above; the returned strings live in the current memory context. The call
        // raises an error if no schema is selected.
        unsafe {
            let schema = pg_sys::RangeVarGetCreationNamespace(self.0);
            (owned(pg_sys::get_namespace_name(schema)), owned((*self.0).relname))
        }
    }
}

/// The table's name with its schema, each quoted where needed; its number if it is gone.
pub fn table_name(oid: pg_sys::Oid) -> String {
    // SAFETY: both look-ups return palloc'ed C strings or NULL.
    unsafe {
        let name = pg_sys::get_rel_name(oid);
        let schema = pg_sys::get_namespace_name(pg_sys::get_rel_namespace(oid));
        if name.is_null() || schema.is_null() {
            return oid.to_u32().to_string();
        }
        owned(pg_sys::quote_qualified_identifier(schema, name))
    }
}

/// # Safety
/// `text` is a NUL-terminated string.
unsafe fn owned(text: *const c_char) -> String {
    // SAFETY: promised by the caller.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
