//! What the answer to a training image ought to be.

/// The label of an image, or of two images that were mixed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Target {
    pub(crate) first: u32,
    pub(crate) second: u32,
    /// How much of the image is of the first label, 0 to 1; the rest is of the second.
    pub(crate) share: f32,
}

impl Target {
    pub(crate) fn one(label: u32) -> Self {
        Self { first: label, second: label, share: 1.0 }
    }
}

/// How labels become the probabilities that the loss asks for.
#[derive(Clone, Debug)]
pub(crate) struct Objective {
    /// Share of each target that is spread evenly over all labels (Szegedy et al. 2016).
    smoothing: f32,
    /// What the loss of each label is multiplied with.
    weights: Vec<f32>,
}

/// A multiple of a distribution over the labels: that of the loss against it is the same multiple.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Wanted {
    /// Index and amount of the labels that are meant; the amounts of equal ones add up.
    pub(crate) labels: [(usize, f32); 2],
    /// Of every label, besides.
    pub(crate) each: f32,
    /// Of all together.
    pub(crate) total: f32,
}

impl Objective {
    pub(crate) fn new(smoothing: f64, weights: Vec<f32>) -> Self {
        Self { smoothing: smoothing as f32, weights }
    }

    /// Every label as it is.
    pub(crate) fn plain(classes: usize) -> Self {
        Self::new(0.0, vec![1.0; classes])
    }

    pub(crate) fn wanted(&self, target: Target) -> Wanted {
        let amount = |label: u32, share: f32| share * self.weights[label as usize];
        let first = amount(target.first, target.share);
        let second = amount(target.second, 1.0 - target.share);
        let (total, kept) = (first + second, 1.0 - self.smoothing);
        Wanted {
            labels: [
                (target.first as usize, first * kept),
                (target.second as usize, second * kept),
            ],
            each: total * self.smoothing / self.weights.len() as f32,
            total,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_objective_is_the_label() {
        let wanted = Objective::plain(3).wanted(Target::one(2));
        assert_eq!(wanted, Wanted { labels: [(2, 1.0), (2, 0.0)], each: 0.0, total: 1.0 });
    }

    #[test]
    fn smoothing_mixing_and_weights_go_together() {
        let objective = Objective::new(0.5, vec![1.0, 2.0, 4.0, 1.0]);
        let wanted = objective.wanted(Target { first: 1, second: 2, share: 0.25 });
        assert_eq!(wanted, Wanted { labels: [(1, 0.25), (2, 1.5)], each: 0.4375, total: 3.5 });
        let sum = wanted.labels.iter().map(|(_, amount)| amount).sum::<f32>() + 4.0 * wanted.each;
        assert_eq!(sum, wanted.total);
    }
}
