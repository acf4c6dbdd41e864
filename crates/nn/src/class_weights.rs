//! How much the images of each label count.

use std::collections::BTreeMap;

use serde_json::Value;
use teller_numeric::options::nearest;
use teller_numeric::{OptionError, Options};

const NAME: &str = "class_weights";
const LARGEST: f64 = 1000.0;
/// Labels that an error lists.
const LISTED: usize = 20;

/// `class_weights`: what the loss of an image is multiplied with, by its label.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ClassWeights {
    /// All images count alike.
    #[default]
    Equal,
    /// `"balanced"`: all labels count alike, however many images they have, and the mean over
    /// the images is 1 (King and Zeng 2001).
    Balanced,
    /// An object of numbers from 0 to 1000 by label; labels that are not named have 1.
    Given(BTreeMap<String, f64>),
}

impl ClassWeights {
    pub(crate) fn read(options: &mut Options<'_>) -> Result<Self, OptionError> {
        let Some(value) = options.value(NAME) else { return Ok(Self::Equal) };
        let weights = match value {
            Value::String(name) if name == "balanced" => return Ok(Self::Balanced),
            Value::Object(weights) => weights,
            other => {
                let expected = "\"balanced\", or an object of weights by label".to_owned();
                return Err(options.invalid(NAME, other, expected));
            }
        };
        let mut given = BTreeMap::new();
        for (label, weight) in weights {
            match weight.as_f64().filter(|weight| (0.0..=LARGEST).contains(weight)) {
                Some(weight) => given.insert(label.clone(), weight),
                None => {
                    let expected = format!("numbers between 0 and {LARGEST} by label");
                    let got = Value::from_iter([(label.clone(), weight.clone())]);
                    return Err(options.invalid(NAME, &got, expected));
                }
            };
        }
        Ok(Self::Given(given))
    }

    /// The weight of each label, by its index. `rows` are those that are learned from, by their
    /// labels' indices; each label has one.
    pub(crate) fn resolve(
        &self,
        labels: &[String],
        rows: impl Iterator<Item = u32>,
    ) -> Result<Vec<f32>, OptionError> {
        match self {
            Self::Equal => Ok(vec![1.0; labels.len()]),
            Self::Balanced => {
                let mut counts = vec![0u64; labels.len()];
                rows.for_each(|label| counts[label as usize] += 1);
                let each = counts.iter().sum::<u64>() as f64 / labels.len() as f64;
                Ok(counts.iter().map(|&count| (each / count.max(1) as f64) as f32).collect())
            }
            Self::Given(given) => {
                for label in given.keys() {
                    if labels.binary_search(label).is_err() {
                        return Err(unknown(label, labels));
                    }
                }
                let weight = |label| given.get(label).map_or(1.0, |&weight| weight as f32);
                Ok(labels.iter().map(weight).collect())
            }
        }
    }
}

fn unknown(label: &str, labels: &[String]) -> OptionError {
    let listed: Vec<&str> = labels.iter().take(LISTED).map(String::as_str).collect();
    let more = if labels.len() > LISTED { ", ..." } else { "" };
    OptionError::Invalid {
        subject: "the training".to_owned(),
        name: NAME.to_owned(),
        got: format!("for the label \"{label}\""),
        expected: format!("for labels of the data: {}{more}", listed.join(", ")),
        nearest: nearest(label, labels.iter().map(String::as_str)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(given: Value) -> Result<ClassWeights, OptionError> {
        ClassWeights::read(&mut Options::new("cnn", &json!({NAME: given})).unwrap())
    }

    fn resolve(weights: &ClassWeights) -> Result<Vec<f32>, OptionError> {
        let labels = ["cat", "dog", "owl"].map(str::to_owned);
        weights.resolve(&labels, [0, 1, 1, 2, 2, 2, 2, 2, 2].into_iter())
    }

    #[test]
    fn balanced_labels_count_alike() {
        assert_eq!(read(json!(null)), Ok(ClassWeights::Equal));
        assert_eq!(resolve(&ClassWeights::Equal).unwrap(), [1.0; 3]);
        let balanced = read(json!("balanced")).unwrap();
        assert_eq!(resolve(&balanced).unwrap(), [3.0, 1.5, 0.5]);
    }

    #[test]
    fn labels_that_are_not_named_have_one() {
        let given = read(json!({"dog": 2.5, "cat": 0})).unwrap();
        assert_eq!(resolve(&given).unwrap(), [0.0, 2.5, 1.0]);
        assert_eq!(resolve(&read(json!({})).unwrap()).unwrap(), [1.0; 3]);
    }

    #[test]
    fn slips_are_told() {
        for wrong in [json!("balance"), json!(2), json!({"cat": -1}), json!({"cat": "much"})] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
        let error = resolve(&read(json!({"dogs": 2})).unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "option \"class_weights\" of the training is for the label \"dogs\", \
             expected for labels of the data: cat, dog, owl"
        );
        let OptionError::Invalid { nearest, .. } = error else { panic!("{error}") };
        assert_eq!(nearest.as_deref(), Some("dog"));
    }
}
