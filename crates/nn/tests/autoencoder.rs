//! Autoencoders: trainings that go on from checkpoints, the same bits everywhere, stored numbers
//! that nobody trained, and how well real rows are told.

#![allow(
    clippy::unwrap_used,
    clippy::result_large_err,
    reason = "a failed test panics, errors are rare"
)]

mod common;
#[path = "common/credit.rs"]
mod credit;

use std::sync::{Arc, Mutex};

use common::interrupting::Interrupting;
use linfa::DatasetBase;
use linfa::traits::{Fit, Predict};
use linfa_reduction::Pca;
use ndarray::{Array2, Axis};
use proptest::prelude::*;
use serde_json::{Value, json};
use teller_nn::{
    Autoencoder, AutoencoderParams, Error, Examples, ImageDataset, Likelihood, TrainingParams,
    autoencoder_memory, evaluate_autoencoder, fit_autoencoder, fit_autoencoder_on,
};
use teller_numeric::{Cancelled, Isa, Options, Stream, Uninterrupted};
use teller_payload::{AlignedBytes, PayloadError, PayloadWriter, SharedBytes};

const WIDTH: usize = 6;

fn params(likelihood: Likelihood) -> AutoencoderParams {
    let usual = AutoencoderParams::of(likelihood);
    let training = TrainingParams { epochs: 3, batch_size: 32, ..usual.training };
    AutoencoderParams { training, hidden: 16, latent: 2, ..usual }
}

/// Rows on a curve, and a little beside it.
fn row(number: u64) -> Vec<f32> {
    let mut stream = Stream::new(9, "curve", number);
    let at = f64::from(stream.uniform()) * 6.0;
    let place = |i: usize| (at + i as f64).sin() * 0.4 + 0.5 + 0.02 * stream.normal();
    (0..WIDTH).map(place).map(|x| x.clamp(0.0, 1.0) as f32).collect()
}

fn examples(rows: u64) -> Examples {
    let mut examples = Examples::numbers(u64::MAX);
    (0..rows).for_each(|number| examples.push_numbers(&row(number)).unwrap());
    examples
}

/// A convolutional network, and images of discs for it.
fn discs(images: u64) -> (AutoencoderParams, Examples) {
    let mut examples = Examples::pixels(12, 8, 1, u64::MAX);
    for number in 0..images {
        examples.push_pixels(&disc(number)).unwrap();
    }
    (AutoencoderParams { filters: Some(4), ..params(Likelihood::Bernoulli) }, examples)
}

fn disc(number: u64) -> Vec<u8> {
    let mut stream = Stream::new(9, "discs", number);
    let [row, column] = [12.0, 8.0].map(|side| f64::from(stream.uniform()) * side);
    let pixel = |place: usize| {
        let (down, right) = ((place / 8) as f64 - row, (place % 8) as f64 - column);
        (255.0 / (1.0 + (down * down + right * right) / 4.0)) as u8
    };
    (0..96).map(pixel).collect()
}

fn shared(bytes: &[u8]) -> SharedBytes {
    Arc::new(AlignedBytes::from(bytes))
}

/// [`row`], and for probabilities one of numbers that are nearly 0 or 1: of others most nats are
/// their own.
fn row_for(likelihood: Likelihood, number: u64) -> Vec<f32> {
    let near = |x: &mut f32| *x = 1.0 / (1.0 + (-20.0 * (*x - 0.5)).exp());
    let mut row = row(number);
    if likelihood == Likelihood::Bernoulli {
        row.iter_mut().for_each(near);
    }
    row
}

fn trained(likelihood: Likelihood) -> Autoencoder {
    let mut params = params(likelihood);
    (params.training.epochs, params.training.learning_rate) = (40, 0.005);
    let mut examples = Examples::numbers(u64::MAX);
    (0..400).for_each(|number| examples.push_numbers(&row_for(likelihood, number)).unwrap());
    let fitted = fit_autoencoder(&params, &examples, None, &Uninterrupted);
    fitted.unwrap().autoencoder().unwrap()
}

