//! Generators of images: trainings that go on from checkpoints, the same bits everywhere, stored
//! numbers that nobody trained, and images that are made of a label.

#![allow(
    clippy::unwrap_used,
    clippy::result_large_err,
    reason = "a failed test panics, errors are rare"
)]

mod common;

use std::sync::{Arc, Mutex};

use common::interrupting::Interrupting;
use proptest::prelude::*;
use serde_json::json;
use teller_nn::{
    Error, FittedImageGenerator, ImageDataset, ImageDatasetBuilder, ImageGanLayout, ImageGanParams,
    ImageGenerator, Input, Shape, TrainingParams, evaluate_image_generator, fit_images,
    fit_images_on, image_gan_memory,
};
use teller_numeric::{Cancelled, Isa, Options, Stream, Uninterrupted};
use teller_payload::{AlignedBytes, PayloadWriter, SharedBytes};

/// Images of 8 x 12 with a bright upper or lower half, as the label says; without labels, of both.
fn images(count: usize, labelled: bool) -> ImageDataset {
    let mut builder = ImageDatasetBuilder::new(8, 12, 1);
    for index in 0..count {
        let mut stream = Stream::new(4, "halves", index as u64);
        let lower = index % 3 == 0;
        let mut raster: Vec<u8> = (0..96).map(|_| stream.below(30) as u8).collect();
        let half = if lower { &mut raster[48..] } else { &mut raster[..48] };
        half.iter_mut().for_each(|pixel| *pixel += 200);
        let label = if lower { "lower" } else { "upper" };
        builder.push(&raster, if labelled { label } else { "" }).unwrap();
    }
    builder.finish_for_evaluation().unwrap()
}

fn params(epochs: u32) -> ImageGanParams {
    let usual = ImageGanParams::default();
    let training =
        TrainingParams { epochs, batch_size: 16, learning_rate: 0.002, ..usual.training };
    ImageGanParams { training, filters: 4, noise: 4, ..usual }
}

fn fit(epochs: u32, data: &ImageDataset) -> FittedImageGenerator {
    fit_images(&params(epochs), data, None, &Uninterrupted).unwrap()
}

/// Long enough to make images that look like the real ones.
fn fit_well(data: &ImageDataset) -> FittedImageGenerator {
    let usual = params(40);
    let training = TrainingParams { learning_rate: 0.003, ..usual.training };
    let params = ImageGanParams { training, filters: 8, ..usual };
    fit_images(&params, data, None, &Uninterrupted).unwrap()
}

/// Mean of the upper half's values less that of the lower half's.
fn upper(image: &[f32]) -> f32 {
    let mean = |half: &[f32]| half.iter().sum::<f32>() / half.len() as f32;
    mean(&image[..48]) - mean(&image[48..])
}

#[test]
fn images_are_made_of_their_label() {
    let data = images(600, true);
    let fitted = fit_well(&data);
    let generator = fitted.generator().unwrap();
    assert_eq!(generator.layout().labels, ["lower", "upper"]);
    let make = |first, count, label: Option<&str>| {
        let label = label.map(|label| generator.label(label).unwrap());
        generator.images(first, count, label, 5, &Uninterrupted).unwrap()
    };
    for (label, sign) in [("lower", -1.0), ("upper", 1.0)] {
        let made = make(0, 100, Some(label));
        let right = made.chunks(96).filter(|image| sign * upper(image) > 0.2).count();
        assert!(right > 80, "{label}: {right} of 100");
        assert!(made.iter().all(|x| (0.0..=1.0).contains(x)));
    }
    assert_eq!(generator.label("middle"), None);
    // A third of the images are of one label.
    let made = make(0, 900, None);
    let lower = made.chunks(96).filter(|image| upper(image) < 0.0).count();
    assert!((240..360).contains(&lower), "{lower}");
    // An image has its number, whatever is asked for with it.
    assert_eq!(make(300, 2, None), made[300 * 96..302 * 96]);
    assert_ne!(made[..96], made[96..192]);
    let metrics = fitted.metrics();
    let names: Vec<&str> = metrics.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names[..4], ["epochs", "training_rows", "training_loss", "copies"], "60 are few");
    assert_eq!(names.last(), Some(&"private"));
    assert_eq!(generator.weights().next().unwrap().name, "0.dense.kernel");
}

