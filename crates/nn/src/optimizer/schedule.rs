/// How the learning rate changes over a training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// From the full rate down to 0 along half a cosine (Loshchilov and Hutter 2017).
    Cosine,
    /// The full rate throughout.
    Constant,
}

impl Schedule {
    /// The share of the full rate at one step (from 0) of so many.
    pub(crate) fn factor(self, step: u64, steps: u64) -> f64 {
        match self {
            Schedule::Constant => 1.0,
            Schedule::Cosine => {
                let progress = step as f64 / steps.max(1) as f64;
                0.5 * (1.0 + libm::cos(std::f64::consts::PI * progress))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cosine_falls_from_one_to_zero() {
        let factors: Vec<f64> = (0..=100).map(|step| Schedule::Cosine.factor(step, 100)).collect();
        assert_eq!(factors[0], 1.0);
        assert!((factors[50] - 0.5).abs() < 1e-12 && factors[100] < 1e-12);
        assert!(factors.windows(2).all(|pair| pair[1] < pair[0]));
        assert_eq!(Schedule::Constant.factor(99, 100), 1.0);
    }
}