#[test]
fn a_training_that_was_interrupted_ends_like_one_that_was_not() {
    for (params, examples) in [(params(Likelihood::Gaussian), examples(200)), discs(200)] {
        let whole = fit_autoencoder(&params, &examples, None, &Uninterrupted).unwrap();
        for most in [1, 4, 7, 9, 15] {
            let interrupting = Interrupting { most, checkpoints: Mutex::default() };
            let error = fit_autoencoder(&params, &examples, None, &interrupting).unwrap_err();
            assert_eq!(error, Error::Cancelled(Cancelled));
            let last = interrupting.checkpoints.into_inner().unwrap().pop().unwrap();
            let resume: SharedBytes = shared(&last);
            let go_on =
                |params| fit_autoencoder(params, &examples, Some(resume.clone()), &Uninterrupted);
            let resumed = go_on(&params).unwrap();
            assert_eq!(resumed.payload()[..], whole.payload()[..], "after {most} checkpoints");
            assert_eq!(resumed.metrics(), whole.metrics());
            assert_eq!(resumed.epochs, whole.epochs);
            let error = go_on(&AutoencoderParams { beta: 2.0, ..params.clone() }).unwrap_err();
            assert!(matches!(error, Error::Checkpoint(_)), "{error}");
        }
    }
}

#[test]
fn threads_and_instruction_sets_change_no_bit() {
    let [gaussian, bernoulli] = [Likelihood::Gaussian, Likelihood::Bernoulli].map(params);
    for ((params, examples), one) in [
        ((gaussian, examples(100)), row(1000)),
        ((bernoulli, examples(100)), row(1000)),
        (discs(60), Autoencoder::unit(&disc(1000))),
    ] {
        let mut answers = Vec::new();
        let everywhere = Isa::available().into_iter().flat_map(|isa| [(1, isa), (2, isa)]);
        for (threads, isa) in everywhere {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let fit = || fit_autoencoder_on(isa, &params, &examples, None, &Uninterrupted);
            let fitted = pool.install(fit).unwrap();
            let served = fitted.autoencoder().unwrap().on(isa);
            let told = served.reconstruct(&one, &Uninterrupted).unwrap();
            let loss = served.loss(&one, &Uninterrupted).unwrap();
            answers.push((fitted.payload().to_vec(), told, loss));
        }
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
    }
}

#[test]
fn what_is_unlike_the_training_rows_scores_higher() {
    for likelihood in [Likelihood::Gaussian, Likelihood::Bernoulli] {
        let model = trained(likelihood);
        let scores = |row: &dyn Fn(u64) -> Vec<f32>| -> Vec<f32> {
            let score = |number| model.anomaly_score(&row(number), &Uninterrupted).unwrap();
            (2000..2100).map(score).collect()
        };
        let usual = scores(&|number| row_for(likelihood, number));
        let mean = |scores: &[f32]| scores.iter().sum::<f32>() / scores.len() as f32;
        assert!(usual.iter().all(|score| (0.0..=1.0).contains(score)));
        assert!((0.3..0.7).contains(&mean(&usual)), "{likelihood:?}: {}", mean(&usual));
        // The same numbers in another order lie on no such curve.
        let shuffled = scores(&|number| {
            let mut row = row_for(likelihood, number);
            row.swap(0, 3);
            row.swap(1, 4);
            row
        });
        let (usual, shuffled) = (mean(&usual), mean(&shuffled));
        assert!(shuffled > usual + 0.1, "{likelihood:?}: {shuffled}, {usual}");
    }
}

/// A thin stroke takes few nats, though no training saw its like.
#[test]
fn a_digit_that_was_not_learned_scores_higher_be_it_but_a_stroke() {
    let Some([training, others]) = common::mnist([4000, 1000]) else { return };
    let images = |data: &ImageDataset, ones: bool| -> Vec<usize> {
        let is_one = |&target: &u32| data.labels()[target as usize] == "1";
        let rows = data.targets().iter().enumerate();
        rows.filter(|(_, target)| is_one(target) == ones).map(|(row, _)| row).collect()
    };
    let mut examples = Examples::pixels(28, 28, 1, u64::MAX);
    for row in images(&training, false) {
        examples.push_pixels(training.raster(row)).unwrap();
    }
    let usual = AutoencoderParams::of(Likelihood::Bernoulli);
    let training = TrainingParams { epochs: 3, ..usual.training };
    let params = AutoencoderParams { training, hidden: 128, ..usual };
    let model = fit_autoencoder(&params, &examples, None, &Uninterrupted).unwrap();
    let model = model.autoencoder().unwrap();
    let [ones, rest] = [true, false].map(|ones| {
        images(&others, ones).into_iter().map(|row| Autoencoder::unit(others.raster(row)))
    });
    let [ones, rest]: [Vec<_>; 2] = [ones.collect(), rest.collect()];
    let wins = |figure: &dyn Fn(&Vec<f32>) -> f64| {
        let [ones, rest] = [&ones, &rest].map(|rows| rows.iter().map(figure).collect::<Vec<f64>>());
        let wins = ones.iter().map(|one| rest.iter().filter(|other| one > other).count());
        wins.sum::<usize>() as f64 / (ones.len() * rest.len()) as f64
    };
    assert!(wins(&|row| model.loss(row, &Uninterrupted).unwrap()) < 0.3);
    assert!(wins(&|row| f64::from(model.anomaly_score(row, &Uninterrupted).unwrap())) > 0.6);
}

