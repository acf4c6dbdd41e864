//! The learning rate over a training.

use teller_numeric::{OptionError, Options};

/// How the learning rate changes over a training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Schedule {
    /// From the full rate down to 0 along half a cosine (Loshchilov and Hutter 2017).
    Cosine,
    /// The full rate throughout.
    Constant,
    /// The full rate, then down to 0 along a line over the last share of all steps.
    Stable {
        /// Above 0, at most 1.
        decay: f64,
    },
    /// Down to a share of itself every so many epochs.
    Step {
        /// At least 1.
        epochs: u32,
        /// Above 0, at most 1.
        factor: f64,
    },
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Cosine,
    Constant,
    Stable,
    Step,
}

impl Schedule {
    fn kind(self) -> Kind {
        match self {
            Self::Cosine => Kind::Cosine,
            Self::Constant => Kind::Constant,
            Self::Stable { .. } => Kind::Stable,
            Self::Step { .. } => Kind::Step,
        }
    }

    /// Reads `schedule`, absent for `default`: `cosine`, `constant`, `stable` with
    /// `decay_fraction` (0.4), or `step` with `step_epochs` (a third of the training's `epochs`)
    /// and `step_factor` (0.1).
    pub(crate) fn read(
        options: &mut Options<'_>,
        default: Self,
        epochs: u32,
    ) -> Result<Self, OptionError> {
        let mut choices = [
            ("cosine", Kind::Cosine),
            ("constant", Kind::Constant),
            ("stable", Kind::Stable),
            ("step", Kind::Step),
        ];
        choices.sort_by_key(|(_, kind)| *kind != default.kind());
        let kind = options.choice("schedule", &choices)?;
        let decay = options.number("decay_fraction", 0.4, 1e-3..=1.0)?;
        let third = i64::from(epochs.div_ceil(3));
        let step_epochs = options.integer("step_epochs", third, 1..=10_000)? as u32;
        let factor = options.number("step_factor", 0.1, 1e-3..=1.0)?;
        for (name, of, schedule) in [
            ("decay_fraction", Kind::Stable, "stable"),
            ("step_epochs", Kind::Step, "step"),
            ("step_factor", Kind::Step, "step"),
        ] {
            if let (true, Some(given)) = (kind != of, options.value(name)) {
                let expected = format!("absent unless \"schedule\" is \"{schedule}\"");
                return Err(options.invalid(name, given, expected));
            }
        }
        Ok(match kind {
            Kind::Cosine => Self::Cosine,
            Kind::Constant => Self::Constant,
            Kind::Stable => Self::Stable { decay },
            Kind::Step => Self::Step { epochs: step_epochs, factor },
        })
    }
}

/// A schedule laid over the steps of one training.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    schedule: Schedule,
    /// Steps of one epoch.
    epoch: u64,
    /// All steps.
    steps: u64,
    /// Of those, the first in which the rate grows.
    warmup: u64,
}

impl Pace {
    /// `warmup` is a share of all steps.
    pub(crate) fn new(schedule: Schedule, warmup: f64, epoch: u64, epochs: u32) -> Self {
        let steps = epoch * u64::from(epochs);
        let warmup = (steps as f64 * warmup).round() as u64;
        Self { schedule, epoch, steps, warmup }
    }

    /// The share of the full rate at one step, from 0.
    pub(crate) fn factor(&self, step: u64) -> f64 {
        if step < self.warmup {
            return (step + 1) as f64 / self.warmup as f64;
        }
        match self.schedule {
            Schedule::Constant => 1.0,
            Schedule::Cosine => {
                let (done, steps) = (step - self.warmup, self.steps - self.warmup);
                let progress = done as f64 / steps.max(1) as f64;
                0.5 * (1.0 + libm::cos(std::f64::consts::PI * progress))
            }
            Schedule::Stable { decay } => {
                let left = (self.steps - step) as f64 / self.steps.max(1) as f64;
                (left / decay).min(1.0)
            }
            Schedule::Step { epochs, factor } => {
                let falls = step / (self.epoch * u64::from(epochs)).max(1);
                libm::pow(factor, falls as f64)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn factors(schedule: Schedule, warmup: f64) -> Vec<f64> {
        let pace = Pace::new(schedule, warmup, 10, 10);
        (0..=100).map(|step| pace.factor(step)).collect()
    }

    #[test]
    fn the_stable_rate_falls_at_the_end() {
        let factors = factors(Schedule::Stable { decay: 0.4 }, 0.1);
        assert_eq!((factors[0], factors[9], factors[30], factors[60]), (0.1, 1.0, 1.0, 1.0));
        assert!((factors[80] - 0.5).abs() < 1e-12 && factors[100] == 0.0);
    }

    #[test]
    fn the_cosine_falls_from_one_to_zero() {
        let factors = factors(Schedule::Cosine, 0.0);
        assert_eq!(factors[0], 1.0);
        assert!((factors[50] - 0.5).abs() < 1e-12 && factors[100] < 1e-12);
        assert!(factors.windows(2).all(|pair| pair[1] < pair[0]));
    }

    #[test]
    fn steps_fall_at_their_epochs() {
        let factors = factors(Schedule::Step { epochs: 4, factor: 0.5 }, 0.0);
        assert_eq!([factors[0], factors[39]], [1.0; 2]);
        assert_eq!([factors[40], factors[79]], [0.5; 2]);
        assert_eq!([factors[80], factors[99]], [0.25; 2]);
    }

    #[test]
    fn the_rate_warms_up_to_its_full_size() {
        let step = Schedule::Step { epochs: 9, factor: 0.1 };
        for schedule in [Schedule::Constant, Schedule::Cosine, step] {
            let factors = factors(schedule, 0.2);
            for (at, factor) in factors[..20].iter().enumerate() {
                assert!((factor - (at + 1) as f64 / 20.0).abs() < 1e-12, "{schedule:?} {at}");
            }
            assert_eq!([factors[19], factors[20]], [1.0; 2], "{schedule:?}");
        }
        assert!(factors(Schedule::Cosine, 0.2)[100] < 1e-12);
        assert_eq!(Pace::new(Schedule::Cosine, 0.5, 1, 1).factor(0), 1.0);
    }

    #[test]
    fn options_of_another_schedule_are_refused() {
        let read = |given: serde_json::Value| {
            let mut options = Options::new("cnn", &given).unwrap();
            Schedule::read(&mut options, Schedule::Cosine, 7)
        };
        assert_eq!(
            read(json!({"schedule": "step"})),
            Ok(Schedule::Step { epochs: 3, factor: 0.1 })
        );
        assert!(read(json!({"step_epochs": 2})).is_err());
        assert!(read(json!({"schedule": "constant", "step_factor": 0.5})).is_err());
        assert!(read(json!({"schedule": "step", "step_factor": 0})).is_err());
    }
}
