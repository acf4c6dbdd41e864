//! Checked reading of a JSON object of options: every value has a default and a range, and a key
//! that nobody asked for is refused together with the nearest name that exists.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

/// Why an object of options was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum OptionError {
    /// Nobody reads this key.
    #[error("unknown option \"{name}\" for {subject}")]
    Unknown {
        /// What the options are for.
        subject: String,
        /// The key as given.
        name: String,
        /// The known key that looks most like it, if one does.
        nearest: Option<String>,
        /// All keys that exist.
        known: Vec<String>,
    },
    /// The value has the wrong type or lies outside its range.
    #[error("option \"{name}\" of {subject} is {got}, expected {expected}")]
    Invalid {
        /// What the options are for.
        subject: String,
        /// The key.
        name: String,
        /// The value as given.
        got: String,
        /// What would have been right.
        expected: String,
        /// The choice that looks most like the value, where it is one of several names.
        nearest: Option<String>,
    },
    /// The options are no JSON object.
    #[error("the options of {subject} are {got}, expected a JSON object")]
    NotAnObject {
        /// What the options are for.
        subject: String,
        /// The JSON type as given.
        got: String,
    },
}

/// A reader over one object of options. Each getter marks its key as known; [`Options::finish`]
/// then refuses what is left.
///
/// ```
/// use teller_numeric::Options;
/// let given = serde_json::json!({"factors": 32});
/// let mut options = Options::new("als", &given).unwrap();
/// assert_eq!(options.integer("factors", 64, 1..=1024).unwrap(), 32);
/// assert_eq!(options.number("alpha", 1.0, 0.0..=1e6).unwrap(), 1.0);
/// options.finish().unwrap();
/// ```
pub struct Options<'a> {
    subject: &'a str,
    given: &'a Map<String, Value>,
    known: Vec<&'static str>,
}

impl<'a> Options<'a> {
    /// Opens `value` as the options of `subject` (a name for the messages).
    pub fn new(subject: &'a str, value: &'a Value) -> Result<Self, OptionError> {
        match value.as_object() {
            Some(given) => Ok(Self { subject, given, known: Vec::new() }),
            None => Err(OptionError::NotAnObject {
                subject: subject.to_owned(),
                got: json_type(value).to_owned(),
            }),
        }
    }

    /// The object as it was given.
    pub fn given(&self) -> &'a Map<String, Value> {
        self.given
    }

    /// The keys that were asked for by now.
    pub fn known(&self) -> &[&'static str] {
        &self.known
    }

    /// The raw value under `name`; JSON null counts as absent.
    pub fn value(&mut self, name: &'static str) -> Option<&'a Value> {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        self.given.get(name).filter(|value| !value.is_null())
    }

    /// A whole number in `range`.
    pub fn integer(
        &mut self,
        name: &'static str,
        default: i64,
        range: RangeInclusive<i64>,
    ) -> Result<i64, OptionError> {
        let Some(value) = self.value(name) else { return Ok(default) };
        value.as_i64().filter(|number| range.contains(number)).ok_or_else(|| {
            let expected = format!("a whole number between {} and {}", range.start(), range.end());
            self.invalid(name, value, expected)
        })
    }

    /// A finite number in `range`.
    pub fn number(
        &mut self,
        name: &'static str,
        default: f64,
        range: RangeInclusive<f64>,
    ) -> Result<f64, OptionError> {
        let Some(value) = self.value(name) else { return Ok(default) };
        value.as_f64().filter(|number| range.contains(number)).ok_or_else(|| {
            let expected = format!("a number between {} and {}", range.start(), range.end());
            self.invalid(name, value, expected)
        })
    }

    /// True or false.
    pub fn boolean(&mut self, name: &'static str, default: bool) -> Result<bool, OptionError> {
        let Some(value) = self.value(name) else { return Ok(default) };
        value.as_bool().ok_or_else(|| self.invalid(name, value, "true or false".to_owned()))
    }

    /// A text.
    pub fn text(&mut self, name: &'static str) -> Result<Option<&'a str>, OptionError> {
        let Some(value) = self.value(name) else { return Ok(None) };
        match value.as_str() {
            Some(text) => Ok(Some(text)),
            None => Err(self.invalid(name, value, "a text".to_owned())),
        }
    }

    /// One of `choices`; the first of them is the default.
    pub fn choice<T: Copy>(
        &mut self,
        name: &'static str,
        choices: &[(&'static str, T)],
    ) -> Result<T, OptionError> {
        debug_assert!(!choices.is_empty());
        let Some(value) = self.value(name) else { return Ok(choices[0].1) };
        let text = value.as_str().unwrap_or_default();
        if let Some((_, chosen)) = choices.iter().find(|(choice, _)| *choice == text) {
            return Ok(*chosen);
        }
        let names = choices.iter().map(|(choice, _)| *choice);
        Err(OptionError::Invalid {
            subject: self.subject.to_owned(),
            name: name.to_owned(),
            got: value.to_string(),
            expected: format!("one of {}", names.clone().collect::<Vec<_>>().join(", ")),
            nearest: nearest(text, names),
        })
    }

    /// The error for a `value` that the caller found wrong itself.
    pub fn invalid(&self, name: &str, value: &Value, expected: String) -> OptionError {
        OptionError::Invalid {
            subject: self.subject.to_owned(),
            name: name.to_owned(),
            got: value.to_string(),
            expected,
            nearest: None,
        }
    }

    /// Refuses keys that no getter asked for.
    pub fn finish(self) -> Result<(), OptionError> {
        match self.given.keys().find(|key| !self.known.contains(&key.as_str())) {
            None => Ok(()),
            Some(name) => Err(OptionError::Unknown {
                subject: self.subject.to_owned(),
                name: name.clone(),
                nearest: nearest(name, self.known.iter().copied()),
                known: self.known.iter().map(|&known| known.to_owned()).collect(),
            }),
        }
    }
}

/// The one of `names` that looks most like `name`, if any is near enough to be a slip.
pub fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<String> {
    let name = name.to_lowercase();
    names
        .map(|candidate| (strsim::jaro_winkler(&name, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness >= 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate.to_owned())
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let given = json!({"epoch": 3});
        let mut options = Options::new("cnn", &given).unwrap();
        options.integer("epochs", 5, 1..=1000).unwrap();
        options.integer("batch_size", 32, 1..=4096).unwrap();
        let Err(OptionError::Unknown { nearest, known, .. }) = options.finish() else {
            panic!("accepted")
        };
        assert_eq!(nearest.as_deref(), Some("epochs"));
        assert_eq!(known, ["epochs", "batch_size"]);
    }

    #[test]
    fn ranges_types_and_defaults() {
        let given = json!({"a": 0, "b": "x", "c": null, "d": 1.5, "e": "adm"});
        let mut options = Options::new("cnn", &given).unwrap();
        assert!(options.integer("a", 5, 1..=10).is_err());
        assert!(options.number("b", 5.0, 1.0..=10.0).is_err());
        assert_eq!(options.integer("c", 5, 1..=10), Ok(5));
        assert!(options.integer("d", 5, 1..=10).is_err());
        let Err(OptionError::Invalid { nearest, .. }) =
            options.choice("e", &[("adam", 1), ("sgd", 2)])
        else {
            panic!("accepted")
        };
        assert_eq!(nearest.as_deref(), Some("adam"));
        options.finish().unwrap();
        assert!(Options::new("cnn", &json!([1])).is_err());
    }
}
