//! Classifying sequences: `classify_sequence`, `sequence_probabilities`.

use postgres::error::SqlState;
use teller_tests::{Database, Statements};

use super::{WALKS, train_walks};

#[test]
fn every_algorithm_is_trained_asked_and_evaluated() {
    let mut client = Database::new().connect();
    for algorithm in ["gru", "lstm", "rnn"] {
        train_walks(&mut client, algorithm, algorithm, 12);
        let label: String = client.value(&format!(
            "SELECT teller.classify_sequence('{{{{3,1}},{{4,0}},{{5,2}},{{6,1}}}}', '{algorithm}', '{{3}}')"
        ));
        assert_eq!(label, "up", "{algorithm}");
        for metric in ["accuracy", "auc"] {
            let figure: f64 = client.value(&format!(
                "SELECT value FROM teller.evaluate('{algorithm}', $${WALKS}$$)
                 WHERE metric = '{metric}'"
            ));
            assert!(figure > 0.9, "{algorithm} {metric}: {figure}");
        }
        let same: bool =
            client.value(&format!("SELECT same FROM teller.retrain_check('{algorithm}', 1)"));
        assert!(same, "{algorithm} is trained to other numbers");
    }
    client.run("CALL teller.retrain('gru')");
    let sum: f64 = client.value(
        "SELECT sum(probability)::float8
         FROM teller.sequence_probabilities('{{3,1},{4,0}}', 'gru', '{3}')",
    );
    assert!((sum - 1.0).abs() < 1e-5);
}

#[test]
fn one_dimension_is_one_feature_and_statics_may_be_missing() {
    let mut client = Database::new().connect();
    client.run(
        r#"SELECT teller.train('slopes', 'sequence_classification',
               'SELECT ARRAY[a, a + s, a + 2 * s]::real[] AS sequence, s > 0 AS label
                FROM generate_series(1, 30) a, (VALUES (9), (-9)) v(s)',
               '{"epochs": 30, "units": 8, "batch_size": 8, "learning_rate": 0.02}')"#,
    );
    let label: String =
        client.value("SELECT teller.classify_sequence(ARRAY[10, 19, 28], 'slopes')");
    assert_eq!(label, "t");
    let none = client.value::<Option<String>>("SELECT teller.classify_sequence(NULL, 'slopes')");
    assert_eq!(none, None);
    let rows = "SELECT count(*) FROM teller.sequence_probabilities(NULL, 'slopes')";
    assert_eq!(client.value::<i64>(rows), 0);
}

/// `WALKS`, one row an event, the last ones first.
const EVENTS: &str = "SELECT to_char(id, '000') AS sequence_id, make_date(2026, 1, t) AS position,
        level + slope * t AS height, (id * 7 + t * 3) % 5 AS noise, ARRAY[level]::real[] AS static,
        CASE WHEN slope > 0 THEN 'up' ELSE 'down' END AS label
    FROM (SELECT id, id % 13 AS level, CASE WHEN id % 2 = 0 THEN 1 ELSE -1 END AS slope
          FROM generate_series(1, 300) id) w, generate_series(1, 4 + id % 6) t
    ORDER BY t DESC, id";

#[test]
fn events_are_the_sequences_that_they_make_up() {
    let mut client = Database::new().connect();
    train_walks(&mut client, "walks", "gru", 3);
    let options = r#"{"epochs": 3, "units": 8, "batch_size": 32, "learning_rate": 0.01}"#;
    client.run(&format!(
        "SELECT teller.train('events', 'sequence_classification', $${EVENTS}$$, '{options}')"
    ));
    let same: bool = client.value(
        "SELECT w.metrics = e.metrics FROM teller.model_versions w, teller.model_versions e
         WHERE w.model = 'walks'::regclass AND e.model = 'events'::regclass",
    );
    assert!(same, "another model of the same sequences");
    for data in [WALKS, EVENTS] {
        let evaluated: bool = client.value(&format!(
            "SELECT bool_and(w.value = e.value) FROM teller.evaluate('walks', $${WALKS}$$) w
             JOIN teller.evaluate('events', $${data}$$) e USING (metric)"
        ));
        assert!(evaluated);
    }
    let same: bool = client.value("SELECT same FROM teller.retrain_check('events', 1)");
    assert!(same);
    client.run("CALL teller.retrain('events')");
}

