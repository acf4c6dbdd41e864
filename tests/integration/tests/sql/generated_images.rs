//! Generators of images: `generation` by `gan`, `generate`, `generate_images`, `image_grid`.

use postgres::Client;
use postgres::error::SqlState;
use teller_tests::{Database, Statements};

const GAN: &str = r#"{"algorithm": "gan", "input": {"height": 8, "width": 8}, "filters": 8,
    "epochs": 3, "batch_size": 32, "learning_rate": 0.002}"#;

fn train(client: &mut Client, model: &str, columns: &str) {
    client.run(&format!(
        "SELECT teller.train('{model}', 'generation',
             'SELECT {columns} FROM demo.scans ORDER BY id', '{GAN}')"
    ));
}

#[test]
fn images_are_made_of_a_seed_and_a_label() {
    let mut client = Database::with_demo().connect();
    train(&mut client, "digits", "image, label");
    let formats: i64 = client.value(
        "SELECT count(*) FROM teller.generate_images('digits', 300, 1) image
         WHERE substr(image, 1, 8) = '\\x89504e470d0a1a0a' AND get_byte(image, 19) = 8",
    );
    assert_eq!(formats, 300);
    let values: bool = client.value(
        "SELECT bool_and(cardinality(image) = 64 AND 0 <= ALL (image) AND 1 >= ALL (image))
         FROM teller.generate('digits', 5, 1) image",
    );
    assert!(values);
    for (first, second, same) in [
        ("300, 1", "20, 1", true),
        ("20, 1", "20, 2", false),
        ("20, 1, '3'", "20, 1, '8'", false),
        ("20, 1, '3'", "20, 1, '3'", true),
        ("20, 1", "20, 1, NULL", true),
    ] {
        let array = |asked: &str| {
            format!(
                "(SELECT array_agg(image) FROM (SELECT image
                  FROM teller.generate_images('digits', {asked}) image LIMIT 20) _)"
            )
        };
        let got: bool = client.value(&format!("SELECT {} = {}", array(first), array(second)));
        assert_eq!(got, same, "{first} and {second}");
    }
    let random: bool = client
        .value("SELECT a <> b FROM teller.generate('digits', 1) a, teller.generate('digits', 1) b");
    assert!(random);
    let none: i64 = client.value(
        "SELECT (SELECT count(*) FROM teller.generate_images('digits', 0))
              + (SELECT count(*) FROM teller.generate_images('digits', NULL))
              + (SELECT count(*) FROM teller.generate(NULL, 1))
              + (SELECT count(*) FROM teller.generate('digits', 1, NULL))",
    );
    assert_eq!(none, 0);
    let read: bool = client.value(
        "SELECT bool_and(teller.classify_image(image) IS NOT NULL)
         FROM teller.generate_images('digits', 3, 1) image",
    );
    assert!(read);
}

#[test]
fn a_version_tells_how_far_its_images_are_from_real_ones() {
    let mut client = Database::with_demo().connect();
    train(&mut client, "scans", "image");
    let names: Vec<String> = client.column(
        "SELECT jsonb_object_keys(metrics) FROM teller.model_versions
         WHERE model = 'scans'::regclass ORDER BY 1",
    );
    assert!(names.contains(&"frechet_distance".to_owned()), "{names:?}");
    assert!(names.contains(&"frechet_distance_real".to_owned()), "{names:?}");
    for name in ["copies", "distance_ratio", "membership_auc", "private"] {
        assert!(names.contains(&name.to_owned()), "no {name} among {names:?}");
    }
    let names: Vec<String> = client.column(
        "SELECT metric FROM teller.evaluate('scans', 'SELECT image FROM demo.scans') ORDER BY 1",
    );
    assert_eq!(names, ["frechet_distance", "rows"]);
    let same: bool = client.value("SELECT same FROM teller.retrain_check('scans', 1)");
    assert!(same);
    let weights: i64 = client.value("SELECT count(*) FROM teller.weights('scans')");
    assert_eq!(weights, 4);
    let error = client
        .refused("SELECT teller.generate('scans', 1, 1, '3')", &SqlState::FEATURE_NOT_SUPPORTED);
    assert!(error.message().contains("it knows no labels"), "{}", error.message());
}

