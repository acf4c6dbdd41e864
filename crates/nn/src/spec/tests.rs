use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn read(layers: Value) -> Result<Architecture, ArchitectureError> {
    let input = json!({"height": 28, "width": 28, "channels": 1});
    let architecture = Architecture::from_json(&json!({"input": input, "layers": layers}))?;
    architecture.check(10)?;
    Ok(architecture)
}

#[test]
fn the_named_ones_are_networks_and_survive_json() {
    for name in Architecture::names() {
        let architecture = Architecture::named(name).unwrap();
        assert_eq!(architecture.name, name);
        architecture.check(10).unwrap();
        assert_eq!(Architecture::from_json(&architecture.to_json()).unwrap(), architecture);
    }
    let Err(ArchitectureError::UnknownName { nearest, known, .. }) =
        Architecture::named("referense")
    else {
        panic!("accepted")
    };
    assert_eq!(nearest.as_deref(), Some("reference"));
    assert_eq!(known, ["reference", "lenet5", "small", "resnet8", "resnet20", "forms"]);
}

#[test]
fn errors_name_the_layer_and_what_would_be_right() {
    let end = [json!({"type": "dense", "units": "classes"}), json!({"type": "softmax"})];
    let with = |layers: &[Value]| read(Value::Array([layers, &end].concat()));
    let flatten = json!({"type": "flatten"});
    let message = |result: Result<Architecture, ArchitectureError>| result.unwrap_err().to_string();

    let error = message(with(&[json!({"type": "conv2d", "filters": 8, "kernel": 29})]));
    assert_eq!(
        error,
        "layer 0 (conv2d) gets an image of 28 x 28 x 1, expected an image of at least 29 x 29"
    );
    let error = message(with(&[json!({"type": "conv2d", "filters": 8, "kernel": 3, "groups": 2})]));
    assert_eq!(
        error,
        "layer 0 (conv2d) gets an image of 28 x 28 x 1, expected channels that 2 groups can share alike"
    );
    let error = message(with(&[json!({"type": "conv2d", "filters": 8, "kernel": 3, "groups": 3})]));
    assert_eq!(
        error,
        "option \"groups\" of layer 0 (conv2d) is 3, expected a divisor of the 8 filters"
    );
    let wide = json!({"type": "conv2d", "filters": 8, "kernel": 10, "dilation": 4});
    let error = message(with(&[wide]));
    assert_eq!(
        error,
        "layer 0 (conv2d) gets an image of 28 x 28 x 1, expected an image of at least 37 x 37"
    );
    let error = message(with(&[]));
    assert_eq!(
        error,
        "layer 0 (dense) gets an image of 28 x 28 x 1, expected a vector: put a flatten layer before it"
    );
    let error = message(with(&[flatten.clone(), json!({"type": "max_pool2d"})]));
    assert_eq!(error, "layer 1 (max_pool2d) gets a vector of 784, expected an image");
    let larger = json!({"type": "conv_transpose2d", "filters": 2, "kernel": 3, "stride": 2});
    let error = message(with(std::slice::from_ref(&larger)));
    assert_eq!(
        error,
        "layer 1 (dense) gets an image of 57 x 57 x 2, expected a vector: put a flatten layer \
         before it"
    );
    let error = message(with(&[flatten.clone(), larger]));
    assert_eq!(error, "layer 1 (conv_transpose2d) gets a vector of 784, expected an image");
    let error = message(read(json!([flatten, {"type": "dense", "units": 9}, {"type": "softmax"}])));
    assert_eq!(
        error,
        "layer 2 (softmax) gets a vector of 9, expected a vector of 10, one for each class"
    );
    let error = message(with(&[json!({"type": "conv2d", "kernel": 3})]));
    assert_eq!(
        error,
        "option \"filters\" of layer 0 (conv2d) is missing, expected a whole number between 1 and 4096"
    );
    let shape = json!({"type": "reshape", "height": 7, "width": 7, "channels": 8});
    let error = message(with(&[flatten.clone(), shape]));
    assert_eq!(error, "layer 1 (reshape) gets a vector of 784, expected 392 values");
    let error = message(with(&[json!({"type": "conv", "filters": 3})]));
    assert!(error.starts_with("layer 0 has the type \"conv\", expected one of conv2d"), "{error}");
    let Err(ArchitectureError::UnknownType { nearest, .. }) = with(&[json!({"type": "conv"})])
    else {
        panic!("accepted")
    };
    assert_eq!(nearest.as_deref(), Some("conv2d"));
    let Err(ArchitectureError::Option(OptionError::Unknown { subject, nearest, .. })) =
        with(&[json!({"type": "conv2d", "filters": 3, "kernel": 3, "strides": 2})])
    else {
        panic!("accepted")
    };
    assert_eq!((&*subject, nearest.as_deref()), ("layer 0 (conv2d)", Some("stride")));
    let error = message(read(json!([flatten, end[0]])));
    assert_eq!(error, "the architecture does not end with a softmax");
    let error = message(read(json!([flatten, end[0], end[1], end[1]])));
    assert_eq!(error, "the architecture has layers after its softmax");
}

