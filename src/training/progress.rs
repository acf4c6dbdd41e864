//! How far a training is: an INFO line a step, and the rows of its log.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use teller_numeric::Step;

use crate::bridge::messages;

/// Reports the steps of one training and keeps them for its log.
pub struct Progress {
    noun: &'static str,
    began: Instant,
    log: Vec<Value>,
}

impl Progress {
    /// For steps that are called `noun` (epoch, sweep).
    pub fn new(noun: &'static str) -> Self {
        Self { noun, began: Instant::now(), log: Vec::new() }
    }

    /// Tells the client of a step.
    pub fn step(&mut self, step: Step) {
        messages::info(&self.line(&step, self.began.elapsed()));
        let (metric, value) = step.validation.unzip();
        self.log.push(json!({
            "step": step.step,
            "of": step.of,
            "loss": step.loss,
            "metric": metric,
            "value": value,
            "rows": step.rows,
            "seconds": step.elapsed.as_secs_f64(),
        }));
    }

    /// The steps so far, as rows of the log.
    pub fn into_log(self) -> Vec<Value> {
        self.log
    }

    fn line(&self, step: &Step, elapsed: Duration) -> String {
        let Step { step: number, of, loss, .. } = step;
        let validation = match step.validation {
            Some((name, value)) => format!(", {name} {value:.4}"),
            None => String::new(),
        };
        let rate = step.rows as f64 / step.elapsed.as_secs_f64().max(1e-9);
        let left = elapsed.as_secs_f64() / f64::from(*number) * f64::from(of - number);
        format!(
            "{} {number} of {of}: loss {loss:.6}{validation}, {rate:.0} rows/s, at most {left:.0} s left",
            self.noun
        )
    }
}