#[test]
fn few_images_that_are_learned_by_heart_stay_a_candidate() {
    let mut client = Database::with_demo().connect();
    let learn = |options: &str| {
        format!(
            "SELECT concat_ws(' ', status, metrics->'private') FROM teller.train('scans',
                 'generation', 'SELECT image FROM demo.scans WHERE id <= 80 ORDER BY id',
                 '{{\"algorithm\": \"gan\", \"input\": {{\"height\": 8, \"width\": 8}},
                    \"validation_fraction\": 0.5{options}}}')"
        )
    };
    let by_heart: String = client.value(&learn(r#", "epochs": 500, "batch_size": 20"#));
    assert_eq!(by_heart, "candidate 0");
    let glanced_at: String = client.value(&learn(r#", "epochs": 1"#));
    assert_eq!(glanced_at, "production 1");
    let gated: String = client.value(&learn(
        r#", "epochs": 500, "batch_size": 20, "gate": {"metric": "frechet_distance", "max": 1000,
             "data": "SELECT image FROM demo.scans"}"#,
    ));
    assert_eq!(gated, "production 0");
}

#[test]
fn a_gate_takes_a_lesser_distance_for_the_better_one() {
    let mut client = Database::with_demo().connect();
    let learn = |epochs: u32| {
        format!(
            r#"SELECT status FROM teller.train('scans', 'generation',
                   'SELECT image FROM demo.scans ORDER BY id',
                   '{{"algorithm": "gan", "input": {{"height": 8, "width": 8}}, "epochs": {epochs},
                      "gate": {{"metric": "frechet_distance", "max_drop": 0.01,
                                "data": "SELECT image FROM demo.scans"}}}}')"#
        )
    };
    let status = [2, 12, 2].map(|epochs| client.value::<String>(&learn(epochs)));
    assert_eq!(status, ["production", "production", "candidate"]);
}

#[test]
fn what_cannot_be_answered_says_why() {
    let mut client = Database::with_demo().connect();
    train(&mut client, "digits", "image, label");
    let invalid = &SqlState::INVALID_PARAMETER_VALUE;
    let error = client.refused("SELECT teller.generate('digits', 0, 1, '12')", invalid);
    assert_eq!(error.message(), "the label is \"12\", which does not exist");
    client.refused("SELECT teller.generate_images('digits', -1)", invalid);
    client.refused("SELECT teller.synthesize('digits', 1)", &SqlState::FEATURE_NOT_SUPPORTED);
    client.refused("SELECT teller.generate('teller.digits', 1)", &SqlState::WRONG_OBJECT_TYPE);
    client.run(
        "CREATE TABLE t AS SELECT i % 3 AS x, i % 2 AS y FROM generate_series(1, 200) i;
         SELECT teller.train('people', 'generation', 'SELECT * FROM t',
             '{\"epochs\": 1, \"hidden\": 8, \"promote\": false}');
         SELECT teller.promote('people', 1)",
    );
    client.refused("SELECT teller.generate('people', 1)", &SqlState::FEATURE_NOT_SUPPORTED);
    let refused = |options: &str, data: &str| {
        format!("SELECT teller.train('m', 'generation', '{data}', '{options}')")
    };
    let data = "SELECT image, label FROM demo.scans";
    for (options, data, state) in [
        (r#"{"algorithm": "gan", "input": {"height": 7, "width": 8}}"#, data, invalid),
        (r#"{"algorithm": "gan", "input": {"height": 8}}"#, data, invalid),
        (r#"{"algorithm": "gan", "hidden": 8}"#, data, invalid),
        (r#"{"algorithm": "gans"}"#, data, invalid),
        (r#"{"algorithm": "gan"}"#, "SELECT label FROM demo.scans", &SqlState::UNDEFINED_COLUMN),
        (
            r#"{"algorithm": "gan"}"#,
            "SELECT image, NULL::text AS label FROM demo.scans",
            &SqlState::NULL_VALUE_NOT_ALLOWED,
        ),
        (r#"{"algorithm": "gan"}"#, "SELECT image FROM demo.scans LIMIT 0", invalid),
    ] {
        client.refused(&refused(options, data), state);
    }
    client.run("SET teller.max_training_memory = '1MB'");
    let large = r#"{"algorithm": "gan", "filters": 256}"#;
    client.refused(&refused(large, data), &SqlState::OUT_OF_MEMORY);
}

#[test]
fn a_sheet_shows_all_images() {
    let mut client = Database::with_demo().connect();
    // Width and height are in the header.
    let sides = "get_byte(sheet, 18) * 256 + get_byte(sheet, 19)";
    let width: i32 = client.value(&format!(
        "SELECT {sides} FROM (SELECT teller.image_grid(array_agg(image)) AS sheet
             FROM (SELECT image FROM demo.scans LIMIT 5) _) _"
    ));
    assert_eq!(width, 3 * (8 + 2) + 2);
    let width: i32 = client.value(&format!(
        "SELECT {sides} FROM (SELECT teller.image_grid(ARRAY[NULL, NULL]::bytea[]) AS sheet) _"
    ));
    assert_eq!(width, 2 * (1 + 2) + 2);
    let nothing: bool =
        client.value("SELECT teller.image_grid('{}') IS NULL AND teller.image_grid(NULL) IS NULL");
    assert!(nothing);
    let again: bool = client.value(
        "SELECT teller.image_grid(ARRAY[sheet, sheet]) <> sheet
         FROM (SELECT teller.image_grid(array_agg(image)) AS sheet FROM demo.scans) _",
    );
    assert!(again);
    let error = client.refused(
        "SELECT teller.image_grid(ARRAY[NULL, '\\x00']::bytea[])",
        &SqlState::INVALID_BINARY_REPRESENTATION,
    );
    assert!(error.message().starts_with("element 2 of the array: "), "{}", error.message());
    client.run("SET teller.max_image_pixels = 1000");
    client.refused(
        "SELECT teller.image_grid(array_agg(image)) FROM demo.scans",
        &SqlState::PROGRAM_LIMIT_EXCEEDED,
    );
}
