//! `weights`, `user_factors`, `item_factors`.

use std::rc::Rc;

use pgrx::AnyArray;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use teller_recommend::IdRef;

use crate::bridge::array;
use crate::cache::{self, Model};

#[pg_extern(sql = false)]
fn weights(
    model: pg_sys::Oid,
) -> Result<
    TableIterator<
        'static,
        (name!(layer, String), name!(shape, Vec<i32>), name!(values, Option<AnyArray>)),
    >,
    ErrorReport,
> {
    let model = cache::readable(model)?;
    let arrays = model.weights()?;
    for array in &arrays {
        array::check_len(&array.name, array.values.len())?;
    }
    let count = arrays.len();
    // A row is made when it is fetched.
    Ok(TableIterator::new((0..count).map_while(move |index| {
        let array = model.weights().ok()?.into_iter().nth(index)?;
        let shape = array.shape.iter().map(|&extent| extent as i32).collect();
        Some((array.name, shape, array::real_array(array.values)))
    })))
}

type Factors<'a> = Option<(&'a [f32], usize)>;

#[pg_extern(sql = false)]
fn user_factors(
    model: pg_sys::Oid,
) -> Result<TableIterator<'static, (name!(user_id, String), name!(factors, Vec<f32>))>, ErrorReport>
{
    let model = cache::readable(model)?;
    let count = model.recommender()?.users().len();
    Ok(TableIterator::new(factor_rows(model, count, |recommender, index| {
        (recommender.user_id(index), recommender.user_factors())
    })))
}

#[pg_extern(sql = false)]
fn item_factors(
    model: pg_sys::Oid,
) -> Result<TableIterator<'static, (name!(item_id, String), name!(factors, Vec<f32>))>, ErrorReport>
{
    let model = cache::readable(model)?;
    let count = model.recommender()?.items().len();
    Ok(TableIterator::new(factor_rows(model, count, |recommender, index| {
        (recommender.item_id(index), recommender.item_factors())
    })))
}

/// One row an id, made when it is fetched; none for a model without factors.
fn factor_rows(
    model: Rc<Model>,
    count: usize,
    read: for<'a> fn(&'a teller_recommend::Recommender, u32) -> (Option<IdRef<'a>>, Factors<'a>),
) -> impl Iterator<Item = (String, Vec<f32>)> {
    (0..count).map_while(move |index| {
        let recommender = model.recommender().ok()?;
        let (id, factors) = read(recommender, index as u32);
        let (factors, width) = factors?;
        let row = factors.get(index * width..(index + 1) * width)?;
        Some((id?.to_string(), row.to_vec()))
    })
}
