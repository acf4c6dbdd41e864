//! Classifying texts: `classify_text`, `text_probabilities`, `text_embedding`, `explain_text`.

use postgres::error::SqlState;
use teller_tests::{Database, Statements};

use super::{INTENTS, train_intents};

const ALGORITHMS: [&str; 5] = ["gru", "lstm", "rnn", "bag", "ensemble"];

#[test]
fn every_algorithm_is_trained_asked_and_evaluated() {
    let mut client = Database::new().connect();
    for algorithm in ALGORITHMS {
        train_intents(&mut client, algorithm, algorithm, 12);
        let label: String = client.value(&format!(
            "SELECT teller.classify_text('my debit-card hasn''t come', '{algorithm}')"
        ));
        assert_eq!(label, "card", "{algorithm}");
        let stored: String = client.value(&format!(
            "SELECT algorithm FROM teller.model_versions WHERE model = '{algorithm}'::regclass"
        ));
        assert_eq!(stored, algorithm);
        let accuracy: f64 = client.value(&format!(
            "SELECT value FROM teller.evaluate('{algorithm}', $${INTENTS}$$)
             WHERE metric = 'accuracy'"
        ));
        assert!(accuracy > 0.9, "{algorithm}: {accuracy}");
        let same: bool =
            client.value(&format!("SELECT same FROM teller.retrain_check('{algorithm}', 1)"));
        assert!(same, "{algorithm} is trained to other numbers");
        let arrays: i64 =
            client.value(&format!("SELECT count(*) FROM teller.weights('{algorithm}')"));
        assert!(arrays >= 2);
        let counted: i64 =
            client.value(&format!("SELECT count(*) FROM teller.class_metrics('{algorithm}')"));
        assert_eq!(counted, 3);
    }
    client.run("CALL teller.retrain('ensemble')");
    let version: i32 = client
        .value("SELECT max(version) FROM teller.model_versions WHERE model = 'ensemble'::regclass");
    assert_eq!(version, 2);
}

#[test]
fn probabilities_are_a_distribution_led_by_the_answer() {
    let mut client = Database::new().connect();
    train_intents(&mut client, "intents", "ensemble", 4);
    let led: bool = client.value(&format!(
        "SELECT bool_and(abs(total - 1) < 1e-5 AND first = teller.classify_text(text, 'intents'))
         FROM ({INTENTS}) i, LATERAL (
             SELECT sum(probability) AS total, (array_agg(label))[1] AS first
             FROM teller.text_probabilities(text, 'intents')) p"
    ));
    assert!(led);
    let long: i64 = client.value("SELECT length(repeat('where is my card? ', 100000))::bigint");
    assert!(long > 1_000_000);
    for text in ["''", "' '", "'xyzzy'", "repeat('where is my card? ', 100000)"] {
        let asked = format!("SELECT teller.classify_text({text}, 'intents')");
        let label: String = client.value(&asked);
        assert!(["card", "payment", "credit"].contains(&&*label), "{text}: {label}");
    }
}

#[test]
fn null_in_null_out() {
    let mut client = Database::new().connect();
    train_intents(&mut client, "intents", "gru", 1);
    let label = client.value::<Option<String>>("SELECT teller.classify_text(NULL, 'intents')");
    assert_eq!(label, None);
    for function in ["text_probabilities", "explain_text"] {
        let rows = format!("SELECT count(*) FROM teller.{function}(NULL, 'intents')");
        assert_eq!(client.value::<i64>(&rows), 0);
    }
}

#[test]
fn the_word_that_tells_is_told() {
    let mut client = Database::new().connect();
    train_intents(&mut client, "intents", "ensemble", 12);
    let tokens: Vec<String> =
        client.column("SELECT token FROM teller.explain_text('Where''s my LOAN?', 'intents')");
    assert_eq!(tokens, ["wheres", "my", "loan", "?"]);
    let most: String = client.value(
        "SELECT token FROM teller.explain_text('Where''s my LOAN?', 'intents')
         ORDER BY contribution DESC LIMIT 1",
    );
    assert_eq!(most, "loan");
    let len: i32 =
        client.value("SELECT cardinality(teller.text_embedding('Where is my loan?', 'intents'))");
    assert_eq!(len, 4 * 16);
}

#[test]
fn refusals_have_their_codes() {
    let mut client = Database::with_demo().connect();
    train_intents(&mut client, "bag", "bag", 2);
    let bad = SqlState::INVALID_PARAMETER_VALUE;
    client.refused("SELECT teller.text_embedding('card', 'bag')", &bad);
    let other = SqlState::WRONG_OBJECT_TYPE;
    client.refused("SELECT teller.classify_text('card', 'teller.digits')", &other);
    client.refused("SELECT teller.classify_image('\\x00', 'bag')", &other);
    for options in
        [r#"{"algorithm": "bert"}"#, r#"{"unit": 3}"#, r#"{"algorithm": "bag", "units": 3}"#]
    {
        client.refused(
            &format!("SELECT teller.train('x', 'text_classification', $${INTENTS}$$, '{options}')"),
            &bad,
        );
    }
    for data in ["SELECT 'a' AS text, 'b' AS label", "SELECT 'a' AS text, 'b' AS label WHERE false"]
    {
        client
            .refused(&format!("SELECT teller.train('x', 'text_classification', $${data}$$)"), &bad);
    }
    client.refused(
        "SELECT teller.train('x', 'text_classification', 'SELECT NULL::text AS text, 1 AS label')",
        &SqlState::NULL_VALUE_NOT_ALLOWED,
    );
    client.refused(
        &format!(
            "SET LOCAL teller.max_training_memory = '1MB';
                  SELECT teller.train('x', 'text_classification', $${INTENTS}$$)"
        ),
        &SqlState::OUT_OF_MEMORY,
    );
}
