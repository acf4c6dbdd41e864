//! How far a training is: an INFO line a step, and the row of its log.

use std::time::Instant;

use serde_json::{Value, json};
use teller_numeric::Step;

use crate::bridge::messages;

/// Tells the client of the steps of one training.
pub struct Progress {
    noun: &'static str,
    began: Instant,
    told: u32,
}

impl Progress {
    /// For steps that are called `noun` (epoch, sweep).
    pub fn new(noun: &'static str) -> Self {
        Self { noun, began: Instant::now(), told: 0 }
    }

    /// Tells the client of a step; gives its row of the log.
    pub fn tell(&mut self, step: &Step) -> Value {
        self.told += 1;
        messages::info(&self.line(step));
        let (metric, value) = step.validation.unzip();
        json!({
            "step": step.step,
            "of": step.of,
            "loss": step.loss,
            "metric": metric,
            "value": value,
            "rows": step.rows,
            "seconds": step.elapsed.as_secs_f64(),
        })
    }

    fn line(&self, step: &Step) -> String {
        let Step { step: number, of, loss, .. } = step;
        let validation = match step.validation {
            Some((name, value)) => format!(", {name} {value:.4}"),
            None => String::new(),
        };
        let rate = step.rows as f64 / step.elapsed.as_secs_f64().max(1e-9);
        let each = self.began.elapsed().as_secs_f64() / f64::from(self.told);
        let left = each * f64::from(of.saturating_sub(*number));
        format!(
            "{} {number} of {of}: loss {loss:.6}{validation}, {rate:.0} rows/s, at most {left:.0} s left",
            self.noun
        )
    }
}
