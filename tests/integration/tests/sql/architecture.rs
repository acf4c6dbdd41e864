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
    assert_eq!(rows[0], "0|conv2d|26 x 26 x 32|320|389376|87808");
    assert_eq!(rows[4], "4|flatten|1600|0|0|6400");
    assert_eq!(rows[7], "7|softmax|10|0|10|40");
    // As many numbers as the shipped model has, which is of this architecture.
    let same: bool = client.value(
        r#"SELECT (SELECT sum(parameters) FROM teller.describe_architecture('"reference"')) =
                  (SELECT sum(cardinality("values")) FROM teller.weights('teller.digits'))"#,
    );
    assert!(same);
    let wide: i64 = client.value(
        r#"SELECT parameters FROM teller.describe_architecture('"lenet5"', 47) WHERE layer = 7"#,
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
