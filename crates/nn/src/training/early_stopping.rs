//! Which epoch is the best, and when none better is to be expected.

use teller_numeric::{OptionError, Options};

use crate::fitted::Validation;

/// When a training ends before its last epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EarlyStopping {
    /// Epochs without a better one after which training ends: `patience`, 0 for never (3).
    pub patience: u32,
    /// `monitor`: by what an epoch is better, `accuracy`, `loss` or `none`.
    pub monitor: Monitor,
    /// By how much it must be better: `min_delta`, 0 to 1 (0).
    pub min_delta: f64,
}

/// What is watched on the part kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Monitor {
    /// A higher accuracy is better; of equal ones, where no `min_delta` is asked, the lower loss.
    Accuracy,
    /// A lower loss is better.
    Loss,
    /// Nothing: every epoch is better than those before it, so that the last one counts, as is
    /// meant by a learning rate that ends at 0.
    None,
}

impl Default for EarlyStopping {
    fn default() -> Self {
        Self { patience: 3, monitor: Monitor::Accuracy, min_delta: 0.0 }
    }
}

impl EarlyStopping {
    /// What is not given is as in `default`.
    pub(super) fn read(options: &mut Options<'_>, default: Self) -> Result<Self, OptionError> {
        let mut monitors =
            [("accuracy", Monitor::Accuracy), ("loss", Monitor::Loss), ("none", Monitor::None)];
        monitors.sort_by_key(|(_, monitor)| *monitor != default.monitor);
        Ok(Self {
            patience: options.integer("patience", default.patience.into(), 0..=10_000)? as u32,
            monitor: options.choice("monitor", &monitors)?,
            min_delta: options.number("min_delta", default.min_delta, 0.0..=1.0)?,
        })
    }

    pub(super) fn is_better(&self, new: &Validation, best: &Validation) -> bool {
        match self.monitor {
            Monitor::None => true,
            Monitor::Loss => new.loss < best.loss - self.min_delta,
            Monitor::Accuracy => {
                let equal = self.min_delta == 0.0 && new.figure == best.figure;
                new.figure > best.figure + self.min_delta || (equal && new.loss < best.loss)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn better_is_what_is_watched() {
        let new = |figure, loss| Validation { loss, figure, rows: 100 };
        let best = new(0.9, 0.5);
        let stopping =
            |monitor, min_delta| EarlyStopping { monitor, min_delta, ..EarlyStopping::default() };
        let accuracy = |delta| stopping(Monitor::Accuracy, delta);
        assert!(accuracy(0.0).is_better(&new(0.91, 0.6), &best));
        assert!(accuracy(0.0).is_better(&new(0.9, 0.4), &best));
        assert!(!accuracy(0.0).is_better(&best, &best));
        assert!(!accuracy(0.02).is_better(&new(0.91, 0.4), &best));
        assert!(!accuracy(0.02).is_better(&new(0.9, 0.4), &best));
        assert!(accuracy(0.02).is_better(&new(0.95, 0.6), &best));
        let loss = |delta| stopping(Monitor::Loss, delta);
        assert!(loss(0.0).is_better(&new(0.8, 0.4), &best));
        assert!(!loss(0.0).is_better(&new(0.95, 0.5), &best));
        assert!(!loss(0.2).is_better(&new(0.9, 0.4), &best));
        assert!(stopping(Monitor::None, 1.0).is_better(&new(0.1, 9.0), &best));
    }
}
