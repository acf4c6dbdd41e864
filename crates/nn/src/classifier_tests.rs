use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use teller_numeric::{Stream, Uninterrupted};
use teller_payload::{PayloadError, PayloadWriter};

use super::*;
use crate::group::Kept;

#[test]
fn the_first_of_the_largest_wins() {
    assert_eq!(best(&[0.1, 0.7, 0.7]), 1);
    assert_eq!(best(&[f32::NAN, 0.2, f32::NAN, 0.3]), 3);
    assert_eq!(best(&[f32::NAN, f32::NAN]), 0);
    assert_eq!(best(&[]), 0);
}

/// What may come after a convolution: a batch norm in every place where one can be folded, and
/// where it cannot.
fn after() -> impl Strategy<Value = Vec<Value>> {
    let norm = || json!({"type": "batch_norm2d"});
    let relu = || json!({"type": "relu"});
    prop_oneof![
        Just(vec![norm()]),
        Just(vec![norm(), relu()]),
        Just(vec![norm(), relu(), json!({"type": "max_pool2d"})]),
        Just(vec![norm(), json!({"type": "max_pool2d"})]),
        Just(vec![relu(), norm()]),
        Just(vec![norm(), norm(), relu()]),
        Just(vec![norm(), json!({"type": "gelu"})]),
        Just(vec![json!({"type": "max_pool2d"}), norm(), relu()]),
    ]
}

fn convolution(filters: usize) -> impl Strategy<Value = Value> {
    let groups = prop_oneof![Just(1), Just(filters.min(4))];
    (1..4usize, groups, prop::sample::select(vec!["none", "relu", "tanh"])).prop_map(
        move |(kernel, groups, activation)| {
            json!({"type": "conv2d", "filters": filters, "kernel": kernel, "padding": "same",
                   "groups": groups, "activation": activation})
        },
    )
}

fn architecture() -> impl Strategy<Value = Architecture> {
    let width = prop::sample::select(vec![4usize, 16]);
    width.prop_flat_map(|width| {
        let first = (convolution(width), after());
        let inner = (convolution(width), convolution(width), any::<[bool; 3]>());
        (first, inner, after()).prop_map(move |((conv, after), (a, b, [long, cut, relu]), last)| {
            let norm = json!({"type": "batch_norm2d"});
            let mut layers = vec![json!({"type": "conv2d", "filters": width, "kernel": 3})];
            layers.push(norm.clone());
            layers.push(conv);
            layers.extend(after);
            let mut inner = vec![a, norm.clone(), json!({"type": "relu"})];
            if long {
                inner.extend([b, norm.clone()]);
            }
            let shortcut = match cut {
                true => {
                    vec![json!({"type": "conv2d", "filters": width, "kernel": 1}), norm.clone()]
                }
                false => vec![],
            };
            let activation = if relu { "relu" } else { "none" };
            layers.push(json!({"type": "residual", "layers": inner, "shortcut": shortcut,
                "activation": activation}));
            layers.extend(last);
            layers.push(json!({"type": "flatten"}));
            layers.push(json!({"type": "dense", "units": 20}));
            layers.extend([norm, json!({"type": "relu"})]);
            layers.push(json!({"type": "dense", "units": "classes"}));
            layers.push(json!({"type": "softmax"}));
            let input = json!({"height": 11, "width": 10, "channels": 3});
            Architecture::from_json(&json!({"input": input, "layers": layers})).unwrap()
        })
    })
}

/// Weights as after a training, of a network for training.
fn weights(network: &Network, seed: u64) -> Vec<f32> {
    let mut stream = Stream::new(seed, "weights", 0);
    let mut weights = vec![0.0; network.weights];
    for placed in &network.layers {
        placed.layer.initialize(
            placed.initialization,
            &mut stream,
            &mut weights[placed.kernel.clone()],
        );
        for (range, least) in [(&placed.bias, -0.5), (&placed.mean, -0.5), (&placed.variance, 0.3)]
        {
            weights[range.clone()].fill_with(|| least + stream.uniform());
        }
        if placed.layer.batch_norm().is_some() {
            weights[placed.kernel.clone()].fill_with(|| 0.5 + stream.uniform());
        }
    }
    weights
}

