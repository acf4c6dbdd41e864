//! An autoencoder as named arrays: `weights` in the order in which they are trained, `mean` and
//! `deviation` of the rows' places, `usual` nats by a row's moments, and `losses` beyond those,
//! ascending, of rows that were learned from.

use teller_payload::{AlignedBytes, Array, Payload, PayloadError, PayloadWriter, SharedBytes};

use super::layout::Layers;
use super::scale::Scale;
use super::usual::Usual;

/// The parts of a stored autoencoder.
pub(super) struct Stored {
    pub(super) payload: Payload,
    pub(super) weights: Array<f32>,
    pub(super) losses: Array<f32>,
    pub(super) scale: Scale,
    pub(super) usual: Usual,
}

pub(super) fn write(weights: &[f32], scale: &Scale, usual: &Usual, losses: &[f32]) -> AlignedBytes {
    let usual = usual.to_numbers();
    let mut writer = PayloadWriter::new();
    for (name, numbers) in [
        ("weights", weights),
        ("mean", &scale.mean),
        ("deviation", &scale.deviation),
        ("usual", &usual),
        ("losses", losses),
    ] {
        writer.array(name, &[numbers.len()], numbers);
    }
    writer.finish()
}

/// Untrusted, so what no training gives is refused.
pub(super) fn read(layers: &Layers, bytes: SharedBytes) -> Result<Stored, PayloadError> {
    let payload = Payload::parse(bytes)?;
    let weights = payload.array_of("weights", &[layers.weights])?;
    let array = |name| payload.array_of::<f32>(name, &[layers.layout.width]);
    let [mean, deviation] = [payload.get(array("mean")?), payload.get(array("deviation")?)];
    let losses = payload.get(payload.array::<f32>("losses")?.0);
    let wrong = |name: &str, got: Option<&f32>, expected| PayloadError::Value {
        name: name.to_owned(),
        got: got.map_or_else(|| "nothing".to_owned(), f32::to_string),
        expected,
    };
    if let Some(got) = mean.iter().find(|x| !x.is_finite()) {
        return Err(wrong("mean", Some(got), "finite numbers"));
    }
    if let Some(got) = deviation.iter().find(|x| !(x.is_finite() && **x > 0.0)) {
        return Err(wrong("deviation", Some(got), "finite numbers above 0"));
    }
    let numbers = payload.get(payload.array_of::<f32>("usual", &[5])?);
    let usual = numbers.try_into().ok().and_then(Usual::from_numbers);
    let Some(usual) = usual else {
        return Err(wrong("usual", numbers.first(), "finite numbers, the last two in order"));
    };
    let last = losses.last();
    if !losses.is_sorted() || !last.is_some_and(|loss| loss.is_finite()) {
        return Err(wrong("losses", last, "finite numbers that ascend"));
    }
    if payload.arrays().count() != 5 {
        return Err(PayloadError::Directory("it has arrays that no autoencoder has"));
    }
    let scale = Scale { mean: mean.to_vec(), deviation: deviation.to_vec() };
    let losses = payload.array("losses")?.0;
    Ok(Stored { payload, weights, losses, scale, usual })
}