#[test]
fn made_images_are_compared_with_those_kept_apart() {
    let data = images(900, false);
    let (short, long) = (fit(1, &data), fit_well(&data));
    let distance = |fitted: &FittedImageGenerator| fitted.report.distances.unwrap();
    let (before, after) = (distance(&short), distance(&long));
    assert!(after.made < 0.5 * before.made, "{before:?} {after:?}");
    assert_eq!(before.real, after.real);
    assert!(before.real < 0.5 * before.made, "{before:?}");
    let generator = long.generator().unwrap();
    assert_eq!(generator.label(""), None);
    let figures = evaluate_image_generator(&generator, &data, &Uninterrupted).unwrap();
    assert_eq!((&*figures[0].0, figures[0].1), ("rows", 900.0));
    assert!(figures[1].1 < 0.5 * before.made, "{figures:?} {before:?}");
    let few = evaluate_image_generator(&generator, &images(64, false), &Uninterrupted);
    assert_eq!(few.unwrap_err(), Error::FewImages { got: 64, expected: 65 });
}

#[test]
fn a_training_that_was_interrupted_ends_like_one_that_was_not() {
    let (params, data) = (params(2), images(70, true));
    let whole = fit_images(&params, &data, None, &Uninterrupted).unwrap();
    for most in [1, 4, 5, 7] {
        let interrupting = Interrupting { most, checkpoints: Mutex::default() };
        let error = fit_images(&params, &data, None, &interrupting).unwrap_err();
        assert_eq!(error, Error::Cancelled(Cancelled));
        let last = interrupting.checkpoints.into_inner().unwrap().pop().unwrap();
        let resume: SharedBytes = Arc::new(AlignedBytes::from(&*last));
        let resumed = fit_images(&params, &data, Some(resume.clone()), &Uninterrupted).unwrap();
        assert_eq!(resumed.payload()[..], whole.payload()[..], "after {most} checkpoints");
        assert_eq!(resumed.metrics(), whole.metrics());
        let other = ImageGanParams { penalty: 9.0, ..params.clone() };
        let error = fit_images(&other, &data, Some(resume), &Uninterrupted).unwrap_err();
        assert!(matches!(error, Error::Checkpoint(_)), "{error}");
    }
}