/// The logits of a network that folds nothing, as the validation in a training sees it.
fn unfolded(
    network: &Network,
    weights: &[f32],
    classifier: &ImageClassifier,
    raster: &[u8],
) -> Vec<f32> {
    let pass = Pass { isa: Isa::detect(), control: &Uninterrupted, noise: None };
    let mut prepared = vec![0.0; network.prepared];
    for placed in &network.layers {
        let prepared = &mut prepared[placed.prepared.clone()];
        placed.layer.prepare(pass.isa, placed.stored(weights), prepared, None);
    }
    let mut kept = Kept::new(network, 1).unwrap();
    let mut passing = kept.groups(network, (1, 1), false).remove(0);
    classifier.normalize(raster, passing.values[0]);
    let mut scratch = vec![0.0; network.training_scratch()];
    let of = |index: usize| {
        let placed: &Placed = &network.layers[index];
        placed.weights(placed.stored(weights), &prepared)
    };
    passing.forward(network, &pass, 0..network.layers.len(), of, &mut scratch).unwrap();
    passing.values.last().unwrap().to_vec()
}

/// The answer on every path, against that of a network that folds nothing.
fn assert_folds_alike(
    architecture: &Architecture,
    network: &Network,
    seed: u64,
) -> (ImageClassifier, Vec<f32>) {
    let weights = weights(network, seed);
    let bytes: SharedBytes = Arc::new(codec::write(network, &weights));
    let labels: Vec<String> = (0..network.classes).map(|label| label.to_string()).collect();
    let channels = architecture.input.channels;
    let load = |isa| {
        let (unit, bytes) = (Normalization::unit(channels), bytes.clone());
        let labels = labels.clone();
        ImageClassifier::load_on(isa, Arithmetic::CURRENT, architecture, &unit, labels, bytes)
            .unwrap()
    };
    let classifier = load(Isa::detect());
    let mut stream = Stream::new(seed, "rasters", 0);
    let raster: Vec<u8> = (0..classifier.raster_len()).map(|_| stream.below(256) as u8).collect();
    let expected = unfolded(network, &weights, &classifier, &raster);
    let scale = expected.iter().fold(1.0f32, |max, x| max.max(x.abs()));
    let logits = |classifier: &ImageClassifier| {
        let mut workspace = classifier.workspace().unwrap();
        // Whatever an answer before left there must not matter.
        workspace.values.iter_mut().for_each(|values| values.fill(f32::NAN));
        let layers = classifier.network.layers.len();
        let logits = classifier.values_after(layers, &raster, &mut workspace, &Uninterrupted);
        logits.unwrap().to_vec()
    };
    let first = logits(&classifier);
    for (got, expected) in first.iter().zip(&expected) {
        assert!((got - expected).abs() <= 1e-5 * scale, "{first:?} {expected:?}");
    }
    for isa in Isa::available() {
        assert_eq!(logits(&load(isa)), first, "{}", isa.name());
    }
    (classifier, first)
}

#[test]
fn the_named_networks_fold_and_answer() {
    for name in Architecture::names() {
        let architecture = Architecture::named(name).unwrap();
        let network = Network::new(&architecture, 10, Purpose::Training).unwrap();
        let (classifier, logits) = assert_folds_alike(&architecture, &network, 3);
        assert!(logits.iter().any(|logit| logit.abs() > 0.01), "{name}: {logits:?}");
        // No layer is left of a batch norm after a convolution.
        let norms = classifier.network.layers.iter().filter(|p| p.layer.batch_norm().is_some());
        assert_eq!(norms.count(), 0, "{name}");
    }
}

