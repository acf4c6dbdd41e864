//! The settings that the meaning of a query depends on.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};

use pgrx::pg_sys;

use crate::error::Error;

/// Besides the `search_path`: how dates, times and bytes are read and written.
const SETTINGS: [&CStr; 6] = [
    c"bytea_output",
    c"datestyle",
    c"extra_float_digits",
    c"intervalstyle",
    c"standard_conforming_strings",
    c"timezone",
];

/// The session's `search_path`.
pub fn search_path() -> String {
    value(c"search_path")
}

/// The other settings as they are now.
pub fn settings() -> BTreeMap<String, String> {
    SETTINGS.iter().map(|name| (name.to_string_lossy().into_owned(), value(name))).collect()
}

/// Makes the settings those of another session until the subtransaction is rolled back; settings
/// that no query's meaning depends on stay.
pub fn set(search_path: &str, settings: &BTreeMap<String, String>) -> Result<(), Error> {
    // Last, or PostgreSQL would look into the session's temporary tables first.
    let separator = if search_path.trim().is_empty() { "" } else { ", " };
    set_one(c"search_path", &format!("{search_path}{separator}pg_temp"))?;
    for name in SETTINGS {
        if let Some(value) = settings.get(&*name.to_string_lossy()) {
            set_one(name, value)?;
        }
    }
    Ok(())
}

fn value(name: &CStr) -> String {
    // SAFETY: the names are of settings that PostgreSQL always has; the value is copied.
    unsafe {
        let value = pg_sys::GetConfigOption(name.as_ptr(), true, false);
        if value.is_null() {
            return String::new();
        }
        CStr::from_ptr(value).to_string_lossy().into_owned()
    }
}

fn set_one(name: &CStr, value: &str) -> Result<(), Error> {
    let value = CString::new(value)
        .map_err(|_| Error::Internal("a stored setting holds a NUL".to_owned()))?;
    // SAFETY: sets one variable to a NUL-terminated string, which is copied.
    unsafe {
        pg_sys::set_config_option(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            0,
            false,
        );
    }
    Ok(())
}