#[test]
fn threads_and_instruction_sets_change_no_bit() {
    let (params, data) = (params(1), images(90, true));
    let mut answers = Vec::new();
    for (threads, isa) in Isa::available().into_iter().flat_map(|isa| [(1, isa), (3, isa)]) {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let fit = || fit_images_on(isa, &params, &data, None, &Uninterrupted).unwrap();
        let fitted = pool.install(fit);
        let generator = fitted.generator().unwrap().on(isa);
        let made = pool.install(|| generator.images(0, 9, None, 1, &Uninterrupted)).unwrap();
        answers.push((fitted.payload().to_vec(), made));
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_training_that_diverges_fails() {
    let mut params = params(3);
    params.training.learning_rate = 1e18;
    let error = fit_images(&params, &images(70, true), None, &Uninterrupted).unwrap_err();
    assert!(matches!(error, Error::Diverged { .. }), "{error}");
}

#[test]
fn options_are_checked() {
    let read = |given: serde_json::Value| {
        let mut options = Options::new("generation", &given).unwrap();
        let params = ImageGanParams::read(&mut options)?;
        options.finish().map(|()| params)
    };
    assert_eq!(read(json!({})).unwrap(), ImageGanParams::default());
    let given = read(json!({"filters": 8, "noise": 5, "penalty": 3, "epochs": 2})).unwrap();
    assert_eq!((given.filters, given.noise, given.penalty), (8, 5, 3.0));
    assert_eq!(given.training.epochs, 2);
    for wrong in [
        json!({"filters": 3}),
        json!({"filters": 257}),
        json!({"noise": 0}),
        json!({"penalty": 0}),
        json!({"hidden": 64}),
    ] {
        assert!(read(wrong.clone()).is_err(), "{wrong}");
    }
    let size = |height, width| ImageGanLayout::check_size(Input { height, width, channels: 1 });
    assert!(size(2, 512).is_ok() && size(28, 30).is_ok());
    for (height, width) in [(7, 8), (8, 7), (8, 514)] {
        assert!(size(height, width).is_err());
    }
}

#[test]
fn the_estimate_of_memory_grows_with_all_that_is_held() {
    let data = images(70, true);
    let needed = |params: &ImageGanParams, rows| image_gan_memory(params, &data, rows).unwrap();
    let small = needed(&params(1), 70);
    assert!(needed(&params(1), 70_000) > small + 70_000 * 96 - 70 * 96);
    assert!(needed(&ImageGanParams { filters: 64, ..params(1) }, 70) > 4 * small);
    let mut large = params(1);
    large.training.batch_size = 64;
    assert!(needed(&large, 70) > 2 * small);
}

fn stored(weights: &[f32], name: &str) -> SharedBytes {
    let mut writer = PayloadWriter::new();
    writer.array(name, &[weights.len()], weights);
    Arc::new(writer.finish())
}

#[test]
fn what_no_training_gives_is_refused() {
    let fitted = fit(1, &images(70, true));
    let layout = fitted.layout.clone();
    let bytes = || -> SharedBytes { Arc::new(fitted.payload()) };
    assert_eq!(
        ImageGenerator::load(layout.clone(), bytes()).unwrap().shape(),
        Shape::Image { height: 8, width: 12, channels: 1 }
    );
    let refused = |layout: ImageGanLayout, bytes| ImageGenerator::load(layout, bytes).is_err();
    for wrong in [
        ImageGanLayout { height: 9, ..layout.clone() },
        ImageGanLayout { width: 0, ..layout.clone() },
        ImageGanLayout { channels: 4, ..layout.clone() },
        ImageGanLayout { filters: usize::MAX, ..layout.clone() },
        ImageGanLayout { noise: 5, ..layout.clone() },
        ImageGanLayout { labels: Vec::new(), rows: Vec::new(), ..layout.clone() },
        ImageGanLayout { rows: vec![0, 0], ..layout.clone() },
        ImageGanLayout { rows: vec![u64::MAX; 2], ..layout.clone() },
        ImageGanLayout { rows: vec![1], ..layout.clone() },
    ] {
        assert!(refused(wrong.clone(), bytes()), "{wrong:?}");
    }
    assert!(refused(layout.clone(), stored(&[0.0; 7], "weights")));
    assert!(refused(layout.clone(), stored(&[0.0; 7], "kernel")));
    let len = ImageGenerator::load(layout.clone(), bytes()).unwrap().weights().count();
    assert_eq!(len, 4, "two layers' kernels and biases");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn forged_bytes_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let fitted = once();
        let mut bytes = fitted.payload().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let loaded = ImageGenerator::load(fitted.layout.clone(), Arc::new(AlignedBytes::from(&*bytes)));
        if let Ok(generator) = loaded {
            generator.images(0, 2, None, 1, &Uninterrupted).unwrap();
        }
    }
}

fn once() -> &'static FittedImageGenerator {
    static FITTED: std::sync::OnceLock<FittedImageGenerator> = std::sync::OnceLock::new();
    FITTED.get_or_init(|| fit(1, &images(70, true)))
}
