//! Advisory locks for the session, which no rollback gives back.
//!
//! The hooks refuse the functions that take them, but the planner calls an operator's function on
//! its way past all hooks, to estimate how many rows it selects.

use pgrx::pg_sys;

/// Advisory locks that this session holds.
pub struct SessionLocks(Vec<Held>);

/// The four fields of a lock's tag, and a bit for each mode in which it is held.
type Held = ([u32; 4], pg_sys::LOCKMASK);

impl SessionLocks {
    /// Those of now.
    pub fn held() -> Self {
        Self(list().into_iter().map(|(tag, mask)| (fields(&tag), mask)).collect())
    }

    /// Gives back those that were taken since, however often each was.
    pub fn release_others(&self) {
        loop {
            let mut released = false;
            for (tag, mask) in list() {
                let before = self.0.iter().find(|(known, _)| *known == fields(&tag));
                let taken = mask & !before.map_or(0, |(_, mask)| *mask);
                for mode in (1..=8).filter(|mode| taken & (1 << mode) != 0) {
                    // SAFETY: the lock is held in this mode, and after the rollback only the
                    // session can hold what was taken since.
                    released |= unsafe { pg_sys::LockRelease(&tag, mode, true) };
                }
            }
            if !released {
                return;
            }
            pgrx::check_for_interrupts!();
        }
    }
}

fn list() -> Vec<(pg_sys::LOCKTAG, pg_sys::LOCKMASK)> {
    // SAFETY: gives an array of `nelements` entries in the current memory context, which is freed
    // here.
    unsafe {
        let data = pg_sys::GetLockStatusData();
        let count = (*data).nelements as usize;
        let all = if count == 0 { &[] } else { std::slice::from_raw_parts((*data).locks, count) };
        let ours = all
            .iter()
            .filter(|lock| {
                lock.pid == pg_sys::MyProcPid
                    && u32::from(lock.locktag.locktag_lockmethodid) == pg_sys::USER_LOCKMETHOD
            })
            .map(|lock| (lock.locktag, lock.holdMask))
            .collect();
        pg_sys::pfree((*data).locks.cast());
        pg_sys::pfree(data.cast());
        ours
    }
}

fn fields(tag: &pg_sys::LOCKTAG) -> [u32; 4] {
    [tag.locktag_field1, tag.locktag_field2, tag.locktag_field3, tag.locktag_field4.into()]
}
