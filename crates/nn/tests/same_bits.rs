//! The same bits: of random networks on every path, with any threads and in any batch, and of
//! known ones for ever.

#![allow(
    clippy::unwrap_used,
    clippy::result_large_err,
    reason = "a failed test panics, errors are rare"
)]

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use teller_nn::{
    Architecture, Arithmetic, ImageClassifier, ImageDataset, ImageDatasetBuilder, Normalization,
    TrainingParams, fit_on,
};
use teller_numeric::{Isa, Stream, Uninterrupted};
use teller_payload::{AlignedBytes, PayloadWriter};

/// The 64-bit hash of Fowler, Noll and Vo.
fn fnv(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn noise(rows: usize, side: usize, classes: u64, seed: u64) -> ImageDataset {
    let mut stream = Stream::new(seed, "same bits", 0);
    let mut builder = ImageDatasetBuilder::new(side, side, 1);
    for row in 0..rows {
        let raster: Vec<u8> = (0..side * side).map(|_| stream.below(256) as u8).collect();
        builder.push(&raster, &(row as u64 % classes).to_string()).unwrap();
    }
    builder.finish().unwrap()
}

fn train(isa: Isa, threads: usize, architecture: &Value, data: &ImageDataset) -> AlignedBytes {
    let architecture = Architecture::from_json(architecture).unwrap();
    let params = TrainingParams { epochs: 2, batch_size: 11, ..TrainingParams::default() };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let fitted = pool
        .install(|| fit_on(isa, &architecture, &params.into(), data, None, &Uninterrupted))
        .unwrap();
    fitted.payload()
}

/// Bits of the answers to the images, one by one.
fn answers(classifier: &ImageClassifier, rasters: &ImageDataset) -> Vec<u32> {
    let mut workspace = classifier.workspace().unwrap();
    (0..rasters.len())
        .flat_map(|row| {
            let raster = rasters.raster(row);
            let answer = classifier.probabilities(raster, &mut workspace, &Uninterrupted).unwrap();
            answer.iter().map(|p| p.to_bits()).collect::<Vec<_>>()
        })
        .collect()
}

fn convolution() -> impl Strategy<Value = Value> {
    let filters = prop_oneof![1..8usize, 16..36usize];
    (filters, 1..6usize, 1..3usize, any::<(bool, bool)>()).prop_map(
        |(filters, kernel, stride, (same, relu))| {
            let kernel = if same { kernel } else { kernel.min(3) };
            json!({
                "type": "conv2d",
                "filters": filters,
                "kernel": if kernel == 4 { 3 } else { kernel },
                "stride": stride,
                "padding": if same { "same" } else { "valid" },
                "activation": if relu { "relu" } else { "none" },
            })
        },
    )
}

/// Nothing, a batch norm, or a residual block whose shortcut fits any channels.
fn middle() -> impl Strategy<Value = Vec<Value>> {
    let filters = prop_oneof![1..8usize, 16..36usize];
    (0..3usize, filters, any::<(bool, bool)>()).prop_map(|(kind, filters, (pooled, relu))| {
        let norm = json!({"type": "batch_norm2d"});
        let conv = |kernel: usize| {
            json!({"type": "conv2d", "filters": filters, "kernel": kernel, "padding": "same"})
        };
        let mut inner = vec![conv(3), norm.clone(), json!({"type": "relu"}), conv(3)];
        let mut shortcut = vec![conv(1), norm.clone()];
        if pooled {
            let pool = json!({"type": "max_pool2d"});
            inner.push(pool.clone());
            shortcut.push(pool);
        }
        let activation = if relu { "relu" } else { "none" };
        let residual = json!({"type": "residual", "layers": inner, "shortcut": shortcut,
            "activation": activation});
        match kind {
            0 => vec![],
            1 => vec![norm],
            _ => vec![residual, norm],
        }
    })
}

fn architecture() -> impl Strategy<Value = Value> {
    (convolution(), middle(), convolution(), 0..3usize, 1..70usize).prop_map(
        |(first, middle, second, pool, units)| {
            let mut layers = vec![first];
            layers.extend(middle);
            if pool > 0 {
                layers.push(json!({"type": "max_pool2d", "size": pool + 1, "stride": pool}));
            }
            layers.push(second);
            layers.push(json!({"type": "max_pool2d"}));
            layers.push(json!({"type": "flatten"}));
            layers.push(json!({"type": "dropout", "rate": 0.1}));
            layers.push(json!({"type": "dense", "units": units, "activation": "relu"}));
            layers.push(json!({"type": "dense", "units": "classes"}));
            layers.push(json!({"type": "softmax"}));
            json!({"input": {"height": 15, "width": 15}, "layers": layers})
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]
    #[test]
    fn random_networks_learn_and_answer_alike(architecture in architecture(), seed in 0..99u64) {
        let checked = Architecture::from_json(&architecture).unwrap();
        prop_assume!(checked.check(3).is_ok());
        let data = noise(26, 15, 3, seed);
        let first = train(Isa::SCALAR, 1, &architecture, &data);
        let bytes = Arc::new(first);
        let labels = || data.labels().to_vec();
        let load = |isa| {
            let unit = Normalization::unit(1);
            ImageClassifier::load_on(isa, Arithmetic::CURRENT, &checked, &unit, labels(), bytes.clone()).unwrap()
        };
        let given = answers(&load(Isa::SCALAR), &data);
        for isa in Isa::available() {
            for threads in [1, 2, 4] {
                let other = train(isa, threads, &architecture, &data);
                prop_assert!(**bytes == *other, "{} with {threads} threads", isa.name());
            }
            prop_assert_eq!(&answers(&load(isa), &data), &given, "{}", isa.name());
        }
    }
}

/// The digits that come with the extension, asked about fixed images.
#[test]
fn the_shipped_network_answers_the_same_for_ever() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/digits");
    let manifest = std::fs::read(folder.join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let architecture = Architecture::from_json(&manifest["model"]["architecture"]).unwrap();
    let labels: Vec<String> = (0..10).map(|digit| digit.to_string()).collect();
    let bytes = std::fs::read(folder.join("weights.bin")).unwrap();
    let images = noise(40, 28, 2, 1);
    for isa in Isa::available() {
        let (unit, bytes) = (Normalization::unit(1), Arc::new(AlignedBytes::from(&*bytes)));
        let classifier = ImageClassifier::load_on(
            isa,
            Arithmetic::CURRENT,
            &architecture,
            &unit,
            labels.clone(),
            bytes,
        )
        .unwrap();
        let bits = answers(&classifier, &images);
        let digest = fnv(bits.into_iter().flat_map(u32::to_le_bytes));
        assert_eq!(format!("{digest:016x}"), SHIPPED, "{}", isa.name());
    }
}

/// Weights that nobody trained, for the arrays of a network.
fn drawn(arrays: &[(&str, &[usize])]) -> AlignedBytes {
    let mut stream = Stream::new(1, "same bits", 1);
    let mut number = || (stream.normal() * 0.1) as f32;
    let values: Vec<Vec<f32>> = arrays
        .iter()
        .map(|(_, shape)| (0..shape.iter().product()).map(|_| number()).collect())
        .collect();
    let mut writer = PayloadWriter::new();
    for ((name, shape), values) in arrays.iter().zip(&values) {
        writer.array(name, shape, values);
    }
    writer.finish()
}

/// Versions from before 0.3.0 go on answering as they did.
#[test]
fn a_version_of_an_older_release_keeps_its_bits() {
    let architecture = json!({"input": {"height": 15, "width": 15}, "layers": [
        {"type": "conv2d", "filters": 16, "kernel": 3, "activation": "relu"},
        {"type": "max_pool2d"},
        {"type": "conv2d", "filters": 20, "kernel": 3, "padding": "same", "activation": "relu"},
        {"type": "conv2d", "filters": 17, "kernel": 3},
        {"type": "max_pool2d"},
        {"type": "flatten"},
        {"type": "dense", "units": 24, "activation": "relu"},
        {"type": "dense", "units": "classes"},
        {"type": "softmax"}
    ]});
    let architecture = Architecture::from_json(&architecture).unwrap();
    let data = noise(40, 15, 3, 2);
    let weights = Arc::new(drawn(&[
        ("0.conv2d.kernel", &[3, 3, 1, 16]),
        ("0.conv2d.bias", &[16]),
        ("2.conv2d.kernel", &[3, 3, 16, 20]),
        ("2.conv2d.bias", &[20]),
        ("3.conv2d.kernel", &[3, 3, 20, 17]),
        ("3.conv2d.bias", &[17]),
        ("6.dense.kernel", &[68, 24]),
        ("6.dense.bias", &[24]),
        ("7.dense.kernel", &[24, 3]),
        ("7.dense.bias", &[3]),
    ]));
    let digest = |isa, arithmetic| {
        let (unit, labels) = (Normalization::unit(1), data.labels().to_vec());
        let weights = weights.clone();
        let classifier =
            ImageClassifier::load_on(isa, arithmetic, &architecture, &unit, labels, weights);
        let bits = answers(&classifier.unwrap(), &data);
        format!("{:016x}", fnv(bits.into_iter().flat_map(u32::to_le_bytes)))
    };
    for isa in Isa::available() {
        assert_eq!(digest(isa, Arithmetic::Direct), ANSWERED_BY_0_2_0, "{}", isa.name());
        assert_ne!(digest(isa, Arithmetic::Winograd), ANSWERED_BY_0_2_0, "{}", isa.name());
    }
}

/// Two layers by the transforms, one in place, pooling of both kinds.
#[test]
fn a_known_training_gives_the_same_weights_for_ever() {
    let architecture = json!({"input": {"height": 15, "width": 15}, "layers": [
        {"type": "conv2d", "filters": 16, "kernel": 3, "activation": "relu"},
        {"type": "max_pool2d", "size": 3, "stride": 2},
        {"type": "conv2d", "filters": 20, "kernel": 3, "padding": "same", "activation": "relu"},
        {"type": "conv2d", "filters": 17, "kernel": 3},
        {"type": "max_pool2d"},
        {"type": "flatten"},
        {"type": "dropout", "rate": 0.2},
        {"type": "dense", "units": 24, "activation": "relu"},
        {"type": "dense", "units": "classes"},
        {"type": "softmax"}
    ]});
    let data = noise(40, 15, 3, 2);
    for isa in Isa::available() {
        let weights = train(isa, 2, &architecture, &data);
        assert_eq!(format!("{:016x}", fnv(weights.iter().copied())), TRAINED, "{}", isa.name());
    }
}

/// Statistics of batches, and sums of two ways.
#[test]
fn a_known_training_of_a_residual_network_gives_the_same_weights_for_ever() {
    let conv = json!({"type": "conv2d", "filters": 16, "kernel": 3, "padding": "same"});
    let norm = json!({"type": "batch_norm2d"});
    let relu = json!({"type": "relu"});
    let one = json!({"type": "conv2d", "filters": 16, "kernel": 1});
    let architecture = json!({"input": {"height": 9, "width": 9}, "layers": [
        norm, conv, norm, relu,
        {"type": "residual", "layers": [conv, norm, relu, conv, norm], "activation": "relu"},
        {"type": "residual", "layers": [conv, {"type": "tanh"}], "shortcut": [one, norm]},
        {"type": "global_avg_pool2d"},
        {"type": "dense", "units": "classes"},
        {"type": "softmax"}
    ]});
    let data = noise(40, 9, 3, 2);
    for isa in Isa::available() {
        let weights = train(isa, 2, &architecture, &data);
        assert_eq!(format!("{:016x}", fnv(weights.iter().copied())), NORMED, "{}", isa.name());
    }
}

const SHIPPED: &str = "2c328a303fa84272";
/// Written down from a build of that release.
const ANSWERED_BY_0_2_0: &str = "2b45db4d7c843e09";
const NORMED: &str = "c3cc03c18edf0ce2";
const TRAINED: &str = "b56e9d3e7e6fd37c";
