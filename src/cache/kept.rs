//! The models that this backend keeps, within `teller.cache_size`.

use std::cell::RefCell;
use std::rc::Rc;

use pgrx::pg_sys;

use crate::cache::model::Model;
use crate::catalog::model_table::{ModelTable, RowIdentity};
use crate::catalog::version::Version;
use crate::error::Error;
use crate::settings;

#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    table: pg_sys::Oid,
    version: i32,
    row: RowIdentity,
    /// After a TRUNCATE another row may stand in the same place, of the same transaction.
    storage: [u32; 2],
}

thread_local! {
    /// Least recently used first. A backend serves few models: a list is faster than a map.
    static KEPT: RefCell<Vec<(Key, Rc<Model>)>> = const { RefCell::new(Vec::new()) };
}

/// The version's model: kept, or loaded from its table and kept from now on.
pub fn get_or_load(table: &ModelTable, version: &Version) -> Result<Rc<Model>, Error> {
    let key = Key {
        table: table.oid(),
        version: version.number,
        row: version.row,
        storage: table.storage(),
    };
    let kept = KEPT.with_borrow_mut(|kept| {
        let index = kept.iter().position(|(other, _)| *other == key)?;
        kept[index..].rotate_left(1);
        kept.last().map(|(_, model)| model.clone())
    });
    match kept {
        Some(model) => Ok(model),
        None => {
            let model = Rc::new(Model::load(table, version)?);
            keep(key, &model, table)?;
            Ok(model)
        }
    }
}

fn keep(key: Key, model: &Rc<Model>, table: &ModelTable) -> Result<(), Error> {
    let limit = settings::cache_size();
    let needed = model.memory() as u64;
    if needed > limit {
        return Err(Error::CacheSize { model: table.name(), needed, limit });
    }
    KEPT.with_borrow_mut(|kept| {
        let mut total = needed + kept.iter().map(|(_, old)| old.memory() as u64).sum::<u64>();
        // A table of that number and version can only be there twice if its row was rewritten.
        kept.retain(|(old, gone)| {
            let stays = (old.table, old.version) != (key.table, key.version) && total <= limit;
            if !stays {
                total -= gone.memory() as u64;
            }
            stays
        });
        kept.push((key, model.clone()));
    });
    Ok(())
}