#[test]
fn rows_and_codes_of_another_length_or_without_numbers_are_refused() {
    let model = trained(Likelihood::Gaussian);
    let length = |what, got, expected| Error::RowLength { what, got, expected };
    let encoded = model.encode(&[0.0; 5], &Uninterrupted).unwrap_err();
    assert_eq!(encoded, length("features", 5, WIDTH));
    let decoded = model.decode(&[0.0; 3], &Uninterrupted).unwrap_err();
    assert_eq!(decoded, length("codes", 3, 2));
    let mut holes = row(0);
    holes[4] = f32::NAN;
    let error = model.anomaly_score(&holes, &Uninterrupted).unwrap_err();
    assert!(error.to_string().contains("number 5 of the features is NaN"), "{error}");
    let mut examples = examples(3);
    assert_eq!(examples.push_numbers(&[1.0; 7]), Err(length("features", 7, WIDTH)));
    assert!(examples.push_numbers(&holes).is_err());
    assert!(examples.push_pixels(&[0; WIDTH]).is_err());
    assert_eq!(examples.len(), 3);
    let mut beyond = row(0);
    beyond[0] = 1.5;
    examples.push_numbers(&beyond).unwrap();
    let fit = |likelihood| {
        fit_autoencoder(&params(likelihood), &examples, None, &Uninterrupted).map(|_| ())
    };
    assert_eq!(fit(Likelihood::Bernoulli), Err(Error::Probability { got: 1.5 }));
    assert_eq!(fit(Likelihood::Gaussian), Ok(()));
    let none = Examples::numbers(0);
    let error = fit_autoencoder(&params(Likelihood::Gaussian), &none, None, &Uninterrupted);
    assert_eq!(error.unwrap_err(), Error::NoRows);
}

#[test]
fn a_constant_column_and_a_single_row_are_learned() {
    let mut examples = Examples::numbers(u64::MAX);
    for number in 0..50 {
        let mut row = row(number);
        row.push(1e8);
        examples.push_numbers(&row).unwrap();
    }
    let params = params(Likelihood::Gaussian);
    let fitted = fit_autoencoder(&params, &examples, None, &Uninterrupted).unwrap();
    let told = fitted.autoencoder().unwrap().decode(&[0.0; 2], &Uninterrupted).unwrap();
    assert!((told[WIDTH] - 1e8).abs() < 100.0, "{told:?}");
    let mut one = Examples::numbers(u64::MAX);
    one.push_numbers(&row(0)).unwrap();
    assert!(fit_autoencoder(&params, &one, None, &Uninterrupted).is_ok());
}

#[test]
fn options_have_defaults_and_ranges() {
    let read = |given: Value| {
        let mut options = Options::new("vae", &given)?;
        let usual = AutoencoderParams::of(Likelihood::Gaussian);
        let params = AutoencoderParams::read(&mut options, usual)?;
        options.finish().map(|()| params)
    };
    let usual = AutoencoderParams::of(Likelihood::Gaussian);
    assert_eq!(read(json!({})), Ok(usual.clone()));
    let given = json!({"likelihood": "bernoulli", "hidden": 64, "latent": 3, "beta": 4,
                       "beta_warmup": 0.5, "patience": 2, "network": "convolutional"});
    let mut training = usual.training.clone();
    training.stopping.patience = 2;
    let likelihood = Likelihood::Bernoulli;
    let (hidden, filters, latent, beta, beta_warmup) = (64, Some(32), 3, 4.0, 0.5);
    let expected =
        AutoencoderParams { training, likelihood, hidden, filters, latent, beta, beta_warmup };
    assert_eq!(read(given), Ok(expected));
    for wrong in [
        json!({"filters": 8}),
        json!({"hidden": 7}),
        json!({"latent": 0}),
        json!({"latent": 257}),
        json!({"beta": 0}),
        json!({"beta_warmup": 1.1}),
        json!({"likelihood": "poisson"}),
        json!({"class_weights": "balanced"}),
        json!({"monitor": "accuracy"}),
    ] {
        assert!(read(wrong.clone()).is_err(), "{wrong}");
    }
}

