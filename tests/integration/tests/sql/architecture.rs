//! What `describe_architecture` tells, and how it refuses.

use postgres::error::SqlState;
use teller_tests::{Database, Statements};

#[test]
fn layers_come_in_order_with_their_costs() {
    let mut client = Database::new().connect();
    let rows: Vec<String> = client.column(
        r#"SELECT concat_ws('|', layer, type, output, parameters, flops, memory)
           FROM teller.describe_architecture('"reference"')"#,
    );
    assert_eq!(rows[0], "0|conv2d|26 x 26 x 32|320|411008|87808");
    assert_eq!(rows[4], "4|flatten|1600|0|0|6400");
    assert_eq!(rows[7], "7|softmax|10|0|10|40");
    // As many numbers as the shipped model has, which is of this architecture.
    let same: bool = client.value(
        r#"SELECT (SELECT sum(parameters) FROM teller.describe_architecture('"reference"')) =
                  (SELECT sum(cardinality("values")) FROM teller.weights('teller.digits'))"#,
    );
    assert!(same);
    let wide: i64 = client.value(
        r#"SELECT parameters FROM teller.describe_architecture('"lenet5"', 47) WHERE layer = '7'"#,
    );
    assert_eq!(wide, 84 * 47 + 47);
}

#[test]
fn an_architecture_that_does_not_fit_is_refused_by_layer_and_shape() {
    let mut client = Database::new().connect();
    let refused = &SqlState::INVALID_PARAMETER_VALUE;
    let error = client.refused(
        r#"SELECT teller.describe_architecture(
               '{"input": {"height": 4, "width": 4}, "layers": [
                   {"type": "avg_pool2d", "size": 5}, {"type": "flatten"},
                   {"type": "dense", "units": "classes"}, {"type": "softmax"}]}')"#,
        refused,
    );
    assert_eq!(
        error.message(),
        "layer 0 (avg_pool2d) gets an image of 4 x 4 x 1, expected an image of at least 5 x 5"
    );
    for wrong in [r#"'"referense"'"#, "'1'", "'[]'", r#"'"small"', 1"#, r#"'"small"', -1"#] {
        client.refused(&format!("SELECT teller.describe_architecture({wrong})"), refused);
    }
    client.refused("SELECT teller.describe_architecture('1e400')", refused);
}

const RESIDUAL: &str = r#"{"input": {"height": 8, "width": 8, "channels": 1}, "layers": [
    {"type": "conv2d", "filters": 8, "kernel": 3, "padding": "same"},
    {"type": "batch_norm2d"},
    {"type": "relu"},
    {"type": "residual", "layers": [
        {"type": "conv2d", "filters": 16, "kernel": 3, "stride": 2, "padding": "same"},
        {"type": "batch_norm2d"},
        {"type": "relu"},
        {"type": "conv2d", "filters": 16, "kernel": 3, "padding": "same"},
        {"type": "batch_norm2d"}
     ], "shortcut": [
        {"type": "conv2d", "filters": 16, "kernel": 1, "stride": 2, "padding": "same"},
        {"type": "batch_norm2d"}
     ], "activation": "relu"},
    {"type": "flatten"},
    {"type": "dense", "units": "classes"},
    {"type": "softmax"}]}"#;

