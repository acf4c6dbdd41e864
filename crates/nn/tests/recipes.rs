//! What is beyond plain training, as a whole: the same bits, images that are changed only where
//! they are learned from, gradients of the loss that was asked for.

#![allow(
    clippy::unwrap_used,
    clippy::result_large_err,
    reason = "a failed test panics, errors are rare"
)]

use serde_json::json;
use teller_nn::{
    Architecture, Augmentation, ClassWeights, CnnParams, EarlyStopping, Error, FittedCnn, Flip,
    ImageDataset, ImageDatasetBuilder, Optimizer, Schedule, TrainingParams, UpdateRule, evaluate,
    fit, fit_on, memory_needed,
};
use teller_numeric::{Isa, Stream, Uninterrupted};

/// Noise with a bright bar across or along, of which the second label has but a few.
fn bars(rows: usize, seed: u64) -> ImageDataset {
    let mut builder = ImageDatasetBuilder::new(9, 7, 3);
    for row in 0..rows {
        let mut stream = Stream::new(seed, "bars", row as u64);
        let upright = stream.below(4) == 0;
        let place = if upright { 2 + stream.below(3) } else { 2 + stream.below(5) } as usize;
        let mut raster: Vec<u8> = (0..189).map(|_| stream.below(150) as u8).collect();
        for along in 1..(if upright { 8 } else { 6 }) {
            let pixel = if upright { along * 7 + place } else { place * 7 + along };
            raster[pixel * 3..][..3].fill(230);
        }
        builder.push(&raster, if upright { "along" } else { "across" }).unwrap();
    }
    builder.finish().unwrap()
}

fn architecture() -> Architecture {
    Architecture::from_json(&json!({
        "input": {"height": 9, "width": 7, "channels": 3},
        "layers": [
            {"type": "conv2d", "filters": 6, "kernel": 3, "activation": "relu"},
            {"type": "flatten"},
            {"type": "dropout", "rate": 0.1},
            {"type": "dense", "units": "classes"},
            {"type": "softmax"}
        ]
    }))
    .unwrap()
}

fn everything() -> Augmentation {
    Augmentation {
        shift: 0.1,
        rotation: 10.0,
        scale: 0.1,
        shear: 10.0,
        crop: 0.1,
        flip: Flip::Both,
        blur: 0.5,
        contrast: 0.2,
        brightness: 0.1,
        noise: 0.05,
        cutout: 0.3,
        mixup: 0.3,
        ..Augmentation::default()
    }
}

fn recipe(optimizer: Optimizer) -> TrainingParams {
    TrainingParams {
        epochs: 2,
        batch_size: 13,
        learning_rate: 0.005,
        update: UpdateRule {
            optimizer,
            weight_decay: 0.01,
            clip_norm: Some(0.5),
            ..UpdateRule::default()
        },
        schedule: Schedule::Step { epochs: 1, factor: 0.3 },
        warmup_fraction: 0.1,
        label_smoothing: 0.1,
        class_weights: ClassWeights::Balanced,
        ..TrainingParams::default()
    }
}

/// With all changes to the images.
fn changing(training: TrainingParams) -> CnnParams {
    CnnParams { training, augmentation: Some(everything()) }
}

fn train(isa: Isa, threads: usize, params: &CnnParams, data: &ImageDataset) -> FittedCnn {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| fit_on(isa, &architecture(), params, data, None, &Uninterrupted)).unwrap()
}

#[test]
fn threads_and_instruction_sets_change_no_bit() {
    let nesterov = Optimizer::Sgd { momentum: 0.9, nesterov: true };
    for optimizer in [Optimizer::Adam, Optimizer::AdamW, nesterov] {
        let (params, data) = (changing(recipe(optimizer)), bars(150, 1));
        let first = train(Isa::SCALAR, 1, &params, &data);
        for isa in Isa::available() {
            for threads in 1..=4 {
                let other = train(isa, threads, &params, &data);
                assert_eq!(*first.payload(), *other.payload(), "{} {threads}", isa.name());
                assert_eq!(first.epochs, other.epochs);
            }
        }
    }
}

#[test]
fn a_whole_recipe_learns() {
    let params = changing(TrainingParams {
        epochs: 12,
        learning_rate: 0.01,
        schedule: Schedule::Cosine,
        ..recipe(Optimizer::AdamW)
    });
    let fitted = train(Isa::detect(), 2, &params, &bars(600, 1));
    let figures = evaluate(&fitted.classifier().unwrap(), &bars(300, 2), &Uninterrupted).unwrap();
    assert!(figures[1].1 > 0.95, "{figures:?}");
}

