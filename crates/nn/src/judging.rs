//! How a finished classifier does on the part kept apart, once its probabilities are as often right
//! as they say.

use teller_numeric::Control;

use crate::calibration::temperature;
use crate::layer::softmax;
use crate::{Error, Predictions};

/// Logits that are held at once, at most; the temperature is found from so many.
const LOGITS: usize = 1 << 22;

/// What was found.
#[derive(Debug)]
pub(crate) struct Judged {
    /// Its answers under the temperature.
    pub(crate) predictions: Predictions,
    /// The calibration error that it would have without.
    pub(crate) error_before: f64,
}

impl Judged {
    /// Figures by name.
    pub(crate) fn figures(&self) -> Vec<(String, f64)> {
        let Self { predictions, error_before } = self;
        let figures = [
            ("macro_f1", predictions.macro_f1()),
            ("calibration_error", predictions.calibration_error()),
            ("calibration_error_before", *error_before),
        ];
        figures.map(|(name, value)| (format!("validation_{name}"), value)).to_vec()
    }
}

/// Rows whose logits are held at once.
pub(crate) fn rows_at_once(classes: usize) -> usize {
    (LOGITS / classes.max(1)).max(1)
}

/// Finds the temperature on `rows` (not none), of which `targets` are the labels' indices, and
/// looks at the answers to them, `at_once` of them at a time. `logits_of` some rows are rows x
/// classes.
pub(crate) fn judge(
    labels: &[String],
    targets: &[u32],
    rows: &[u32],
    at_once: usize,
    mut logits_of: impl FnMut(&[u32]) -> Result<Vec<f32>, Error>,
    control: &dyn Control,
) -> Result<(f32, Judged), Error> {
    let classes = labels.len();
    // Evenly spread over the labels: the rows ascend. Mostly these are all.
    let some: Vec<u32> = rows.iter().copied().step_by(rows.len().div_ceil(at_once)).collect();
    let logits = logits_of(&some)?;
    let targets_of_some: Vec<u32> = some.iter().map(|&row| targets[row as usize]).collect();
    let temperature = temperature(&logits, classes, &targets_of_some);
    let [mut before, mut after] = [1.0, 1.0 / temperature]
        .map(|sharpness| (sharpness, Predictions::none(labels, rows.len())));
    let mut probabilities = vec![0.0; classes];
    let mut look = |logits: &[f32], rows: &[u32]| {
        let targets = rows.iter().map(|&row| targets[row as usize]);
        for (logits, target) in logits.chunks_exact(classes).zip(targets) {
            control.check()?;
            for (sharpness, predictions) in [&mut before, &mut after] {
                // As the classifier does it, bit by bit.
                let scaled = logits.iter().map(|logit| logit * *sharpness);
                probabilities.iter_mut().zip(scaled).for_each(|(to, logit)| *to = logit);
                softmax(&mut probabilities, classes);
                predictions.push(&probabilities, Some(target));
            }
        }
        Ok::<_, Error>(())
    };
    if some.len() == rows.len() {
        look(&logits, rows)?;
    } else {
        drop(logits);
        for rows in rows.chunks(at_once) {
            look(&logits_of(rows)?, rows)?;
        }
    }
    let error_before = before.1.calibration_error();
    Ok((temperature, Judged { predictions: after.1, error_before }))
}