#[test]
fn memory_grows_with_what_needs_it() {
    let (small, examples) = (params(Likelihood::Gaussian), examples(10));
    let needed =
        |params: &AutoencoderParams, rows| autoencoder_memory(params, &examples, rows).unwrap();
    assert!(needed(&small, 1_000_000) > 1_000_000 * 4 * WIDTH as u64);
    let large = AutoencoderParams { hidden: 2048, ..small.clone() };
    assert!(needed(&large, 10) > needed(&small, 10) + 6 * 4 * 2048 * 2048);
}

proptest! {
    #[test]
    fn stored_numbers_that_were_changed_are_refused(place in 0usize..4096, byte in 1u8..) {
        let fitted = fit_autoencoder(
            &params(Likelihood::Gaussian), &examples(20), None, &Uninterrupted).unwrap();
        let mut bytes = fitted.payload().to_vec();
        let place = place % bytes.len();
        bytes[place] ^= byte;
        prop_assert!(Autoencoder::load(fitted.layout, shared(&bytes)).is_err());
    }
}

#[test]
fn stored_numbers_that_no_training_gives_are_refused() {
    let fitted =
        fit_autoencoder(&params(Likelihood::Gaussian), &examples(20), None, &Uninterrupted);
    let layout = fitted.unwrap().layout;
    // Each array begins at a cache line.
    let encoder = 6 * 16 + 16 + 17 * 16 + 4 * 16 + 16;
    let weights = vec![0.1; encoder + 2 * 16 + 16 + 17 * 16 + 6 * 16 + 16 + 6];
    let load = |mean: &[f32], deviation: &[f32], usual: &[f32], losses: &[f32], more: bool| {
        let mut writer = PayloadWriter::new();
        for (name, numbers) in [
            ("weights", &*weights),
            ("mean", mean),
            ("deviation", deviation),
            ("usual", usual),
            ("losses", losses),
        ] {
            writer.array(name, &[numbers.len()], numbers);
        }
        if more {
            writer.array("more", &[1], &[1.0f32]);
        }
        Autoencoder::load(layout, Arc::new(writer.finish())).map(|_| ())
    };
    let (zeros, ones, usual) = ([0.0; WIDTH], [1.0; WIDTH], [1.0, 2.0, -3.0, 0.5, 0.5]);
    assert_eq!(load(&zeros, &ones, &usual, &[-1.0, 2.0], false), Ok(()));
    for (mean, deviation, usual, losses) in [
        (&zeros[..5], &ones[..], &usual[..], &[1.0][..]),
        (&[f32::NAN; WIDTH], &ones, &usual, &[1.0]),
        (&zeros, &zeros, &usual, &[1.0]),
        (&zeros, &[f32::INFINITY; WIDTH], &usual, &[1.0]),
        (&zeros, &ones, &usual, &[]),
        (&zeros, &ones, &usual, &[2.0, 1.0]),
        (&zeros, &ones, &usual, &[1.0, f32::NAN]),
        (&zeros, &ones, &usual[..4], &[1.0]),
        (&zeros, &ones, &[0.0, f32::NAN, 0.0, 0.0, 0.0], &[1.0]),
        (&zeros, &ones, &[0.0, 0.0, 0.0, 1.0, 0.5], &[1.0]),
    ] {
        let error = load(mean, deviation, usual, losses, false).unwrap_err();
        assert!(matches!(error, Error::Payload(_)), "{error}");
    }
    let error = load(&zeros, &ones, &usual, &[1.0], true).unwrap_err();
    assert!(matches!(error, Error::Payload(PayloadError::Directory(_))), "{error}");
    for (width, hidden, latent) in [(0, 16, 2), (6, 0, 2), (6, 16, 0), (1 << 40, 16, 2)] {
        let layout = teller_nn::AutoencoderLayout { width, hidden, latent, ..layout };
        let bytes = shared(&[]);
        assert!(matches!(Autoencoder::load(layout, bytes), Err(Error::TooLarge { .. })));
    }
}

