use std::borrow::Cow;

use teller_numeric::{OptionError, Options};
use teller_payload::{Payload, PayloadError};

use crate::csr::Csr;

/// What a weight counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weighting {
    /// `log2(1 + weight)`: counts and amounts, whose greatest would drown the others (on Last.FM
    /// raw play counts lose two thirds of NDCG@10). A weight of 1 stays 1. Hu, Koren and Volinsky
    /// 2008 propose a logarithm too, in their equation 6.
    Log,
    /// The weight itself.
    Linear,
    /// 1, whatever the weight.
    Binary,
}

impl Weighting {
    pub(crate) fn read(options: &mut Options<'_>) -> Result<Self, OptionError> {
        options.choice("weighting", &[("log", Self::Log), ("linear", Self::Linear)])
    }

    /// As the array "weighting" of a payload holds it.
    pub(crate) fn code(self) -> u32 {
        match self {
            Self::Log => 0,
            Self::Linear => 1,
            Self::Binary => 2,
        }
    }

    /// What the array "weighting" of a payload says.
    pub(crate) fn stored(payload: &Payload) -> Result<Self, PayloadError> {
        match payload.get(payload.array_of::<u32>("weighting", &[1])?)[0] {
            0 => Ok(Self::Log),
            1 => Ok(Self::Linear),
            2 => Ok(Self::Binary),
            other => Err(PayloadError::Value {
                name: "weighting".to_owned(),
                got: other.to_string(),
                expected: "0, 1 or 2",
            }),
        }
    }

    /// What a weight counts for.
    pub(crate) fn count(self, weight: f32) -> f32 {
        match self {
            Self::Log => (libm::log1p(f64::from(weight)) / std::f64::consts::LN_2) as f32,
            Self::Linear => weight,
            Self::Binary => 1.0,
        }
    }

    /// The weight that counts for so much, to rounding.
    pub(crate) fn uncount(self, counted: f32) -> f32 {
        match self {
            Self::Log => libm::expm1(f64::from(counted) * std::f64::consts::LN_2) as f32,
            Self::Linear => counted,
            Self::Binary => 1.0,
        }
    }

    /// The matrix with its weights turned into what they count for.
    pub(crate) fn apply(self, matrix: &Csr) -> Cow<'_, Csr> {
        if self == Self::Linear || matrix.values.iter().all(|&weight| weight == 1.0) {
            return Cow::Borrowed(matrix);
        }
        Cow::Owned(Csr {
            offsets: matrix.offsets.clone(),
            columns: matrix.columns.clone(),
            values: matrix.values.iter().map(|&weight| self.count(weight)).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stays_one() {
        let row = |values: &[f32]| Csr {
            offsets: vec![0, values.len() as u64],
            columns: (0..values.len() as u32).collect(),
            values: values.to_vec(),
        };
        let weights = row(&[1.0, 3.0, 1e-30]);
        let counted = Weighting::Log.apply(&weights);
        assert_eq!(counted.values[..2], [1.0, 2.0]);
        assert!((counted.values[2] / 1e-30 - std::f32::consts::LOG2_E).abs() < 1e-6);
        assert_eq!(*Weighting::Linear.apply(&weights), weights);
    }

    #[test]
    fn what_counts_is_known_by_its_code_and_can_be_turned_back() {
        for weighting in [Weighting::Log, Weighting::Linear] {
            let code = [weighting.code()];
            let mut writer = teller_payload::PayloadWriter::new();
            writer.array("weighting", &[1], &code);
            let payload = Payload::parse(std::sync::Arc::new(writer.finish())).unwrap();
            assert_eq!(Weighting::stored(&payload), Ok(weighting));
            for weight in [1e-30f32, 0.3, 1.0, 5.0, 1e6] {
                let back = weighting.uncount(weighting.count(weight));
                assert!((back / weight - 1.0).abs() < 3e-6, "{weight} {back}");
            }
        }
    }
}
