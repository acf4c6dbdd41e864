//! How well a classifier does on labelled images.

use rayon::prelude::*;
use teller_numeric::Control;

use crate::{Error, ImageClassifier, ImageDataset, best};

/// The least probability that the log loss reckons with, so that one sure mistake is not infinite.
const LEAST_PROBABILITY: f64 = 1e-15;

/// A classifier's answers to a dataset.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    /// For each image, the index of the most probable label of the classifier.
    pub best: Vec<u32>,
    /// For each image, the index of its own label, `None` if the classifier does not know it.
    pub targets: Vec<Option<u32>>,
    /// For each image, the probability of its own label.
    pub of_target: Vec<f32>,
    classes: usize,
}

impl Predictions {
    /// Asks for every image, on the threads of the ambient rayon pool.
    pub fn new(
        classifier: &ImageClassifier,
        data: &ImageDataset,
        control: &dyn Control,
    ) -> Result<Self, Error> {
        let labels: Vec<Option<u32>> = data
            .labels()
            .iter()
            .map(|label| classifier.labels().binary_search(label).ok().map(|at| at as u32))
            .collect();
        let targets: Vec<Option<u32>> =
            data.targets().iter().map(|&target| labels[target as usize]).collect();
        let answers: Vec<(u32, f32)> = (0..data.len())
            .into_par_iter()
            .with_min_len(64)
            .map_init(
                || classifier.workspace(),
                |workspace, row| {
                    control.check()?;
                    let workspace = workspace.as_mut().map_err(|error| error.clone())?;
                    let raster = data.raster(row);
                    let answer = classifier.probabilities(raster, workspace, control)?;
                    let of_target = targets[row].map_or(0.0, |target| answer[target as usize]);
                    Ok((best(answer) as u32, of_target))
                },
            )
            .collect::<Result<_, Error>>()?;
        let (best, of_target) = answers.into_iter().unzip();
        Ok(Self { best, targets, of_target, classes: classifier.labels().len() })
    }

    /// Share of images whose label was the most probable one.
    pub fn accuracy(&self) -> f64 {
        let hits =
            self.targets.iter().zip(&self.best).filter(|(target, best)| **target == Some(**best));
        hits.count() as f64 / self.best.len().max(1) as f64
    }

    /// Mean of `-ln` of the probability of the image's own label.
    pub fn log_loss(&self) -> f64 {
        let losses =
            self.of_target.iter().map(|&p| -libm::log(f64::from(p).max(LEAST_PROBABILITY)));
        losses.sum::<f64>() / self.of_target.len().max(1) as f64
    }

    /// How often each label (row) was taken for each label (column), classes x classes; images
    /// with labels that the classifier does not know are left out.
    pub fn confusion(&self) -> Vec<u64> {
        let mut counts = vec![0; self.classes * self.classes];
        for (target, &best) in self.targets.iter().zip(&self.best) {
            if let Some(target) = target {
                counts[*target as usize * self.classes + best as usize] += 1;
            }
        }
        counts
    }
}

/// The figures of `teller.evaluate`: `rows`, `accuracy`, `log_loss`.
pub fn evaluate(
    classifier: &ImageClassifier,
    data: &ImageDataset,
    control: &dyn Control,
) -> Result<Vec<(String, f64)>, Error> {
    let predictions = Predictions::new(classifier, data, control)?;
    Ok(vec![
        ("rows".to_owned(), predictions.best.len() as f64),
        ("accuracy".to_owned(), predictions.accuracy()),
        ("log_loss".to_owned(), predictions.log_loss()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_known_answers() {
        let predictions = Predictions {
            best: vec![0, 1, 1, 0],
            targets: vec![Some(0), Some(1), Some(0), None],
            of_target: vec![0.5, 1.0, 0.25, 0.0],
            classes: 2,
        };
        assert_eq!(predictions.accuracy(), 0.5);
        let expected = (2f64.ln() + 4f64.ln() - 1e-15f64.ln()) / 4.0;
        assert!((predictions.log_loss() - expected).abs() < 1e-12);
        assert_eq!(predictions.confusion(), [1, 1, 0, 1]);
    }
}