#[test]
fn a_residual_network_is_told_layer_by_layer() {
    let mut client = Database::new().connect();
    let rows: Vec<String> = client.column(&format!(
        "SELECT concat_ws('|', layer, type, output, parameters, flops, memory)
         FROM teller.describe_architecture('{RESIDUAL}')"
    ));
    assert_eq!(
        rows,
        [
            "0|conv2d|8 x 8 x 8|80|9216|2368",
            "1|batch_norm2d|8 x 8 x 8|32|1024|2176",
            "2|relu|8 x 8 x 8|0|512|2048",
            "3.residual.0|conv2d|4 x 4 x 16|1168|36864|5696",
            "3.residual.1|batch_norm2d|4 x 4 x 16|64|512|1280",
            "3.residual.2|relu|4 x 4 x 16|0|256|1024",
            "3.residual.3|conv2d|4 x 4 x 16|2320|73728|10304",
            "3.residual.4|batch_norm2d|4 x 4 x 16|64|512|1280",
            "3.residual.shortcut.0|conv2d|4 x 4 x 16|144|4096|1600",
            "3.residual.shortcut.1|batch_norm2d|4 x 4 x 16|64|512|1280",
            "3|residual|4 x 4 x 16|0|512|1024",
            "4|flatten|256|0|0|1024",
            "5|dense|10|2570|5120|10320",
            "6|softmax|10|0|10|40",
        ]
    );
    for name in ["resnet8", "resnet20", "forms"] {
        let layers: i64 = client
            .value(&format!("SELECT count(*) FROM teller.describe_architecture('\"{name}\"', 47)"));
        assert!(layers > 20, "{name}: {layers}");
    }
}

#[test]
fn a_residual_network_learns_answers_explains_and_embeds() {
    let mut client = Database::with_demo().connect();
    let accuracy: f64 = client.value(&format!(
        "SELECT (metrics->>'validation_accuracy')::float8
         FROM teller.train('scans', 'image_classification',
             'SELECT image, label FROM demo.scans WHERE id % 5 <> 0',
             '{{\"epochs\": 6, \"architecture\": {RESIDUAL}}}')"
    ));
    assert!(accuracy > 0.85, "{accuracy}");
    let right: f64 = client.value(
        "SELECT avg((teller.classify_image(image, 'scans') = label)::int)::float8
         FROM demo.scans WHERE id % 5 = 0",
    );
    assert!(right > 0.85, "{right}");
    let png: bool = client.value(
        "SELECT bool_and(substr(teller.explain_image(image, 'scans', NULL, method), 2, 3) = 'PNG')
         FROM demo.scans, unnest(ARRAY['grad_cam', 'occlusion']) method WHERE id = 5",
    );
    assert!(png);
    let embedding: i32 = client.value(
        "SELECT cardinality(teller.image_embedding(image, 'scans')) FROM demo.scans LIMIT 1",
    );
    assert_eq!(embedding, 4 * 4 * 16);
    // Every number that the architecture is said to have, by its layer's name.
    let told: bool = client.value(&format!(
        "SELECT bool_and(parameters = numbers) AND count(*) = 9
         FROM (SELECT layer || '.' || type AS name, parameters
               FROM teller.describe_architecture('{RESIDUAL}') WHERE parameters > 0) described
         FULL JOIN (SELECT regexp_replace(layer, '[.][a-z]+$', '') AS name,
                           sum(cardinality(\"values\")) AS numbers
                    FROM teller.weights('scans') GROUP BY 1) stored USING (name)"
    ));
    assert!(told);
    let names: Vec<String> = client.column(
        "SELECT layer FROM teller.weights('scans') WHERE layer LIKE '3.residual.shortcut.1.%'
         ORDER BY layer",
    );
    let norm = |array: &str| format!("3.residual.shortcut.1.batch_norm2d.{array}");
    assert_eq!(names, ["beta", "gamma", "mean", "variance"].map(norm));
}

#[test]
fn two_ways_of_other_shapes_are_refused_with_the_way_out() {
    let mut client = Database::new().connect();
    let error = client.refused(
        r#"SELECT teller.describe_architecture(
               '{"input": {"height": 8, "width": 8}, "layers": [
                   {"type": "residual", "layers": [
                       {"type": "conv2d", "filters": 4, "kernel": 3, "stride": 2}]},
                   {"type": "flatten"}, {"type": "dense", "units": "classes"},
                   {"type": "softmax"}]}')"#,
        &SqlState::INVALID_PARAMETER_VALUE,
    );
    assert_eq!(
        error.message(),
        "layer 0 (residual) gets an image of 3 x 3 x 4 from its layers and an image of 8 x 8 x 1 \
         from its shortcut, expected the same of both"
    );
    assert!(error.hint().unwrap().contains("\"shortcut\""), "{error:?}");
}
