//! The indexes of a model's table.

use pgrx::pg_sys;

use super::column;

/// The indexes that `train` made, recognized by what they are and not by their names.
#[derive(Default)]
pub(super) struct Indexes {
    /// Of version, part and chunk, in this order: chunks are read in theirs.
    pub(super) key: Option<pg_sys::Oid>,
    /// Of the status. It may lack rows, if its owner made another of it.
    pub(super) production: Option<pg_sys::Oid>,
}

impl Indexes {
    /// # Safety
    /// `relation` is open.
    pub(super) unsafe fn of(relation: pg_sys::Relation) -> Self {
        let mut indexes = Self::default();
        // SAFETY: the list and the index relations are valid until closed; `indkey` holds
        // `indnatts` numbers.
        unsafe {
            let list = pg_sys::RelationGetIndexList(relation);
            let count = if list.is_null() { 0 } else { (*list).length as usize };
            for position in 0..count {
                let oid = (*(*list).elements.add(position)).oid_value;
                let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
                let index = pg_sys::index_open(oid, lock);
                let form = &*(*index).rd_index;
                if form.indisvalid && form.indisunique {
                    let columns = form.indkey.values.as_slice(form.indnatts as usize);
                    if columns == [column::VERSION, column::PART, column::CHUNK] && is_key(index) {
                        indexes.key = Some(oid);
                    } else if columns == [column::STATUS] {
                        indexes.production = Some(oid);
                    }
                }
                pg_sys::index_close(index, pg_sys::NoLock as pg_sys::LOCKMODE);
            }
            pg_sys::list_free(list);
        }
        indexes
    }
}

/// Whether a unique index of the three columns has all rows, and in the order that we read by: an
/// owner may have made one with a WHERE, a DESC, an INCLUDE or a collation.
///
/// # Safety
/// `index` is an open index of three columns.
unsafe fn is_key(index: pg_sys::Relation) -> bool {
    // SAFETY: the arrays have a value for each key column, of which there are then three.
    unsafe {
        (*(*index).rd_index).indnkeyatts == 3
            && pg_sys::heap_attisnull(
                (*index).rd_indextuple,
                pg_sys::Anum_pg_index_indpred as i32,
                std::ptr::null_mut(),
            )
            && std::slice::from_raw_parts((*index).rd_indoption, 3) == [0; 3]
            && *(*index).rd_indcollation.add(1) == pg_sys::C_COLLATION_OID
    }
}
