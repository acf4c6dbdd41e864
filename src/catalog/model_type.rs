//! The type whose tables are models.

use std::cell::Cell;

use pgrx::pg_sys;

thread_local! {
    static MODEL_TYPE: Cell<Option<pg_sys::Oid>> = const { Cell::new(None) };
}

/// Keeps the number of `teller.model` from now on; called once, when the library is loaded.
pub fn init() {
    // SAFETY: the callback is a plain function that lives as long as the library.
    unsafe {
        for cache in [pg_sys::SysCacheIdentifier::TYPEOID, pg_sys::SysCacheIdentifier::NAMESPACEOID]
        {
            pg_sys::CacheRegisterSyscacheCallback(
                cache as i32,
                Some(forget_model_type),
                pg_sys::Datum::null(),
            );
        }
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn forget_model_type(_argument: pg_sys::Datum, _cache: i32, _hash: u32) {
    MODEL_TYPE.set(None);
}

/// The composite type `teller.model`, if the extension is installed in this database.
pub fn model_type() -> Option<pg_sys::Oid> {
    if let Some(known) = MODEL_TYPE.get() {
        return Some(known);
    }
    // SAFETY: look-ups in the system caches.
    let oid = unsafe {
        let schema = pg_sys::get_namespace_oid(c"teller".as_ptr(), true);
        pg_sys::GetSysCacheOid(
            pg_sys::SysCacheIdentifier::TYPENAMENSP as i32,
            pg_sys::Anum_pg_type_oid as pg_sys::AttrNumber,
            pg_sys::Datum::from(c"model".as_ptr()),
            schema.into(),
            pg_sys::Datum::null(),
            pg_sys::Datum::null(),
        )
    };
    let found = (oid != pg_sys::Oid::INVALID).then_some(oid);
    MODEL_TYPE.set(found);
    found
}
