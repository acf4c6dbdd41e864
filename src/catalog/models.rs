//! All models of the database.

use pgrx::pg_sys;
use pgrx::spi::Spi;

use crate::catalog::model_table::{ModelTable, Privilege};
use crate::catalog::model_type::model_type;
use crate::error::Error;

/// Gathers rows of all models that the caller may run; tables that cannot be read are left out.
pub fn each_model<T>(
    mut rows: impl FnMut(&ModelTable) -> Result<Vec<T>, Error>,
) -> Result<Vec<T>, Error> {
    let mut all = Vec::new();
    for oid in runnable_models()? {
        match ModelTable::open(oid, Privilege::Run) {
            Ok(table) => all.extend(rows(&table)?),
            Err(Error::Cancelled) => return Err(Error::Cancelled),
            Err(_) => {}
        }
    }
    Ok(all)
}

/// All tables of type `teller.model` that the caller may run. The others are not even opened, as
/// that would wait for whoever has locked them.
fn runnable_models() -> Result<Vec<pg_sys::Oid>, Error> {
    let Some(model_type) = model_type() else { return Ok(Vec::new()) };
    let query = "SELECT oid FROM pg_catalog.pg_class \
                 WHERE CASE WHEN reloftype OPERATOR(pg_catalog.=) $1 \
                       THEN pg_catalog.has_column_privilege(oid, 'version', 'SELECT') END \
                 ORDER BY oid";
    let oids = Spi::connect(|client| {
        let rows = client.select(query, None, &[model_type.into()])?;
        rows.map(|row| row.get::<pg_sys::Oid>(1)).collect::<Result<Vec<_>, _>>()
    })?;
    Ok(oids.into_iter().flatten().collect())
}
