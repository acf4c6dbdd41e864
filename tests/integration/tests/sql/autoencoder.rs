//! Autoencoders of rows and of scans: `encode`, `decode`, `reconstruct`, `anomaly_score`,
//! `interpolate`.

use postgres::Client;
use postgres::error::SqlState;
use teller_tests::{Database, Statements};

/// Makes `curve (id, features)`: rows of four numbers that one number tells, and a model of them.
fn curve(client: &mut Client) {
    client.run(
        r#"CREATE TABLE curve AS
               SELECT id, ARRAY[10 * sin(t), cos(t), sin(t + 1), 100 + cos(t + 1)]::real[] AS features
               FROM (SELECT id, id * 0.01 AS t FROM generate_series(1, 600) id) _;
           SELECT teller.train('lines', 'autoencoding', 'SELECT features FROM curve ORDER BY id',
               '{"hidden": 32, "latent": 2, "epochs": 30, "batch_size": 32,
                 "learning_rate": 0.005}')"#,
    );
}

fn scans(client: &mut Client) {
    client.run(
        r#"SELECT teller.train('codes', 'autoencoding',
               'SELECT image FROM demo.scans WHERE id % 2 = 0 ORDER BY id',
               '{"input": {"height": 8, "width": 8}, "hidden": 64, "latent": 8, "epochs": 20,
                 "batch_size": 32}')"#,
    );
}

#[test]
fn rows_are_told_by_their_codes_and_others_stand_out() {
    let mut client = Database::new().connect();
    curve(&mut client);
    let length: i32 =
        client.value("SELECT DISTINCT cardinality(teller.encode(features, 'lines')) FROM curve");
    assert_eq!(length, 2);
    // By the mean of all rows it were 5.
    let error: f64 = client.value(
        "SELECT avg(abs(a - b))::float8 FROM curve,
             unnest(features, teller.reconstruct(features, 'lines')) WITH ORDINALITY u(a, b, place)
         WHERE place = 1",
    );
    assert!(error < 2.0, "the first number is off by {error} in the mean");
    let same: bool = client.value(
        "SELECT bool_and(teller.reconstruct(features, 'lines')
                         = teller.decode(teller.encode(features, 'lines'), 'lines')) FROM curve",
    );
    assert!(same);
    let usual: f64 =
        client.value("SELECT avg(teller.anomaly_score(features, 'lines'))::float8 FROM curve");
    assert!((0.4..0.6).contains(&usual), "rows of the training score {usual} in the mean");
    let unlike: f32 = client.value("SELECT teller.anomaly_score('{-10,1,1,99}'::real[], 'lines')");
    assert!(unlike > 0.99, "a row unlike all others scores {unlike}");
    let ends: bool = client.value(
        "WITH r AS (SELECT array_agg(features) AS f FROM curve WHERE id IN (100, 200)),
              i AS (SELECT row, n FROM r, teller.interpolate('{1,2,3,100}'::real[], '{3,2,1,100}', 5, 'lines')
                        WITH ORDINALITY AS i(row, n))
         SELECT count(*) = 5
             AND (array_agg(row ORDER BY n))[1:1] = ARRAY[teller.reconstruct('{1,2,3,100}'::real[], 'lines')]
         FROM i",
    );
    assert!(ends, "it begins with the first row's reconstruction");
}

#[test]
fn the_version_tells_how_good_it_is_and_trains_to_the_same_again() {
    let mut client = Database::new().connect();
    curve(&mut client);
    let names: Vec<String> = client.column(
        "SELECT jsonb_object_keys(metrics) FROM teller.model_versions
         WHERE model = 'lines'::regclass ORDER BY 1",
    );
    for name in ["validation_divergence", "validation_reconstruction", "validation_negative_elbo"] {
        assert!(names.iter().any(|there| there == name), "{name} is none of {names:?}");
    }
    let sums: bool = client.value(
        "SELECT abs(sum(value) FILTER (WHERE metric = 'negative_elbo')
                  - sum(value) FILTER (WHERE metric IN ('reconstruction', 'divergence'))) < 1e-9
         FROM teller.evaluate('lines', 'SELECT features FROM curve')",
    );
    assert!(sums, "the bound is the sum of its parts");
    assert!(client.value::<bool>("SELECT same FROM teller.retrain_check('lines', 1)"));
    let layers: Vec<String> = client.column("SELECT layer FROM teller.weights('lines')");
    assert_eq!(layers.len(), 13);
    assert_eq!(layers[0], "encoder.0.dense.kernel");
}

#[test]
fn scans_are_told_by_their_codes() {
    let mut client = Database::with_demo().connect();
    scans(&mut client);
    let row = client
        .query_one(
            "SELECT cardinality(teller.encode(image, 'codes')),
                 cardinality(teller.decode(teller.encode(image, 'codes'), 'codes')),
                 encode(teller.reconstruct(image, 'codes'), 'hex') LIKE '89504e47%',
                 (SELECT count(*) FROM teller.interpolate(image, image, 3, 'codes'))
             FROM demo.scans WHERE id = 1",
            &[],
        )
        .unwrap();
    assert_eq!((row.get(0), row.get(1), row.get(2), row.get(3)), (8, 64, true, 3i64));
    let (usual, painted): (f64, f32) = (
        client.value(
            "SELECT avg(teller.anomaly_score(image, 'codes'))::float8 FROM demo.scans
             WHERE id % 2 = 1",
        ),
        client.value(
            "SELECT teller.anomaly_score(teller.explain_image(image, 'teller.digits'), 'codes')
             FROM demo.scans WHERE id = 1",
        ),
    );
    assert!(usual < 0.7, "scans that were not seen score {usual} in the mean");
    assert!(f64::from(painted) > usual, "a digit under a heat map scores {painted}");
}

