//! `options.start_from`: trainings that start from the weights of other versions.

use postgres::Client;
use postgres::error::SqlState;
use teller_tests::{Database, Statements};

use crate::train_scans;

/// Digits of the demo as even and odd ones, drawn by chance.
const PARITY: &str = "SELECT image, CASE label::int % 2 WHEN 0 THEN 'even' ELSE 'odd' END AS label
                      FROM demo.scans WHERE id % 2 = 1 ORDER BY md5(id::text) LIMIT 150";
/// Digits as they are.
const DIGITS: &str =
    "SELECT image, label FROM demo.scans WHERE id % 2 = 1 ORDER BY md5(id::text) LIMIT 200";

fn train(model: &str, data: &str, options: &str) -> String {
    format!(
        "SELECT version FROM teller.train('{model}', 'image_classification', $${data}$$, '{options}')"
    )
}

/// A model that knows a little of digits, trained in a moment.
fn with_source() -> (Database<'static>, Client) {
    let database = Database::with_demo();
    let mut client = database.connect();
    client.run(&train("digits8", DIGITS, r#"{"architecture": "small", "epochs": 1}"#));
    (database, client)
}

/// The same, and it reads digits well.
fn with_good_source() -> (Database<'static>, Client) {
    let database = Database::with_demo();
    let mut client = database.connect();
    train_scans(&mut client, "digits8");
    (database, client)
}

/// The bits of a layer of the version in production.
fn layer(client: &mut Client, model: &str, name: &str) -> String {
    client.value(&format!(
        r#"SELECT md5(string_agg(float4send(x)::text, '' ORDER BY layer, at))
           FROM teller.weights('{model}'), unnest("values") WITH ORDINALITY AS u(x, at)
           WHERE layer LIKE '{name}.%'"#
    ))
}

fn lineage(client: &mut Client, model: &str) -> Vec<String> {
    client.column(&format!(
        "SELECT concat_ws(' ', v.version, start_model, start_version,
                start_digest = (SELECT s.digest FROM teller.model_versions s
                                WHERE s.model = v.start_model::regclass
                                    AND s.version = v.start_version))
         FROM teller.model_versions v WHERE model = '{model}'::regclass ORDER BY v.version"
    ))
}

fn digests(client: &mut Client, model: &str) -> Vec<String> {
    client.column(&format!("SELECT info->>'digest' FROM {model} WHERE part = '' ORDER BY version"))
}

#[test]
fn a_new_head_on_frozen_layers_learns_other_labels_from_few_images() {
    let (_database, mut client) = with_good_source();
    let options = r#"{"start_from": {"model": "digits8", "freeze": ["0.conv2d"]}, "epochs": 12,
                      "batch_size": 8, "validation_fraction": 0}"#;
    client.run(&train("parity", PARITY, options));
    assert_eq!(layer(&mut client, "parity", "0.conv2d"), layer(&mut client, "digits8", "0.conv2d"));
    let changed: Vec<String> = client.column(
        r#"SELECT a.layer FROM teller.weights('parity') a JOIN teller.weights('digits8') b USING (layer)
           WHERE a."values" IS DISTINCT FROM b."values" ORDER BY 1"#,
    );
    assert!(
        changed.len() >= 2 && changed.iter().all(|name| !name.starts_with("0.")),
        "{changed:?}"
    );
    let accuracy: f64 = client.value(
        "SELECT value FROM teller.evaluate('parity', $$
             SELECT image, CASE label::int % 2 WHEN 0 THEN 'even' ELSE 'odd' END AS label
             FROM demo.scans WHERE id % 2 = 1 ORDER BY md5(id::text) OFFSET 150$$) WHERE metric = 'accuracy'",
    );
    println!("even or odd after 150 images: {accuracy:.3}");
    assert!(accuracy > 0.9, "{accuracy}");
    assert_eq!(lineage(&mut client, "parity"), ["1 public.digits8 1 t"]);
    let architecture: bool = client.value(
        "SELECT a.info->'model'->'architecture' = b.info->'model'->'architecture'
         FROM parity a, digits8 b WHERE a.part = '' AND b.part = ''",
    );
    assert!(architecture);
}

