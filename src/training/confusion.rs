//! The confusion matrix of a classifier as a version stores it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use teller_nn::Confusion;

/// A row a label: how often which label was answered.
pub fn confusion(labels: &[String], confusion: Option<Confusion>) -> Vec<Value> {
    let mut rows: BTreeMap<u32, Map<String, Value>> = BTreeMap::new();
    for (&(actual, predicted), &count) in confusion.iter().flat_map(|counts| &counts.0) {
        let label = labels[predicted as usize].clone();
        rows.entry(actual).or_default().insert(label, count.into());
    }
    let row = |(actual, predicted): (u32, _)| json!({"actual": labels[actual as usize], "predicted": Value::Object(predicted)});
    rows.into_iter().map(row).collect()
}