#[test]
fn errors_in_residual_blocks_name_the_layer_in_it() {
    let end = [
        json!({"type": "flatten"}),
        json!({"type": "dense", "units": "classes"}),
        json!({"type": "softmax"}),
    ];
    let with = |block: Value| read(Value::Array([&[block], &end[..]].concat()));
    let message = |block: Value| with(block).unwrap_err().to_string();
    let conv = json!({"type": "conv2d", "filters": 4, "kernel": 3, "padding": "same"});
    let strided = json!({"type": "conv2d", "filters": 4, "kernel": 3, "stride": 2});

    let error = message(json!({"type": "residual", "layers": [conv, strided]}));
    assert_eq!(
        error,
        "layer 0 (residual) gets an image of 13 x 13 x 4 from its layers and an image of \
         28 x 28 x 1 from its shortcut, expected the same of both"
    );
    let wide = json!({"type": "conv2d", "filters": 4, "kernel": 29});
    let error = message(json!({"type": "residual", "layers": [conv], "shortcut": [wide]}));
    assert_eq!(
        error,
        "layer 0.residual.shortcut.0 (conv2d) gets an image of 28 x 28 x 1, expected an image of \
         at least 29 x 29"
    );
    let inner = json!({"type": "residual", "layers": [conv]});
    let error = message(json!({"type": "residual", "layers": [conv, inner]}));
    assert!(
        error.starts_with("layer 0.residual.1 has the type \"residual\", expected one of conv2d, "),
        "{error}"
    );
    assert!(!error.contains("softmax"), "{error}");
    let error = message(json!({"type": "residual", "layers": [{"type": "dropout"}]}));
    assert_eq!(error, "layer 0 (residual) has no layer that learns among its layers");
    let error = message(json!({"type": "residual", "layers": []}));
    assert_eq!(
        error,
        "option \"layers\" of layer 0 (residual) is \"an array of 0\", expected an array of 1 to \
         256 layers"
    );
    let error = message(json!({"type": "residual", "layers": [{"type": "conv2d", "kernel": 3}]}));
    assert_eq!(
        error,
        "option \"filters\" of layer 0.residual.0 (conv2d) is missing, expected a whole number \
         between 1 and 4096"
    );
    let many = vec![conv.clone(); 200];
    let error = message(json!({"type": "residual", "layers": many, "shortcut": many}));
    assert_eq!(error, "the architecture has more than 256 layers in its residual blocks");
    let shortcut = json!({"type": "conv2d", "filters": 4, "kernel": 1});
    let right = json!({"type": "residual", "layers": [conv, {"type": "batch_norm2d"}],
        "shortcut": [shortcut], "activation": "gelu"});
    let right = with(right).unwrap();
    assert_eq!(Architecture::from_json(&right.to_json()).unwrap(), right);
}

#[test]
fn what_no_machine_could_hold_is_refused() {
    let wide = json!({"type": "conv2d", "filters": 4096, "kernel": 63, "padding": "same"});
    let layers = json!([wide, wide, {"type": "flatten"}, {"type": "dense", "units": "classes"},
        {"type": "softmax"}]);
    let Err(ArchitectureError::TooLarge { place, .. }) = read(layers) else { panic!("accepted") };
    assert!(["0", "1"].contains(&&*place), "{place}");
    let input = json!({"height": 4096, "width": 4096, "channels": 3});
    let layers = json!([{"type": "flatten"}, {"type": "dense", "units": 65536},
        {"type": "dense", "units": "classes"}, {"type": "softmax"}]);
    let architecture = Architecture::from_json(&json!({"input": input, "layers": layers})).unwrap();
    let error = architecture.check(10).unwrap_err().to_string();
    assert!(error.starts_with("layer 1 (dense) needs 3298534948864 weights"), "{error}");
}

fn any_json() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(vec![
        "type",
        "conv2d",
        "conv_transpose2d",
        "reshape",
        "max_pool2d",
        "avg_pool2d",
        "global_avg_pool2d",
        "dense",
        "relu",
        "leaky_relu",
        "slope",
        "gelu",
        "activation",
        "tanh",
        "flatten",
        "dropout",
        "batch_norm2d",
        "momentum",
        "epsilon",
        "residual",
        "shortcut",
        "softmax",
        "units",
        "classes",
        "filters",
        "kernel",
        "stride",
        "padding",
        "dilation",
        "groups",
        "same",
        "size",
        "rate",
        "layers",
        "input",
        "height",
        "width",
        "channels",
        "name",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0..40i64).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        words.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((words.clone(), inner), 0..6).prop_map(|entries| {
                Value::Object(entries.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_json_panics(value in any_json(), input in any_json(), layers in any_json()) {
        let _ = Architecture::from_json(&value).map(|a| a.check(10));
        let _ = Architecture::from_json(&json!({"input": input, "layers": layers}));
        let size = json!({"height": 28, "width": 28});
        let _ = Architecture::from_json(&json!({"input": size, "layers": layers}))
            .map(|a| a.check(10));
    }
}