#[test]
fn five_rows_suffice_to_start_from_what_the_same_labels_know() {
    let (_database, mut client) = with_good_source();
    let five = "SELECT image, label FROM demo.scans WHERE id % 2 = 1 AND label IN ('3', '8')
                ORDER BY md5(id::text) LIMIT 5";
    // Other labels: the shape of the head is another, and so are all of its numbers.
    client.run(&train("two", five, r#"{"start_from": "digits8", "epochs": 3}"#));
    let shape: Vec<i32> = client.value(
        "SELECT shape FROM teller.weights('two') WHERE layer LIKE '%dense.bias'
         ORDER BY layer DESC LIMIT 1",
    );
    assert_eq!(shape, [2]);
    // The same labels and one small step: it still reads what it could read.
    let options = r#"{"start_from": "digits8", "epochs": 1, "learning_rate": 1e-6}"#;
    client.run(&train("again", DIGITS, options));
    let accuracy = "SELECT value::numeric(4, 3)::text FROM teller.evaluate('MODEL', $$
        SELECT image, label FROM demo.scans WHERE id % 2 = 1 ORDER BY md5(id::text) OFFSET 600$$) WHERE metric = 'accuracy'";
    let accuracy = |client: &mut Client, model| -> f64 {
        client.value::<String>(&accuracy.replace("MODEL", model)).parse().unwrap()
    };
    let before = accuracy(&mut client, "digits8");
    assert!((accuracy(&mut client, "again") - before).abs() < 0.01 && before > 0.9);
    let anew = r#"{"start_from": {"model": "digits8", "head": "new"}, "epochs": 1, "learning_rate": 1e-6}"#;
    client.run(&train("again", DIGITS, anew));
    let lost = accuracy(&mut client, "again");
    assert!(lost < before - 0.1, "{lost} {before}");
}

#[test]
fn the_shipped_model_is_everyones_to_start_from() {
    let database = Database::with_demo();
    database
        .connect()
        .run("GRANT USAGE ON SCHEMA demo TO public; GRANT SELECT ON demo.scans TO public");
    let mut client = database.connect_as("ann");
    client.run(&train(
        "mine",
        &DIGITS.replace("200", "60"),
        r#"{"start_from": "teller.digits", "epochs": 1}"#,
    ));
    assert_eq!(lineage(&mut client, "mine"), ["1 teller.digits 1 t"]);
    // Preprocessing comes with the weights.
    let same: bool = client.value(
        "SELECT a.info->'model'->'preprocessing' = b.info->'model'->'preprocessing'
         FROM mine a, teller.digits b WHERE a.part = '' AND b.part = ''",
    );
    assert!(same);
}

#[test]
fn what_cannot_be_started_from_is_refused() {
    let (_database, mut client) = with_source();
    super::two_groups(&mut client);
    super::train_purchases(&mut client, "shop", "popular");
    client.run("SELECT teller.create_model_table('public', 'empty')");
    let mut refused = |options: &str, state: &SqlState, says: &str| {
        let error = client.refused(&train("m", DIGITS, options), state);
        let shown = format!("{} {}", error.message(), error.hint().unwrap_or_default());
        assert!(shown.contains(says), "{options}: {shown}");
    };
    let invalid = &SqlState::INVALID_PARAMETER_VALUE;
    for (options, says) in [
        (r#"{"start_from": 1}"#, "the name of a model"),
        (r#"{"start_from": {}}"#, "the name of a model"),
        (r#"{"start_from": {"model": 1}}"#, "a text"),
        (r#"{"start_from": {"model": "digits8", "version": 0}}"#, "a whole number"),
        (r#"{"start_from": {"model": "digits8", "freeze": "0.conv2d"}}"#, "an array of names"),
        (r#"{"start_from": {"model": "digits8", "freeze": [0]}}"#, "an array of names"),
        (r#"{"start_from": {"model": "digits8", "head": "old"}}"#, "one of keep, new"),
        (r#"{"start_from": {"model": "digits8", "frozen": []}}"#, "model, version, freeze, head"),
        (
            r#"{"start_from": {"model": "digits8", "freeze": ["0.conv"]}}"#,
            "Did you mean \"0.conv2d\"?",
        ),
        (
            r#"{"start_from": {"model": "digits8", "freeze": ["1.relu"]}}"#,
            "The layers that learn are: 0.conv2d",
        ),
        (r#"{"start_from": "digits8", "architecture": "lenet5"}"#, "Leave \"architecture\" out"),
    ] {
        refused(options, invalid, says);
    }
    let all: String = client.value(
        r#"SELECT json_agg(DISTINCT regexp_replace(layer, '\.[a-z]*$', ''))::text FROM teller.weights('digits8')"#,
    );
    let mut refused = |options: &str, state: &SqlState, says: &str| {
        let error = client.refused(&train("m", DIGITS, options), state);
        let shown = format!("{} {}", error.message(), error.hint().unwrap_or_default());
        assert!(shown.contains(says), "{options}: {shown}");
    };
    let start = |freeze: &str, head| {
        format!(r#"{{"start_from": {{"model": "digits8", "freeze": {freeze}, "head": "{head}"}}}}"#)
    };
    refused(&start(&all, "keep"), invalid, "all layers that learn are frozen");
    let names: Vec<String> = texts(&all);
    let head = format!("[\"{}\"]", names.last().unwrap());
    refused(&start(&head, "new"), invalid, "the head is to be new");
    refused(r#"{"start_from": "nowhere"}"#, &SqlState::UNDEFINED_TABLE, "nowhere");
    refused(r#"{"start_from": "demo.scans"}"#, &SqlState::WRONG_OBJECT_TYPE, "is not a model");
    refused(r#"{"start_from": "shop"}"#, &SqlState::WRONG_OBJECT_TYPE, "recommendation");
    refused(
        r#"{"start_from": "empty"}"#,
        &SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        "no version in production",
    );
    refused(
        r#"{"start_from": {"model": "digits8", "version": 7}}"#,
        &SqlState::UNDEFINED_OBJECT,
        "no version 7",
    );
    // The labels are others: only the data tells.
    let error = client.refused(&train("m", PARITY, &start(&head, "keep")), invalid);
    assert!(error.message().contains("the labels are others"), "{}", error.message());
    client.refused(
        r#"SELECT teller.train('m', 'recommendation', 'SELECT user_id, item_id FROM purchases',
                               '{"start_from": "shop"}')"#,
        invalid,
    );
    assert_eq!(client.value::<Option<String>>("SELECT to_regclass('m')::text"), None);
}

/// The texts of a JSON array of texts, in order.
fn texts(array: &str) -> Vec<String> {
    let names = array.trim_matches(|c| "[] ".contains(c)).split(',');
    names.map(|name| name.trim().trim_matches('"').to_owned()).collect()
}

/// Who may only run a model would read its weights in his own one.
#[test]
fn starting_from_a_model_is_reading_it() {
    let (database, mut root) = with_source();
    root.run("GRANT USAGE ON SCHEMA demo TO public; GRANT SELECT ON demo.scans TO public");
    let (ann, mut client) = (database.role("ann"), database.connect_as("ann"));
    let call = train(
        "mine",
        &DIGITS.replace("200", "60"),
        r#"{"start_from": "public.digits8", "epochs": 1}"#,
    );
    let denied = &SqlState::INSUFFICIENT_PRIVILEGE;
    client.refused(&call, denied);
    root.run(&format!("GRANT SELECT (version) ON digits8 TO {ann}"));
    client.refused(&call, denied);
    root.run(&format!("GRANT SELECT ON digits8 TO {ann}"));
    client.run(&call);
    // What a model may not be asked for, it may not be started from: row security.
    root.run("ALTER TABLE digits8 ENABLE ROW LEVEL SECURITY");
    client.refused(&call, &SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
    root.run("ALTER TABLE digits8 DISABLE ROW LEVEL SECURITY");

    // Training again reads it in the name of the owner, whoever calls.
    root.run("CREATE ROLE tune_cron LOGIN");
    root.run(&format!("GRANT USAGE ON SCHEMA {ann} TO tune_cron"));
    client.run("GRANT INSERT ON mine TO tune_cron");
    let retrain = format!("CALL teller.retrain('{ann}.mine')");
    root.run("SET SESSION AUTHORIZATION tune_cron");
    root.run(&retrain);
    // What the caller names himself he needs the privilege for himself.
    root.refused(
        &format!(r#"CALL teller.retrain('{ann}.mine', '{{"start_from": "public.digits8"}}')"#),
        denied,
    );
    root.run("RESET SESSION AUTHORIZATION");
    let same = digests(&mut client, "mine");
    assert_eq!((same.len(), &same[0]), (2, &same[1]));
    root.run(&format!("REVOKE SELECT ON digits8 FROM {ann}"));
    client.refused("CALL teller.retrain('mine')", denied);
    client.refused("SELECT teller.retrain_check('mine', 1)", denied);
    // The lineage is for those who may read.
    let stranger: Vec<String> = database
        .connect_as("eve")
        .column("SELECT start_model FROM teller.model_versions WHERE start_model IS NOT NULL");
    assert!(stranger.is_empty(), "{stranger:?}");
    root.run("DROP OWNED BY tune_cron; DROP ROLE tune_cron");
}

#[test]
fn training_again_starts_from_the_same_weights() {
    let (_database, mut client) = with_source();
    let options = r#"{"start_from": "digits8", "epochs": 1}"#;
    client.run(&train("m", PARITY, options));
    // Another version answers for the source by now.
    train_scans_differently(&mut client);
    client.run("CALL teller.retrain('m')");
    let same = digests(&mut client, "m");
    assert_eq!(same[0], same[1]);
    assert_eq!(lineage(&mut client, "m"), ["1 public.digits8 1 t", "2 public.digits8 1 t"]);
    let checked: bool = client.value("SELECT same FROM teller.retrain_check('m', 1)");
    assert!(checked);
    // Named anew it is the one in production today.
    client.run(r#"CALL teller.retrain('m', '{"start_from": "digits8"}')"#);
    client.run(r#"CALL teller.retrain('m', '{"start_from": null}')"#);
    let all = digests(&mut client, "m");
    assert!(all[1] != all[2] && all[2] != all[3] && all[1] != all[3]);
    assert_eq!(lineage(&mut client, "m")[2..], ["3 public.digits8 2 t", "4"]);
    // From random weights again, the architecture is the default one.
    let name: String = client.value(
        "SELECT info->'model'->'architecture'->>'name' FROM m WHERE part = '' AND version = 4",
    );
    assert_eq!(name, "reference");
}

fn train_scans_differently(client: &mut Client) {
    client.run(&train("digits8", DIGITS, r#"{"architecture": "small", "epochs": 1, "seed": 7}"#));
}

#[test]
fn a_source_that_is_gone_or_another_is_told() {
    let (_database, mut client) = with_source();
    client.run(&train("m", PARITY, r#"{"start_from": "digits8", "epochs": 1}"#));
    let state = SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE;
    client.run("ALTER TABLE digits8 RENAME TO digits_before");
    let error = client.refused("CALL teller.retrain('m')", &state);
    assert_eq!(
        error.message(),
        "the training starts from version 1 of model public.digits8, which does not exist"
    );
    assert!(error.hint().unwrap().contains("start_from"), "{:?}", error.hint());
    // Another model of that name is not the same, even if its number is.
    train_scans_differently(&mut client);
    let error = client.refused("CALL teller.retrain('m')", &state);
    assert!(error.message().ends_with("has other numbers by now"), "{}", error.message());
    // Under its new name it is.
    client.run(r#"CALL teller.retrain('m', '{"start_from": "digits_before"}')"#);
    let same = digests(&mut client, "m");
    assert_eq!(same[0], same[1]);

    // A version may go although others started from it.
    client.run(&train("digits_before", DIGITS, r#"{"architecture": "small", "epochs": 1}"#));
    client.run("SELECT teller.drop_version('digits_before', 1)");
    let error = client.refused("CALL teller.retrain('m')", &state);
    assert!(
        error.message().contains("version 1 of model public.digits_before"),
        "{}",
        error.message()
    );
    client.run("DROP TABLE digits_before");
    client.refused("CALL teller.retrain('m')", &state);
    let answers: i64 = client
        .value("SELECT count(teller.classify_image(image, 'm')) FROM demo.scans WHERE id <= 10");
    assert_eq!(answers, 10, "what is trained needs its source no more");
}

#[test]
fn a_model_starts_from_its_own_earlier_version() {
    let (_database, mut client) = with_source();
    let options = r#"{"start_from": "digits8", "epochs": 1}"#;
    client.run(&train("digits8", DIGITS, options));
    assert_eq!(lineage(&mut client, "digits8"), ["1", "2 public.digits8 1 t"]);
    client.run("ALTER TABLE digits8 RENAME TO numerals");
    client.run("CALL teller.retrain('numerals')");
    assert_eq!(
        lineage(&mut client, "numerals")[1..],
        ["2 public.numerals 1 t", "3 public.numerals 1 t"]
    );
    let same = digests(&mut client, "numerals");
    assert_eq!(same[1], same[2]);
    // From the one in production, again and again.
    client.run(r#"CALL teller.retrain('numerals', '{"start_from": "numerals"}')"#);
    assert_eq!(lineage(&mut client, "numerals")[3], "4 public.numerals 3 t");
    client.run("SELECT teller.drop_version('numerals', 3)");
    let error = client
        .refused("CALL teller.retrain('numerals')", &SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
    assert!(error.message().contains("version 3 of model public.numerals"), "{}", error.message());
}

#[test]
fn what_it_starts_from_counts_as_memory() {
    let (_database, mut client) = with_source();
    client.run("SET teller.max_training_memory = '1MB'");
    let error = client.refused(
        &train("m", DIGITS, r#"{"start_from": "teller.digits"}"#),
        &SqlState::OUT_OF_MEMORY,
    );
    let shown = format!("{} {}", error.message(), error.hint().unwrap());
    assert!(shown.contains("What would fit: a smaller"), "{shown}");
}
