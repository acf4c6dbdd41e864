//! The parameters that a search tries.

use serde_json::{Map, Value};
use teller_numeric::{OptionError, Options, Stream};

/// What a list of values is missing.
const LIST: &str = "an array of values that are to be tried";

/// Reads `grid`, or `random` with `trials`, and `budget`: the values of parameters that are to be
/// tried together, an object a trial.
pub(crate) fn read(
    options: &mut Options<'_>,
    seed: u64,
) -> Result<Vec<Map<String, Value>>, OptionError> {
    let budget = options.integer("budget", 100, 1..=1000)? as usize;
    let drawn = options.integer("trials", 20, 1..=1000)? as usize;
    let (grid, random) = (options.value("grid"), options.value("random"));
    let (name, given) = match (grid, random) {
        (Some(grid), None) => ("grid", grid),
        (None, Some(random)) => ("random", random),
        _ => {
            let got = random.unwrap_or(&Value::Null);
            let expected = "an object of parameters, and no \"grid\" beside it, or that alone";
            return Err(options.invalid("random", got, expected.to_owned()));
        }
    };
    let lists = given.as_object().filter(|lists| !lists.is_empty()).and_then(|lists| {
        let list = |(name, list): (&String, &Value)| {
            let list = list.as_array().filter(|list| !list.is_empty())?;
            Some((name.clone(), list.clone()))
        };
        lists.iter().map(list).collect::<Option<Vec<(String, Vec<Value>)>>>()
    });
    let Some(lists) = lists else {
        return Err(options.invalid(name, given, format!("an object with, for each, {LIST}")));
    };
    let trials = match name {
        "grid" => lists.iter().fold(1usize, |all, (_, list)| all.saturating_mul(list.len())),
        _ => drawn,
    };
    if trials > budget {
        let expected = format!("at most {budget} trials (\"budget\"), and these are {trials}");
        return Err(options.invalid(name, given, expected));
    }
    Ok((0..trials)
        .map(|trial| match name {
            "grid" => cell(&lists, trial),
            _ => draw(&lists, &mut Stream::new(seed, "trials", trial as u64)),
        })
        .collect())
}

/// One combination of all; the last parameter changes the fastest.
fn cell(lists: &[(String, Vec<Value>)], mut number: usize) -> Map<String, Value> {
    let mut cell = Map::new();
    for (name, list) in lists.iter().rev() {
        cell.insert(name.clone(), list[number % list.len()].clone());
        number /= list.len();
    }
    cell
}

fn draw(lists: &[(String, Vec<Value>)], stream: &mut Stream) -> Map<String, Value> {
    let drawn = lists.iter().map(|(name, list)| {
        let value = match &list[..] {
            [Value::Number(from), Value::Number(to)] => {
                let whole = from.is_i64() && to.is_i64();
                let ends = (from.as_f64().unwrap_or_default(), to.as_f64().unwrap_or_default());
                between(ends, whole, f64::from(stream.uniform()))
            }
            _ => list[stream.below(list.len() as u32) as usize].clone(),
        };
        (name.clone(), value)
    });
    drawn.collect()
}

/// A number between two, at `share` of the way; by its logarithm where they are far apart.
fn between((from, to): (f64, f64), whole: bool, share: f64) -> Value {
    let (low, high) = (from.min(to), from.max(to));
    let value = if low > 0.0 && high / low >= 10.0 {
        low * libm::exp(share * libm::log(high / low))
    } else {
        low + share * (high - low)
    };
    let value = value.clamp(low, high);
    if whole { Value::from(value.round() as i64) } else { Value::from(value) }
}