/// With steps too small to move a weight, every epoch sees the same network.
fn still() -> TrainingParams {
    TrainingParams {
        epochs: 3,
        learning_rate: 1e-9,
        schedule: Schedule::Constant,
        update: UpdateRule {
            optimizer: Optimizer::Sgd { momentum: 0.0, nesterov: false },
            ..UpdateRule::default()
        },
        stopping: EarlyStopping { patience: 0, ..EarlyStopping::default() },
        ..TrainingParams::default()
    }
}

#[test]
fn only_what_is_learned_from_is_changed() {
    let plain = train(Isa::detect(), 2, &still().into(), &bars(300, 1));
    let augmentation = Some(Augmentation { brightness: 1.0, noise: 0.5, ..everything() });
    let training = TrainingParams { label_smoothing: 0.3, ..still() };
    let params = CnnParams { training, augmentation };
    let changed = train(Isa::detect(), 2, &params, &bars(300, 1));
    for (plain, changed) in plain.epochs.iter().zip(&changed.epochs) {
        let (one, other) = (plain.validation.unwrap(), changed.validation.unwrap());
        assert!((one.loss - other.loss).abs() < 1e-4, "{one:?} {other:?}");
        assert_eq!(one.figure, other.figure);
        assert!((plain.loss - changed.loss).abs() > 0.01, "{} {}", plain.loss, changed.loss);
    }
    // In every epoch the changes are others.
    let losses: Vec<f64> = changed.epochs.iter().map(|epoch| epoch.loss).collect();
    assert!((losses[0] - losses[1]).abs() > 1e-4 && (losses[1] - losses[2]).abs() > 1e-4);
}

/// A label of weight 3 is learned as if each of its images came three times.
#[test]
fn a_weight_is_as_good_as_so_many_copies() {
    let data = bars(40, 1);
    let network = json!({
        "input": {"height": 9, "width": 7, "channels": 3},
        "layers": [{"type": "flatten"}, {"type": "dense", "units": "classes"}, {"type": "softmax"}]
    });
    let network = Architecture::from_json(&network).unwrap();
    let one_step = |copies: usize, class_weights: ClassWeights, rate: f64| {
        let mut builder = ImageDatasetBuilder::new(9, 7, 3);
        for row in 0..data.len() {
            let label = &data.labels()[data.targets()[row] as usize];
            for _ in 0..(if label == "along" { copies } else { 1 }) {
                builder.push(data.raster(row), label).unwrap();
            }
        }
        let data = builder.finish().unwrap();
        // The mean is over the images, so that the sums are what the rate is for.
        let learning_rate = rate * data.len() as f64;
        let params = TrainingParams {
            epochs: 1,
            batch_size: 1000,
            learning_rate,
            validation_fraction: 0.0,
            class_weights,
            ..still()
        };
        let fitted = fit(&network, &params.into(), &data, None, &Uninterrupted).unwrap();
        let classifier = fitted.classifier().unwrap();
        classifier.weights().flat_map(|array| array.values.to_vec()).collect::<Vec<f32>>()
    };
    let weighted = ClassWeights::Given([("along".to_owned(), 3.0)].into());
    let start = one_step(1, ClassWeights::Equal, 1e-12);
    let (copied, weighted) = (one_step(3, ClassWeights::Equal, 1e-3), one_step(1, weighted, 1e-3));
    let mut moved = 0.0f32;
    for ((start, copied), weighted) in start.iter().zip(&copied).zip(&weighted) {
        assert!((copied - weighted).abs() < 1e-5, "{copied} {weighted}");
        moved = moved.max((start - copied).abs());
    }
    assert!(moved > 1e-3, "{moved}");
}

#[test]
fn weights_of_unknown_labels_are_refused() {
    let class_weights = ClassWeights::Given([("alon".to_owned(), 2.0)].into());
    let params = TrainingParams { class_weights, ..TrainingParams::default() };
    let refused =
        fit(&architecture(), &params.into(), &bars(60, 1), None, &Uninterrupted).unwrap_err();
    assert!(matches!(&refused, Error::Option(_)), "{refused}");
    assert!(refused.to_string().contains("across, along"), "{refused}");
}

#[test]
fn images_on_their_way_are_counted() {
    let needed = |augmentation| {
        let params = CnnParams { augmentation, ..CnnParams::default() };
        memory_needed(&architecture(), &params, 1000, 2).unwrap()
    };
    // Eight groups of four, with three rasters each.
    assert_eq!(needed(Some(Augmentation::default())) - needed(None), 8 * 3 * 189);
}
