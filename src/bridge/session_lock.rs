//! A lock that lives across commits.

use pgrx::pg_sys;

/// Number of this lock among those on a table's row of `pg_class` (`pg_locks.objsubid`), which
/// nothing else locks.
const NUMBER: u16 = 1;

/// Says that this session retrains a model. Readers, and everybody else who writes the model, go
/// on; a second one who asks for it is refused.
///
/// Released when it is dropped, and by PostgreSQL when the statement fails or the session ends.
pub struct TrainingLock(pg_sys::LOCKTAG);

impl TrainingLock {
    /// Nothing if another session has it.
    pub fn acquire(model: pg_sys::Oid) -> Option<Self> {
        // SAFETY: reads a variable of the backend.
        let database = unsafe { pg_sys::MyDatabaseId };
        let tag = pg_sys::LOCKTAG {
            locktag_field1: database.to_u32(),
            locktag_field2: pg_sys::RelationRelationId.to_u32(),
            locktag_field3: model.to_u32(),
            locktag_field4: NUMBER,
            locktag_type: pg_sys::LockTagType::LOCKTAG_OBJECT as u8,
            locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
        };
        // SAFETY: the tag is whole; for the session, without waiting.
        let got = unsafe {
            pg_sys::LockAcquire(&tag, pg_sys::ExclusiveLock as pg_sys::LOCKMODE, true, true)
        };
        match got {
            pg_sys::LockAcquireResult::LOCKACQUIRE_OK => Some(Self(tag)),
            pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL => None,
            // Held by this session already: a retraining called from its own data query.
            _ => {
                drop(Self(tag));
                None
            }
        }
    }
}

impl Drop for TrainingLock {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: acquired with the same tag, mode and owner.
            unsafe {
                pg_sys::LockRelease(&self.0, pg_sys::ExclusiveLock as pg_sys::LOCKMODE, true);
            }
        }
    }
}