#[test]
fn convolutions_tell_scans_and_have_named_weights() {
    let mut client = Database::with_demo().connect();
    client.run(
        r#"SELECT teller.train('codes', 'autoencoding',
               'SELECT image FROM demo.scans WHERE id % 2 = 0 ORDER BY id',
               '{"input": {"height": 12, "width": 10}, "network": "convolutional", "filters": 8,
                 "hidden": 64, "latent": 8, "epochs": 12, "batch_size": 32}')"#,
    );
    let row = client
        .query_one(
            "SELECT cardinality(teller.encode(image, 'codes')),
                    teller.decode(teller.encode(image, 'codes'), 'codes')
                        <> array_fill(0::real, ARRAY[120]),
                    encode(teller.reconstruct(image, 'codes'), 'hex') LIKE '89504e47%'
             FROM demo.scans WHERE id = 1",
            &[],
        )
        .unwrap();
    assert_eq!((row.get(0), row.get(1), row.get(2)), (8, true, true));
    let usual: f64 = client.value(
        "SELECT avg(teller.anomaly_score(image, 'codes'))::float8 FROM demo.scans WHERE id % 2 = 1",
    );
    assert!(usual < 0.75, "scans that were not seen score {usual} in the mean");
    let names: Vec<String> = client.column(
        "SELECT DISTINCT layer FROM teller.weights('codes') WHERE layer LIKE '%conv%' ORDER BY 1",
    );
    assert_eq!(
        names,
        [
            "decoder.3.conv_transpose2d.bias",
            "decoder.3.conv_transpose2d.kernel",
            "encoder.0.conv2d.bias",
            "encoder.0.conv2d.kernel"
        ]
    );
    let invalid = &SqlState::INVALID_PARAMETER_VALUE;
    let refused = |options: &str| {
        format!(
            "SELECT teller.train('x', 'autoencoding', 'SELECT image FROM demo.scans',
                 '{{\"network\": \"convolutional\"{options}}}')"
        )
    };
    let error = client.refused(&refused(""), invalid);
    assert!(error.message().contains("dense where there is no input"), "{}", error.message());
    let odd = refused(r#", "input": {"height": 7, "width": 8}"#);
    let error = client.refused(&odd, invalid);
    assert!(error.message().contains("7 x 8"), "{}", error.message());
}

#[test]
fn nulls_and_what_does_not_fit() {
    let mut client = Database::with_demo().connect();
    curve(&mut client);
    for call in [
        "encode(NULL::real[], 'lines')",
        "decode(NULL, 'lines')",
        "reconstruct(NULL::real[], 'lines')",
        "anomaly_score(NULL::real[], 'lines')",
    ] {
        assert!(client.value::<bool>(&format!("SELECT teller.{call} IS NULL")), "{call}");
    }
    let none = "SELECT count(*) FROM teller.interpolate(NULL::real[], '{1}', 3, 'lines')";
    assert_eq!(client.value::<i64>(none), 0);
    let invalid = &SqlState::INVALID_PARAMETER_VALUE;
    let error = client.refused("SELECT teller.encode('{1,2,3}'::real[], 'lines')", invalid);
    assert_eq!(error.message(), "the features have 3 numbers, expected 4");
    let error = client.refused("SELECT teller.decode('{1,2,3}', 'lines')", invalid);
    assert_eq!(error.message(), "the codes have 3 numbers, expected 2");
    client.refused("SELECT teller.anomaly_score('{}'::real[], 'lines')", invalid);
    client.refused(
        "SELECT teller.interpolate('{1,2,3,4}'::real[], '{1,2,3,4}', 1, 'lines')",
        invalid,
    );
    client.refused("SELECT teller.encode(image, 'lines') FROM demo.scans LIMIT 1", invalid);
    let range = &SqlState::NUMERIC_VALUE_OUT_OF_RANGE;
    client.refused("SELECT teller.encode('{1,2,3,NaN}'::real[], 'lines')", range);
    let null = &SqlState::NULL_VALUE_NOT_ALLOWED;
    client.refused("SELECT teller.encode('{1,2,3,NULL}'::real[], 'lines')", null);
    let wrong = &SqlState::WRONG_OBJECT_TYPE;
    client.refused("SELECT teller.encode('{1,2,3,4}'::real[], 'teller.digits')", wrong);
    client.refused("SELECT teller.classify_image(image, 'lines') FROM demo.scans LIMIT 1", wrong);
    let train = |data: &str, options: &str| {
        format!("SELECT teller.train('other', 'autoencoding', '{data}', '{options}')")
    };
    let uneven = train(
        "SELECT array_fill(1::real, ARRAY[i]) AS features FROM generate_series(2, 3) i",
        "{}",
    );
    let error = client.refused(&uneven, invalid);
    assert_eq!(error.message(), "row 2 of the data: the features have 3 numbers, expected 2");
    client.refused(&train("SELECT NULL::real[] AS features", "{}"), null);
    client.refused(&train("SELECT image FROM demo.scans", "{}"), &SqlState::UNDEFINED_COLUMN);
    let bernoulli = r#"{"likelihood": "bernoulli"}"#;
    client.refused(&train("SELECT features FROM curve", bernoulli), range);
    client.refused(&train("SELECT features FROM curve", r#"{"latent": 0}"#), invalid);
    client.run("SET teller.max_training_memory = '4MB'");
    let error =
        client.refused(&train("SELECT features FROM curve", "{}"), &SqlState::OUT_OF_MEMORY);
    assert!(error.message().contains("600 rows of 4 numbers"), "{}", error.message());
}
