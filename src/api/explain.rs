//! `explain_image`.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use teller_nn::Method;

use crate::cache;
use crate::error::Error;
use crate::settings::DefaultModel;

#[pg_extern(sql = false)]
fn explain_image(
    image: Option<&[u8]>,
    model: Option<pg_sys::Oid>,
    label: Option<&str>,
    method: Option<&str>,
) -> Result<Option<Vec<u8>>, ErrorReport> {
    let Some(image) = image else { return Ok(None) };
    let method = method.ok_or(Error::NullArgument("explain_image needs a method"))?;
    Ok(Some(explain(image, model, label, method)?))
}

fn explain(
    image: &[u8],
    model: Option<pg_sys::Oid>,
    label: Option<&str>,
    method: &str,
) -> Result<Vec<u8>, Error> {
    let names = || Method::NAMES.iter().map(|(name, _)| *name);
    let method = Method::NAMES
        .iter()
        .find_map(|&(name, known)| (name == method).then_some(known))
        .ok_or_else(|| Error::unknown("method", method, names()))?;
    let model = cache::served(model, DefaultModel::Image)?;
    let images = model.images()?;
    let labels = images.classifier().labels();
    let label = match label {
        None => None,
        Some(label) => {
            let found = labels.iter().position(|known| known == label);
            let unknown = || Error::unknown("label", label, labels.iter().map(String::as_str));
            Some(found.ok_or_else(unknown)?)
        }
    };
    images.explain(image, label, method)
}