#[test]
fn convolutions_are_of_images_with_even_sides() {
    let (params, images) = discs(20);
    let fit = |examples: &Examples| fit_autoencoder(&params, examples, None, &Uninterrupted);
    let error = fit(&examples(20)).unwrap_err();
    assert!(matches!(error, Error::Shape { .. }), "{error}");
    let mut odd = Examples::pixels(3, 8, 1, u64::MAX);
    odd.push_pixels(&[7; 24]).unwrap();
    let error = fit(&odd).unwrap_err();
    assert!(error.to_string().contains("3 x 8"), "{error}");
    let fitted = fit(&images).unwrap();
    assert!(fitted.layout.pyramid.is_some());
    for (height, width, channels, filters) in
        [(0, 8, 1, 4), (12, 7, 1, 4), (12, 8, 2, 4), (1 << 40, 8, 1, 4), (12, 8, 1, 1 << 20)]
    {
        let pyramid = teller_nn::Pyramid { height, width, channels, filters };
        let layout = teller_nn::AutoencoderLayout { pyramid: Some(pyramid), ..fitted.layout };
        assert!(Autoencoder::load(layout, shared(&fitted.payload())).is_err(), "{pyramid:?}");
    }
}

/// Rows of the credit defaults without their number, or nothing where the data is absent.
fn rows_of_credit() -> Option<Vec<Vec<f32>>> {
    let numbers = |line: &String| line.split('\t').skip(1).map(|x| x.parse().unwrap()).collect();
    Some(credit::lines()?.iter().skip(1).map(numbers).collect())
}

/// Mean squared error of standardized numbers of the rows held out, by so many principal components
/// of the others.
fn error_of_components(training: &[Vec<f32>], held_out: &[Vec<f32>], components: usize) -> f64 {
    let [training, held_out] = [training, held_out].map(|rows| {
        let number = |(row, column): (usize, usize)| f64::from(rows[row][column]);
        Array2::from_shape_fn((rows.len(), rows[0].len()), number)
    });
    let means = training.mean_axis(Axis(0)).unwrap();
    let deviations = training.std_axis(Axis(0), 0.0);
    let training = DatasetBase::from((training - &means) / &deviations);
    let held_out = (held_out - &means) / &deviations;
    let pca = Pca::params(components).fit(&training).unwrap();
    assert_eq!(pca.components().nrows(), components);
    let told = pca.inverse_transform(pca.predict(&held_out));
    (told - held_out).mapv(|x| x * x).mean().unwrap()
}

#[test]
fn real_rows_are_told_better_than_by_as_many_principal_components() {
    let Some(rows) = rows_of_credit() else { return };
    let (held_out, training): (Vec<_>, Vec<_>) = (0u64..)
        .zip(rows)
        .partition(|(number, _)| Stream::new(1, "held out", *number).below(5) == 0);
    let [held_out, training] =
        [held_out, training].map(|rows| rows.into_iter().map(|(_, row)| row).collect::<Vec<_>>());
    let gather = |rows: &[Vec<f32>]| {
        let mut examples = Examples::numbers(u64::MAX);
        rows.iter().for_each(|row| examples.push_numbers(row).unwrap());
        examples
    };
    let mut params =
        AutoencoderParams { hidden: 64, latent: 8, ..AutoencoderParams::of(Likelihood::Gaussian) };
    (params.training.epochs, params.training.learning_rate) = (15, 0.003);
    let fitted = fit_autoencoder(&params, &gather(&training), None, &Uninterrupted).unwrap();
    let model = fitted.autoencoder().unwrap();
    let figures = evaluate_autoencoder(&model, &gather(&held_out), &Uninterrupted).unwrap();
    let error = figures.iter().find(|(name, _)| name == "mean_squared_error").unwrap().1;
    let components = error_of_components(&training, &held_out, params.latent);
    println!("{figures:?}; {components:.4} by principal components");
    assert!(error < components, "{error}, {components} by principal components");
}