/// The input's own buffer is one way through the first block.
#[test]
fn a_block_may_read_the_image_itself() {
    let conv = json!({"type": "conv2d", "filters": 3, "kernel": 3, "padding": "same"});
    let norm = json!({"type": "batch_norm2d"});
    for (shortcut, flat) in [(json!([]), false), (json!([conv, norm, conv]), true)] {
        let block = json!({"type": "residual", "layers": [conv, norm, conv], "shortcut": shortcut});
        let dense = |units: usize| json!({"type": "dense", "units": units});
        // A block of dense layers over a vector as well.
        let wide = json!({"type": "residual", "layers": [dense(9), norm, dense(30)],
            "shortcut": if flat { json!([dense(30)]) } else { json!([]) }, "activation": "tanh"});
        let whole = json!({
            "input": {"height": 5, "width": 4, "channels": 3},
            "layers": [block, block, {"type": "flatten"}, dense(30), wide,
                {"type": "dense", "units": "classes"}, {"type": "softmax"}]
        });
        let architecture = Architecture::from_json(&whole).unwrap();
        let network = Network::new(&architecture, 3, Purpose::Training).unwrap();
        assert_folds_alike(&architecture, &network, 7);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn folded_batch_norms_answer_like_layers_of_their_own(
        architecture in architecture(),
        seed in any::<u64>(),
    ) {
        let network = Network::new(&architecture, 3, Purpose::Training).unwrap();
        let (classifier, _) = assert_folds_alike(&architecture, &network, seed);
        // All numbers are told, in the order of the layers, as they were trained.
        let names: Vec<_> = classifier.weights().map(|array| array.name).collect();
        let expected: Vec<_> =
            network.layers.iter().flat_map(codec::arrays).map(|(name, ..)| name).collect();
        prop_assert_eq!(names, expected);
    }
}

#[test]
fn a_variance_that_no_batch_has_is_refused() {
    let architecture = Architecture::from_json(&json!({
        "input": {"height": 4, "width": 4},
        "layers": [
            {"type": "conv2d", "filters": 2, "kernel": 3}, {"type": "batch_norm2d"},
            {"type": "flatten"}, {"type": "dense", "units": "classes"}, {"type": "softmax"}]
    }))
    .unwrap();
    let network = Network::new(&architecture, 2, Purpose::Training).unwrap();
    let weights = weights(&network, 1);
    let norm = network.layers.iter().find(|placed| placed.layer.batch_norm().is_some()).unwrap();
    let load = |weights: &[f32]| {
        let labels = vec!["a".to_owned(), "b".to_owned()];
        let bytes = Arc::new(codec::write(&network, weights));
        let unit = Normalization::unit(1);
        ImageClassifier::load(Arithmetic::CURRENT, &architecture, &unit, labels, bytes)
    };
    load(&weights).unwrap();
    for wrong in [-1e-9, f32::NAN, f32::INFINITY] {
        let mut weights = weights.clone();
        weights[norm.variance.clone()][1] = wrong;
        let Err(Error::Payload(PayloadError::Value { name, .. })) = load(&weights) else {
            panic!("accepted {wrong}")
        };
        assert_eq!(name, "1.batch_norm2d.variance");
    }
    // A payload without the statistics.
    let mut writer = PayloadWriter::new();
    for (name, shape, range) in network.layers.iter().flat_map(codec::arrays) {
        if !name.ends_with("variance") {
            writer.array(&name, &shape, &weights[range]);
        }
    }
    let labels = vec!["a".to_owned(), "b".to_owned()];
    let (unit, bytes) = (Normalization::unit(1), Arc::new(writer.finish()));
    let missing = ImageClassifier::load(Arithmetic::CURRENT, &architecture, &unit, labels, bytes);
    assert!(matches!(missing, Err(Error::Payload(PayloadError::Array { .. }))));
}