#[test]
fn events_that_make_up_no_sequences_are_refused() {
    let mut client = Database::new().connect();
    let bad = SqlState::INVALID_PARAMETER_VALUE;
    let (null, range) = (SqlState::NULL_VALUE_NOT_ALLOWED, SqlState::NUMERIC_VALUE_OUT_OF_RANGE);
    let rows = "(VALUES (1, 1, 5, 1), (1, 2, 6, 1), (2, 1, 7, 2), (2, 2, 8, 2)) e(s, p, f, l)";
    for (columns, code) in [
        ("s AS sequence_id, 1 AS position, f, l AS label", &bad),
        ("s AS sequence_id, p AS position, f, f AS label", &bad),
        ("s AS sequence_id, p AS position, f, l AS label, ARRAY[p]::real[] AS static", &bad),
        ("s AS sequence_id, p AS position, l AS label", &bad),
        ("s AS sequence_id, f, l AS label", &SqlState::UNDEFINED_COLUMN),
        ("s AS sequence_id, p AS position, f", &SqlState::UNDEFINED_COLUMN),
        ("s AS sequence_id, p AS position, ''f''::text, l AS label", &SqlState::DATATYPE_MISMATCH),
        ("s AS sequence_id, nullif(p, 2) AS position, f, l AS label", &null),
        ("s AS sequence_id, p AS position, nullif(f, 7) AS f, l AS label", &null),
        ("s AS sequence_id, p AS position, f * 1e300 AS f, l AS label", &range),
        ("s AS sequence_id, ''infinity''::date AS position, f, l AS label", &range),
    ] {
        let train = format!(
            "SELECT teller.train('x', 'sequence_classification', 'SELECT {columns} FROM {rows}')"
        );
        client.refused(&train, code);
    }
    client.run("SET teller.max_training_memory = '1MB'");
    let many = "SELECT i AS sequence_id, 1 AS position, 1 AS f, i % 2 AS label
                FROM generate_series(1, 100000) i";
    let train = format!("SELECT teller.train('x', 'sequence_classification', '{many}')");
    let error = client.refused(&train, &SqlState::OUT_OF_MEMORY);
    assert!(error.message().contains("events"), "{}", error.message());
}

#[test]
fn refusals_have_their_codes() {
    let mut client = Database::new().connect();
    train_walks(&mut client, "walks", "gru", 1);
    let bad = SqlState::INVALID_PARAMETER_VALUE;
    for sequence in ["'{1,2,3}'", "'{}'", "'{{1,2,3}}'", "'{{{1,2}}}'"] {
        let asked = format!("SELECT teller.classify_sequence({sequence}, 'walks', '{{1}}')");
        client.refused(&asked, &bad);
    }
    client.refused("SELECT teller.classify_sequence('{{1,2}}', 'walks')", &bad);
    let null = SqlState::NULL_VALUE_NOT_ALLOWED;
    client.refused("SELECT teller.classify_sequence('{{1,NULL}}', 'walks', '{1}')", &null);
    let range = SqlState::NUMERIC_VALUE_OUT_OF_RANGE;
    client.refused("SELECT teller.classify_sequence('{{1,NaN}}', 'walks', '{1}')", &range);
    for (data, code) in [
        ("SELECT ''{1}''::real[] AS sequence, 1 AS label UNION ALL SELECT ''{{1,2}}'', 2", &bad),
        ("SELECT ''{}''::real[] AS sequence, 1 AS label", &bad),
        ("SELECT ''{Infinity}''::real[] AS sequence, 1 AS label", &range),
        ("SELECT ''{NULL}''::real[] AS sequence, 1 AS label", &null),
        ("SELECT ''{1}''::int[] AS sequence, 1 AS label", &SqlState::DATATYPE_MISMATCH),
        ("SELECT 1 AS label", &SqlState::UNDEFINED_COLUMN),
    ] {
        let train = format!("SELECT teller.train('x', 'sequence_classification', '{data}')");
        client.refused(&train, code);
    }
}
