//! Rows of a model table are untrusted: anyone may own one and write into it what he likes.

use postgres::error::SqlState;
use postgres::{Client, SimpleQueryMessage};
use teller_tests::{Database, Statements};

/// Changes rows of `model` behind the back of its guard.
fn tamper(client: &mut Client, change: &str) {
    client.run("SET session_replication_role = replica");
    client.run(change);
    client.run("RESET session_replication_role");
}

/// Flips the last bit of byte `at` in the first chunk of a part.
fn flip(model: &str, part: &str, at: i32) -> String {
    format!(
        "UPDATE {model} SET payload = set_byte(payload, {at}, get_byte(payload, {at}) # 1)
         WHERE part = '{part}' AND chunk = (SELECT min(chunk) FROM {model}
             WHERE part = '{part}' AND payload IS NOT NULL)"
    )
}

/// Flips one bit in each part of `model` in turn; `call` must notice in a session that has not
/// loaded the model before: loaded numbers are right and stay so.
fn flip_everywhere(database: &Database, model: &str, call: &str) {
    let mut client = database.connect();
    let parts = client
        .query(
            &format!(
                "SELECT part, min(length(payload)) FROM {model}
                 WHERE payload IS NOT NULL GROUP BY part ORDER BY part"
            ),
            &[],
        )
        .unwrap();
    assert!(!parts.is_empty());
    for part in parts {
        let (part, length): (String, i32) = (part.get(0), part.get(1));
        for at in [0, 8, 24, 40, length / 2, length - 1] {
            let flip = flip(model, &part, at.min(length - 1));
            tamper(&mut client, &flip);
            database.connect().refused(call, &SqlState::DATA_CORRUPTED);
            tamper(&mut client, &flip);
            database.connect().run(call);
        }
    }
}

#[test]
fn one_altered_bit_is_noticed_in_a_network() {
    let database = Database::with_demo();
    super::train_scans(&mut database.connect(), "scans");
    flip_everywhere(
        &database,
        "scans",
        "SELECT teller.classify_image(image, 'scans') FROM demo.scans WHERE id = 1",
    );
}

#[test]
fn one_altered_bit_is_noticed_in_a_recommender() {
    for algorithm in ["als", "popular"] {
        let database = Database::new();
        let mut client = database.connect();
        super::two_groups(&mut client);
        super::train_purchases(&mut client, "shop", algorithm);
        flip_everywhere(&database, "shop", "SELECT * FROM teller.recommend(1, 1, 'shop')");
    }
}

fn first_value(answer: &[SimpleQueryMessage]) -> Option<String> {
    answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    })
}

/// A table of the type that nobody trained, filled with all kinds of nonsense.
#[test]
fn forged_models_are_errors() {
    let mut client = Database::with_demo().connect();
    super::two_groups(&mut client);
    super::train_scans(&mut client, "scans");
    super::train_purchases(&mut client, "shop", "als");
    client.run("CREATE TABLE forged OF teller.model (PRIMARY KEY (version, part, chunk))");
    let changes = [
        // Without a manifest, or with one that says nothing.
        "DELETE FROM forged WHERE part = ''",
        "UPDATE forged SET info = NULL",
        "UPDATE forged SET info = '{}'",
        "UPDATE forged SET info = '[1, 2]' WHERE part = ''",
        "UPDATE forged SET info = info - 'model' WHERE part = ''",
        "UPDATE forged SET info = jsonb_set(info, '{model}', '{}') WHERE part = ''",
        "UPDATE forged SET info = jsonb_set(info, '{task}', '\"other\"') WHERE part = ''",
        "UPDATE forged SET info = jsonb_set(info, '{parts}', '{}') WHERE part = ''",
        "UPDATE forged SET info = jsonb_set(info, '{trained_at}', '\"never\"') WHERE part = ''",
        "UPDATE forged SET info = jsonb_set(info, '{rows}', '\"many\"') WHERE part = ''",
        "UPDATE forged SET info = '{\"of\": \"x\", \"rows\": []}' WHERE part = 'log'",
        // Without numbers, with fewer, with others.
        "DELETE FROM forged WHERE payload IS NOT NULL",
        "UPDATE forged SET payload = NULL",
        "UPDATE forged SET payload = ''",
        "UPDATE forged SET payload = substr(payload, 1, 40)",
        "UPDATE forged SET payload = payload || '\\x00'",
        "UPDATE forged SET payload = 'no payload at all' WHERE payload IS NOT NULL",
        "UPDATE forged SET chunk = chunk + 1 WHERE payload IS NOT NULL",
        "UPDATE forged SET part = upper(part)",
    ];
    for (model, call) in [
        ("scans", "SELECT teller.classify_image(image, 'MODEL') FROM demo.scans WHERE id = 1"),
        ("shop", "SELECT item_id FROM teller.recommend(1, 1, 'MODEL')"),
    ] {
        let call = |model: &str| call.replace("MODEL", model);
        let truth = first_value(&client.simple_query(&call(model)).unwrap());
        for change in changes {
            client.run(&format!("TRUNCATE forged; INSERT INTO forged SELECT * FROM {model}"));
            client.run(change);
            // Either the change does not matter, and the answer is the true model's, or it does.
            match client.simple_query(&call("forged")) {
                Ok(answer) => assert_eq!(first_value(&answer), truth, "{model}: {change}"),
                Err(error) => {
                    let error = error.as_db_error().expect(change);
                    let codes =
                        [SqlState::DATA_CORRUPTED, SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE];
                    assert!(codes.contains(error.code()), "{model}: {change}\n{error}");
                }
            }
            // Nor may a forged model keep anyone from seeing the others.
            client.run("SELECT * FROM teller.models");
            client.run("SELECT * FROM teller.model_versions");
            client.run("SELECT * FROM teller.training_log");
        }
    }
}
