//! What a recurrent network is made of.

use serde::{Deserialize, Serialize};
use teller_numeric::{OptionError, Options};

use super::Cell;

/// How the states of all steps become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The state at the end, of each direction at its own.
    Last,
    /// The largest value of each unit.
    Max,
    /// The mean of each unit.
    Mean,
}

/// Recurrent layers, the pooling of the last one's states, and dense layers after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceSpec {
    /// The cell of all recurrent layers.
    pub cell: Cell,
    /// Units of each layer and direction: `units`, 1 to 4096 (128).
    pub units: usize,
    /// Recurrent layers: `layers`, 1 to 8 (1).
    pub layers: usize,
    /// Whether each layer also reads from the end: `bidirectional` (true).
    pub bidirectional: bool,
    /// Joined in this order: `pooling`, one or several of `last`, `max` and `mean`.
    pub pooling: Vec<Pooling>,
    /// Rectified units between the pooling and the answer: `hidden_units`, 0 to 4096, 0 for none.
    pub hidden_units: usize,
}

const POOLINGS: [(&str, Pooling); 3] =
    [("last", Pooling::Last), ("max", Pooling::Max), ("mean", Pooling::Mean)];

impl SequenceSpec {
    /// What is not given is as in `default`; the cell is.
    pub(crate) fn read(options: &mut Options<'_>, default: Self) -> Result<Self, OptionError> {
        let mut count = |name, default: usize, range| {
            options.integer(name, default as i64, range).map(|count| count as usize)
        };
        let units = count("units", default.units, 1..=4096)?;
        let layers = count("layers", default.layers, 1..=8)?;
        let hidden_units = count("hidden_units", default.hidden_units, 0..=4096)?;
        let bidirectional = options.boolean("bidirectional", default.bidirectional)?;
        let pooling = read_pooling(options)?.unwrap_or(default.pooling);
        Ok(Self { cell: default.cell, units, layers, bidirectional, pooling, hidden_units })
    }

    /// Directions of each layer.
    pub(super) fn directions(&self) -> usize {
        if self.bidirectional { 2 } else { 1 }
    }

    /// What a layer gives at each step.
    pub(super) fn states(&self) -> usize {
        self.directions() * self.units
    }
}

/// A name or a list of different names.
fn read_pooling(options: &mut Options<'_>) -> Result<Option<Vec<Pooling>>, OptionError> {
    const NAME: &str = "pooling";
    let Some(given) = options.value(NAME) else { return Ok(None) };
    let names: Vec<Option<&str>> = match given.as_array() {
        Some(names) => names.iter().map(|name| name.as_str()).collect(),
        None => vec![given.as_str()],
    };
    let named = |name: &Option<&str>| {
        POOLINGS.iter().find(|(known, _)| *name == Some(known)).map(|(_, pooling)| *pooling)
    };
    let pooling: Option<Vec<Pooling>> = names.iter().map(named).collect();
    let differ = |all: &Vec<Pooling>| (1..all.len()).all(|at| !all[..at].contains(&all[at]));
    match pooling.filter(|all| !all.is_empty() && differ(all)) {
        Some(pooling) => Ok(Some(pooling)),
        None => {
            let expected = "one or several of \"last\", \"max\" and \"mean\"".to_owned();
            Err(options.invalid(NAME, given, expected))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn options_make_a_spec() {
        let usual = SequenceSpec {
            cell: Cell::Gru,
            units: 128,
            layers: 1,
            bidirectional: true,
            pooling: vec![Pooling::Max, Pooling::Mean],
            hidden_units: 0,
        };
        let read = |given: Value| {
            let mut options = Options::new("gru", &given)?;
            let spec = SequenceSpec::read(&mut options, usual.clone())?;
            options.finish().map(|()| spec)
        };
        assert_eq!(read(json!({})), Ok(usual.clone()));
        let given = json!({"units": 8, "layers": 2, "bidirectional": false, "pooling": "last",
            "hidden_units": 4});
        let expected = SequenceSpec {
            cell: Cell::Gru,
            units: 8,
            layers: 2,
            bidirectional: false,
            pooling: vec![Pooling::Last],
            hidden_units: 4,
        };
        assert_eq!(read(given), Ok(expected));
        for wrong in [
            json!({"units": 0}),
            json!({"layers": 9}),
            json!({"pooling": []}),
            json!({"pooling": ["max", "max"]}),
            json!({"pooling": "first"}),
            json!({"pooling": 1}),
            json!({"hidden_units": -1}),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
