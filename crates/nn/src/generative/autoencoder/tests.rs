//! The gradient, and that batches tell rows as the served network does.

use teller_numeric::{Isa, Stream, Uninterrupted};

use super::batch::Asked;
use super::layout::{AutoencoderLayout, Layers};
use super::learner::AutoencoderLearner;
use super::scale::Scale;
use super::usual::{Usual, moments};
use super::{AutoencoderParams, Examples, Likelihood, fit_autoencoder};
use crate::TrainingParams;

fn params(likelihood: Likelihood) -> AutoencoderParams {
    let usual = AutoencoderParams::of(likelihood);
    let training = TrainingParams { epochs: 2, batch_size: 8, ..usual.training };
    AutoencoderParams { training, hidden: 9, latent: 3, ..usual }
}

/// Rows of 7 numbers from 0 to 1 that hang together.
fn examples(rows: u64) -> Examples {
    let mut examples = Examples::numbers(u64::MAX);
    for row in 0..rows {
        let mut stream = Stream::new(5, "rows", row);
        let (a, b) = (stream.uniform(), stream.uniform());
        let row: Vec<f32> = (0..7)
            .map(|i| {
                let share = i as f32 / 6.0;
                (a * share + b * (1.0 - share)) * 0.8 + 0.2 * stream.uniform()
            })
            .collect();
        examples.push_numbers(&row).unwrap();
    }
    examples
}

/// Of so many rows and 6 columns, some with more ink than others.
fn images(height: usize, count: u64) -> Examples {
    let mut images = Examples::pixels(height, 6, 1, u64::MAX);
    for image in 0..count {
        let mut stream = Stream::new(6, "images", image);
        let ink = stream.below(250) + 1;
        let image: Vec<u8> = (0..height * 6).map(|_| stream.below(ink) as u8).collect();
        images.push_pixels(&image).unwrap();
    }
    images
}

#[test]
fn the_gradient_is_the_slope_of_the_evidence_lower_bound() {
    let [gaussian, bernoulli] = [Likelihood::Gaussian, Likelihood::Bernoulli].map(params);
    let convolutional = AutoencoderParams { filters: Some(3), ..bernoulli.clone() };
    for (params, examples) in
        [(gaussian, examples(6)), (bernoulli, examples(6)), (convolutional, images(4, 6))]
    {
        let layers = Layers::new(AutoencoderLayout::new(&params, &examples).unwrap()).unwrap();
        let rows: Vec<u32> = (0..6).collect();
        let scale = Scale::of(params.likelihood, &examples, &rows, &Uninterrupted).unwrap();
        let asked = Asked { layers: &layers, scale: &scale, examples: &examples };
        let mut learner = AutoencoderLearner::new(Isa::detect(), asked, &params, 6, 6).unwrap();
        // Of some size, biases too, so that no part of the loss is flat.
        let mut stream = Stream::new(6, "weights", 0);
        learner.weights.iter_mut().for_each(|w| *w = 0.5 * stream.normal() as f32);
        let loss = |learner: &mut AutoencoderLearner<'_>| {
            learner.learn(&rows, 100, 0.7, &Uninterrupted).unwrap() / 6.0
        };
        loss(&mut learner);
        let gradient = learner.gradient.to_vec();
        let longest = gradient.iter().fold(0.0f32, |longest, g| longest.max(g.abs()));
        assert!(longest > 0.1);
        for (place, &slope) in gradient.iter().enumerate() {
            let (before, step) = (learner.weights[place], 4e-3);
            learner.weights[place] = before + step;
            let above = loss(&mut learner);
            learner.weights[place] = before - step;
            let below = loss(&mut learner);
            learner.weights[place] = before;
            let expected = ((above - below) / f64::from(2.0 * step)) as f32;
            let off = (slope - expected).abs();
            assert!(off < 2e-3 * longest, "{params:?} {place}: {slope}, {expected}");
        }
    }
}

#[test]
fn a_row_alone_is_told_as_among_others() {
    for likelihood in [Likelihood::Gaussian, Likelihood::Bernoulli] {
        let (params, examples) = (params(likelihood), examples(100));
        let fitted = fit_autoencoder(&params, &examples, None, &Uninterrupted).unwrap();
        let served = fitted.autoencoder().unwrap();
        let mut losses: Vec<f32> = Vec::new();
        let mut row = vec![0.0; 7];
        for number in 0..100 {
            examples.load(number, &mut row);
            losses.push(served.loss(&row, &Uninterrupted).unwrap() as f32);
        }
        assert_eq!(served.stored.usual, Usual::default());
        let stored = served.stored.payload.get(served.stored.losses);
        assert_eq!(stored.len(), 90);
        assert!(stored.iter().all(|loss| losses.contains(loss)), "bit by bit");
    }
}

#[test]
fn an_image_alone_is_as_far_beyond_the_usual_as_in_the_training() {
    for filters in [None, Some(4)] {
        let (images, params) = (images(8, 100), params(Likelihood::Bernoulli));
        let params = AutoencoderParams { filters, ..params };
        let fitted = fit_autoencoder(&params, &images, None, &Uninterrupted);
        let served = fitted.unwrap().autoencoder().unwrap();
        assert_ne!(served.stored.usual, Usual::default());
        let mut losses: Vec<f32> = Vec::new();
        let mut row = vec![0.0; 8 * 6];
        for number in 0..100 {
            images.load(number, &mut row);
            let loss = served.loss(&row, &Uninterrupted).unwrap();
            losses.push((loss - served.stored.usual.nats(moments(&row))) as f32);
        }
        let stored = served.stored.payload.get(served.stored.losses);
        assert_eq!(stored.len(), 90);
        assert!(stored.iter().all(|loss| losses.contains(loss)), "bit by bit");
        let mean = stored.iter().sum::<f32>() / 90.0;
        assert!(mean.abs() < 1e-3, "{mean}: they are beyond it as often as below");
    }
}
