//! Serving images: `classify_image`, `try_classify_image`, `image_probabilities`.

use postgres::error::SqlState;
use teller_tests::{Database, Statements};

/// The start of a PNG of 60,000 x 60,000 pixels, its header and checksums right.
const HUGE: &str = concat!(
    r"'\x89504e470d0a1a0a0000000d494844520000ea600000ea600800000000a5b92a9e",
    "0000000c49444154789c6360a03d00000064000186643c35'::bytea",
);

const BROKEN: [&str; 5] = [
    r"'\x'",
    "'no image'",
    r"'\x89504e470d0a1a0a'",
    // Cut in the middle, and a byte changed in the middle.
    "(SELECT substr(image, 1, length(image) / 2) FROM demo.scans WHERE id = 1)",
    "(SELECT set_byte(image, length(image) / 2, get_byte(image, length(image) / 2) # 255)
      FROM demo.scans WHERE id = 1)",
];

#[test]
fn the_shipped_model_answers_at_once() {
    let mut client = Database::with_demo().connect();
    let labels: Vec<String> =
        client.column("SELECT DISTINCT teller.classify_image(image) FROM demo.scans ORDER BY 1");
    assert!(labels.iter().all(|label| label.len() == 1 && label.as_bytes()[0].is_ascii_digit()));
    let right: f64 = client
        .value("SELECT avg((teller.classify_image(image) = label)::int)::float8 FROM demo.scans");
    // Trained on scans of another make and four times the size.
    assert!(right > 0.5, "{right} of the demo's scans are read right by the shipped model");
}

#[test]
fn a_trained_model_reads_scans_that_it_has_not_seen() {
    let mut client = Database::with_demo().connect();
    super::train_scans(&mut client, "scans");
    let right: f64 = client.value(
        "SELECT avg((teller.classify_image(image, 'scans') = label)::int)::float8
         FROM demo.scans WHERE id % 2 = 1",
    );
    assert!(right > 0.9, "{right} of the unseen scans are read right");
    let evaluated: f64 = client.value(
        "SELECT value FROM teller.evaluate('scans',
             'SELECT image, label FROM demo.scans WHERE id % 2 = 1') WHERE metric = 'accuracy'",
    );
    assert!((evaluated - right).abs() < 1e-6, "evaluate says {evaluated}, counting says {right}");
}

#[test]
fn probabilities_are_a_distribution_led_by_the_answer() {
    let mut client = Database::with_demo().connect();
    let (count, sum): (i64, f64) = {
        let row = client
            .query_one(
                "SELECT count(*), sum(p.probability)::float8 FROM demo.scans,
                     teller.image_probabilities(image) p WHERE id = 1",
                &[],
            )
            .unwrap();
        (row.get(0), row.get(1))
    };
    assert_eq!(count, 10);
    assert!((sum - 1.0).abs() < 1e-5, "the probabilities sum to {sum}");
    let led: bool = client.value(
        "SELECT bool_and(teller.classify_image(image) =
                (SELECT label FROM teller.image_probabilities(image) LIMIT 1))
             AND bool_and((SELECT max(probability) FROM teller.image_probabilities(image)) =
                (SELECT probability FROM teller.image_probabilities(image) LIMIT 1))
         FROM demo.scans WHERE id <= 50",
    );
    assert!(led, "the first row is not the most probable label, or not the answer");
}

#[test]
fn null_in_null_out() {
    let mut client = Database::new().connect();
    assert_eq!(client.value::<Option<String>>("SELECT teller.classify_image(NULL)"), None);
    assert_eq!(client.value::<Option<String>>("SELECT teller.try_classify_image(NULL)"), None);
    assert_eq!(client.value::<i64>("SELECT count(*) FROM teller.image_probabilities(NULL)"), 0);
}

#[test]
fn broken_images_are_refused_or_null() {
    let mut client = Database::with_demo().connect();
    for image in BROKEN {
        let error = client.refused(
            &format!("SELECT teller.classify_image({image})"),
            &SqlState::INVALID_BINARY_REPRESENTATION,
        );
        assert!(error.message().contains("image"), "{}", error.message());
        client.refused(
            &format!("SELECT * FROM teller.image_probabilities({image})"),
            &SqlState::INVALID_BINARY_REPRESENTATION,
        );
        let tried: Option<String> =
            client.value(&format!("SELECT teller.try_classify_image({image})"));
        assert_eq!(tried, None, "{image}");
    }
}

#[test]
fn an_image_beyond_the_limit_is_refused_by_its_header() {
    let mut client = Database::with_demo().connect();
    let image = HUGE;
    let error = client.refused(
        &format!("SELECT teller.classify_image({image})"),
        &SqlState::PROGRAM_LIMIT_EXCEEDED,
    );
    assert!(error.message().contains("60000"), "{}", error.message());
    assert_eq!(
        client.value::<Option<String>>(&format!("SELECT teller.try_classify_image({image})")),
        None
    );
    client.run("SET teller.max_image_pixels = 10");
    client.refused(
        "SELECT teller.classify_image(image) FROM demo.scans WHERE id = 1",
        &SqlState::PROGRAM_LIMIT_EXCEEDED,
    );
}

#[test]
fn parallel_workers_answer_the_same() {
    let mut client = Database::with_demo().connect();
    let sql = "SELECT sum(hashtext(id || teller.classify_image(image))) FROM demo.scans";
    let serial: i64 = client.value(sql);
    client.run(
        "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
         SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 2",
    );
    let plan: Vec<String> = client.column(&format!("EXPLAIN {sql}"));
    assert!(plan.iter().any(|line| line.contains("Workers Planned")), "{plan:#?}");
    assert_eq!(client.value::<i64>(sql), serial);
}
