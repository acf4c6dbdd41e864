//! `describe_architecture`.

use pgrx::AnyElement;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use teller_nn::{Architecture, LayerSummary, Shape};
use teller_numeric::OptionError;

use crate::api::train::read_options;
use crate::error::Error;

/// As many as a dense layer can have units.
const MOST_CLASSES: usize = 65_536;

#[pg_extern(sql = false)]
fn describe_architecture(
    architecture: AnyElement,
    classes: i32,
) -> Result<
    TableIterator<
        'static,
        (
            name!(layer, String),
            name!(kind, &'static str),
            name!(output, String),
            name!(parameters, i64),
            name!(flops, i64),
            name!(memory, i64),
        ),
    >,
    ErrorReport,
> {
    let summaries = describe(architecture, classes)?;
    let rows: Vec<_> = summaries
        .into_iter()
        .map(|layer| {
            let output = match layer.output {
                Shape::Image { height, width, channels } => {
                    format!("{height} x {width} x {channels}")
                }
                Shape::Vector(len) => len.to_string(),
            };
            let numbers = [layer.parameters, layer.flops, layer.memory];
            let [parameters, flops, memory] =
                numbers.map(|number| i64::try_from(number).unwrap_or(i64::MAX));
            (layer.place, layer.kind, output, parameters, flops, memory)
        })
        .collect();
    Ok(TableIterator::new(rows))
}

fn describe(architecture: AnyElement, classes: i32) -> Result<Vec<LayerSummary>, Error> {
    let architecture = read_options(Some(architecture.datum()))?;
    let architecture = Architecture::read(&architecture).map_err(teller_nn::Error::from)?;
    let count = usize::try_from(classes).ok().filter(|count| (2..=MOST_CLASSES).contains(count));
    let count = count.ok_or_else(|| OptionError::Invalid {
        subject: "describe_architecture".to_owned(),
        name: "classes".to_owned(),
        got: classes.to_string(),
        expected: format!("a whole number between 2 and {MOST_CLASSES}"),
        nearest: None,
    })?;
    Ok(architecture.describe(count).map_err(teller_nn::Error::from)?)
}
