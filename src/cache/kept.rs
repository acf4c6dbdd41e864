//! The models that this backend keeps, within `teller.cache_size`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use pgrx::pg_sys;

use crate::bridge::snapshot::statement_start;
use crate::cache::model::Model;
use crate::cache::shared::{self, State};
use crate::catalog::model_table::{ModelTable, RowIdentity};
use crate::catalog::version::Version;
use crate::error::Error;
use crate::settings;

/// Microseconds for which a model stays though its file is gone, and between two looks for such:
/// a file that was cleaned away takes memory and disk until its last mapping ends.
const LINGER: i64 = 10_000_000;

#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    table: pg_sys::Oid,
    version: i32,
    row: RowIdentity,
    /// After a TRUNCATE another row may stand in the same place, of the same transaction.
    storage: [u32; 2],
}

struct Kept {
    key: Key,
    model: Rc<Model>,
    /// When a statement last asked for it.
    used: i64,
}

thread_local! {
    /// Least recently used first. A backend serves few models: a list is faster than a map.
    static KEPT: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
    static LOOKED: Cell<i64> = const { Cell::new(0) };
}

/// The version's model: kept, or loaded from its table and kept from now on.
pub fn get_or_load(table: &ModelTable, version: &Version) -> Result<Rc<Model>, Error> {
    let key = Key {
        table: table.oid(),
        version: version.number,
        row: version.row,
        storage: table.storage(),
    };
    let now = statement_start();
    let kept = KEPT.with_borrow_mut(|kept| {
        let index = kept.iter().position(|other| other.key == key)?;
        if kept[index].model.file_state() == State::Altered {
            kept.remove(index);
            return None;
        }
        kept[index..].rotate_left(1);
        let found = kept.last_mut()?;
        found.used = now;
        Some(found.model.clone())
    });
    shared::tidy_now_and_then();
    if now - LOOKED.get() >= LINGER {
        LOOKED.set(now);
        forget_gone(now);
    }
    let model = match kept {
        Some(model) => model,
        None => {
            let model = Rc::new(Model::load(table, version)?);
            keep(key, &model, table, now)?;
            model
        }
    };
    model.begin_answers();
    Ok(model)
}

fn forget_gone(now: i64) {
    KEPT.with_borrow_mut(|kept| {
        kept.retain(|old| now - old.used < LINGER || old.model.file_state() == State::Same);
    });
}

fn keep(key: Key, model: &Rc<Model>, table: &ModelTable, now: i64) -> Result<(), Error> {
    let limit = settings::cache_size();
    let needed = model.memory() as u64;
    if needed > limit {
        return Err(Error::CacheSize { model: table.name(), needed, limit });
    }
    KEPT.with_borrow_mut(|kept| {
        let mut total = needed + kept.iter().map(|old| old.model.memory() as u64).sum::<u64>();
        // A table of that number and version can only be there twice if its row was rewritten.
        kept.retain(|old| {
            let same = (old.key.table, old.key.version) == (key.table, key.version);
            let stays = !same && total <= limit;
            if !stays {
                total -= old.model.memory() as u64;
            }
            stays
        });
        kept.push(Kept { key, model: model.clone(), used: now });
    });
    Ok(())
}
