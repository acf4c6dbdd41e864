//! The gate before production: a new version is measured on data of the gate's own, beside the
//! version in production.

use serde_json::{Value, json};
use teller_numeric::Options;
use teller_numeric::options::nearest;

use crate::bridge::sandbox::Reader;
use crate::cache::Model;
use crate::catalog::data::Query;
use crate::error::Error;
use crate::training::evaluation::evaluate;

/// The metrics of which less is better.
const LESS_IS_BETTER: [&str; 9] = [
    "log_loss",
    "negative_elbo",
    "reconstruction",
    "divergence",
    "mean_squared_error",
    "rmse",
    "column_variation",
    "correlation_difference",
    "frechet_distance",
];

/// What a new version must reach.
pub struct Gate {
    metric: String,
    min: Option<f64>,
    max: Option<f64>,
    max_drop: Option<f64>,
    data: String,
}

/// How a new version did.
pub struct Verdict {
    metric: String,
    challenger: f64,
    champion: Option<f64>,
    /// Whether it may go into production.
    pub passed: bool,
}

impl Gate {
    /// Reads `{"metric", "data", "min", "max", "max_drop"}`.
    pub fn read(value: &Value) -> Result<Self, Error> {
        let mut options = Options::new("the gate", value)?;
        let mut bound = |name| match options.value(name) {
            None => Ok(None),
            Some(_) => options.number(name, 0.0, f64::MIN..=f64::MAX).map(Some),
        };
        let (min, max, max_drop) = (bound("min")?, bound("max")?, bound("max_drop")?);
        let metric = options.text("metric")?.map(str::to_owned);
        let data = options.text("data")?.map(str::to_owned);
        options.finish()?;
        match (metric, data) {
            (Some(metric), Some(data)) if [min, max, max_drop].iter().any(Option::is_some) => {
                Ok(Self { metric, min, max, max_drop, data })
            }
            _ => Err(Error::Gate(
                "the gate needs a metric, data, and at least one of min, max, max_drop".to_owned(),
            )),
        }
    }

    /// Measures both on the gate's data, as `reader` reads them.
    pub fn judge(
        &self,
        challenger: &Model,
        champion: Option<&Model>,
        reader: Reader,
    ) -> Result<Verdict, Error> {
        let challenger = self.measure(challenger, reader)?;
        let champion = champion.map(|champion| self.measure(champion, reader)).transpose()?;
        let drop = champion.map(|champion| {
            let less_is_better = LESS_IS_BETTER.contains(&&*self.metric);
            if less_is_better { challenger - champion } else { champion - challenger }
        });
        // Written so that a figure that is no number passes nothing.
        let passed = self.min.is_none_or(|min| challenger >= min)
            && self.max.is_none_or(|max| challenger <= max)
            && match (self.max_drop, drop) {
                (Some(most), Some(drop)) => drop <= most,
                _ => true,
            };
        Ok(Verdict { metric: self.metric.clone(), challenger, champion, passed })
    }

    fn measure(&self, model: &Model, reader: Reader) -> Result<f64, Error> {
        let figures = evaluate(model, Query { text: &self.data, reader })?;
        let names = || figures.iter().map(|(name, _)| &**name);
        figures.iter().find(|(name, _)| *name == self.metric).map(|(_, value)| *value).ok_or_else(
            || {
                let known = names().collect::<Vec<_>>().join(", ");
                let meant = nearest(&self.metric, names())
                    .map(|nearest| format!("; did you mean \"{nearest}\"?"))
                    .unwrap_or_default();
                Error::Gate(format!(
                    "the gate's metric \"{}\" is none of {known}{meant}",
                    self.metric
                ))
            },
        )
    }
}

impl Verdict {
    /// As the manifest keeps it.
    pub fn to_json(&self) -> Value {
        json!({
            "metric": self.metric,
            "challenger": self.challenger,
            "champion": self.champion,
            "passed": self.passed,
        })
    }
}
