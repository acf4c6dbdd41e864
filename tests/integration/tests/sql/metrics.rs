//! What a classifier tells of itself.

use postgres::error::SqlState;
use teller_tests::{Database, Statements};

use crate::train_scans;

#[test]
fn the_confusion_matrix_counts_the_part_kept_apart() {
    let mut client = Database::with_demo().connect();
    train_scans(&mut client, "m");
    let whole: bool = client.value(
        "SELECT sum(images) = (metrics->>'validation_rows')::bigint
             AND sum(images) FILTER (WHERE actual = predicted)
                 = round((metrics->>'validation_accuracy')::float8 * sum(images))
         FROM teller.confusion_matrix('m'), teller.model_versions
         WHERE model = 'm'::regclass GROUP BY metrics",
    );
    assert!(whole);
    // The figures of each label follow from the counts, and their mean is the manifest's.
    let labels: Vec<String> = client.column("SELECT label FROM teller.class_metrics('m')");
    assert_eq!(labels, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    let mean: bool = client.value(
        "SELECT abs(avg(f1) - (metrics->>'validation_macro_f1')::float8) < 1e-9
         FROM teller.class_metrics('m'), teller.model_versions
         WHERE model = 'm'::regclass GROUP BY metrics",
    );
    assert!(mean);
    let exact: bool = client.value(
        "SELECT bool_and(recall IS NOT DISTINCT FROM hits / own AND images = own
                         AND \"precision\" IS NOT DISTINCT FROM hits / nullif(answered, 0))
         FROM teller.class_metrics('m'), LATERAL (
             SELECT sum(images) FILTER (WHERE actual = label)::float8 AS own,
                    sum(images) FILTER (WHERE predicted = label)::float8 AS answered,
                    sum(images) FILTER (WHERE actual = label AND predicted = label)::float8 AS hits
             FROM teller.confusion_matrix('m')) AS c",
    );
    assert!(exact);
    // A version from before there was one, and one that is not there.
    assert_eq!(
        client.value::<i64>("SELECT count(*) FROM teller.class_metrics('teller.digits')"),
        0
    );
    client.refused("SELECT * FROM teller.confusion_matrix('m', 7)", &SqlState::UNDEFINED_OBJECT);
    client
        .refused("SELECT * FROM teller.confusion_matrix(NULL)", &SqlState::NULL_VALUE_NOT_ALLOWED);
}

#[test]
fn probabilities_are_calibrated_and_no_answer_changes() {
    let mut client = Database::with_demo().connect();
    train_scans(&mut client, "m");
    let metrics = client
        .query_one(
            "SELECT (metrics->>'temperature')::float8,
                    (metrics->>'validation_calibration_error')::float8,
                    (metrics->>'validation_calibration_error_before')::float8
             FROM teller.model_versions WHERE model = 'm'::regclass",
            &[],
        )
        .unwrap();
    let (temperature, after, before): (f64, f64, f64) =
        (metrics.get(0), metrics.get(1), metrics.get(2));
    assert!((0.05..=20.0).contains(&temperature), "{temperature}");
    assert!((0.0..=1.0).contains(&after) && (0.0..=1.0).contains(&before));
    let first: bool = client.value(
        "SELECT bool_and(teller.classify_image(image, 'm') = p.label)
         FROM demo.scans, LATERAL (
             SELECT label FROM teller.image_probabilities(image, 'm') LIMIT 1) AS p
         WHERE id < 100",
    );
    assert!(first);
    let sums: bool = client.value(
        "SELECT bool_and(abs(total - 1) < 1e-5) FROM (
             SELECT sum(p.probability) AS total
             FROM demo.scans, teller.image_probabilities(image, 'm') AS p
             WHERE id < 100 GROUP BY id) AS s",
    );
    assert!(sums);
    let evaluated: Vec<String> = client.column(
        "SELECT metric FROM teller.evaluate('m', 'SELECT image, label FROM demo.scans WHERE id < 100')",
    );
    for name in ["accuracy", "log_loss", "calibration_error", "macro_f1", "recall(7)"] {
        assert!(evaluated.contains(&name.to_owned()), "{evaluated:?}");
    }
}

#[test]
fn images_of_one_label_lie_near_each_other() {
    let mut client = Database::with_demo().connect();
    train_scans(&mut client, "m");
    let nearer: f64 = client.value(
        "WITH e AS (SELECT id, label, teller.image_embedding(image, 'm') AS e
                    FROM demo.scans WHERE id % 2 = 1 AND id < 600),
              near AS (
                  SELECT a.label = b.label AS same
                  FROM e AS a, LATERAL (
                      SELECT b.label FROM e AS b WHERE b.id <> a.id
                      ORDER BY (SELECT sum((x - y) ^ 2) FROM unnest(a.e, b.e) AS u(x, y)) LIMIT 1) AS b)
         SELECT avg(same::int)::float8 FROM near",
    );
    assert!(nearer > 0.9, "{nearer}");
    assert_eq!(
        client.value::<i32>(
            "SELECT cardinality(teller.image_embedding(image, 'm'))
                                    FROM demo.scans WHERE id = 1"
        ),
        64
    );
    assert!(client.value::<bool>("SELECT teller.image_embedding(NULL, 'm') IS NULL"));
}
