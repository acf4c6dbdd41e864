//! The indexes of a model's table that `train` made, recognized by what they are and not by their
//! names.

use pgrx::pg_sys;

use super::column;

/// The index of the status. It may lack rows, if its owner made another of it.
///
/// # Safety
/// `relation` is open.
pub(super) unsafe fn production(relation: pg_sys::Relation) -> Option<pg_sys::Oid> {
    // SAFETY: promised by the caller.
    unsafe { find(relation, &[column::STATUS], |_| true) }
}

/// The index of version, part and chunk, in this order: chunks are read in theirs.
///
/// # Safety
/// `relation` is open.
pub(super) unsafe fn key(relation: pg_sys::Relation) -> Option<pg_sys::Oid> {
    // SAFETY: promised by the caller; `find` asks about indexes of these columns.
    unsafe { find(relation, &[column::VERSION, column::PART, column::CHUNK], |oid| is_key(oid)) }
}

/// The last valid unique index of these columns that is `wanted`. What the system cache tells is
/// enough for most: to open them all takes longer than the look-up that needs one.
///
/// # Safety
/// `relation` is open.
unsafe fn find(
    relation: pg_sys::Relation,
    columns: &[i16],
    wanted: impl Fn(pg_sys::Oid) -> bool,
) -> Option<pg_sys::Oid> {
    let mut found = None;
    // SAFETY: the list is a copy of our own; a tuple of the cache is valid until it is released;
    // `indkey` holds `indnatts` numbers.
    unsafe {
        let list = pg_sys::RelationGetIndexList(relation);
        let count = if list.is_null() { 0 } else { (*list).length as usize };
        for position in 0..count {
            let oid = (*(*list).elements.add(position)).oid_value;
            let cache = pg_sys::SysCacheIdentifier::INDEXRELID as i32;
            let tuple = pg_sys::SearchSysCache1(cache, oid.into());
            if tuple.is_null() {
                continue;
            }
            let form = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_index>();
            let fits = form.indisvalid
                && form.indisunique
                && form.indkey.values.as_slice(form.indnatts as usize) == columns;
            pg_sys::ReleaseSysCache(tuple);
            if fits && wanted(oid) {
                found = Some(oid);
            }
        }
        pg_sys::list_free(list);
    }
    found
}

/// Whether a unique index of the three columns has all rows, and in the order that we read by: an
/// owner may have made one with a WHERE, a DESC, an INCLUDE or a collation.
///
/// # Safety
/// `oid` is an index of three columns of an open table.
unsafe fn is_key(oid: pg_sys::Oid) -> bool {
    // SAFETY: the arrays have a value for each key column, of which there are then three.
    unsafe {
        let index = pg_sys::index_open(oid, pg_sys::AccessShareLock as pg_sys::LOCKMODE);
        let is_key = (*(*index).rd_index).indnkeyatts == 3
            && pg_sys::heap_attisnull(
                (*index).rd_indextuple,
                pg_sys::Anum_pg_index_indpred as i32,
                std::ptr::null_mut(),
            )
            && std::slice::from_raw_parts((*index).rd_indoption, 3) == [0; 3]
            && *(*index).rd_indcollation.add(1) == pg_sys::C_COLLATION_OID;
        pg_sys::index_close(index, pg_sys::NoLock as pg_sys::LOCKMODE);
        is_key
    }
}
