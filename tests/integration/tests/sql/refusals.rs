//! What bad input to training gets: its own SQLSTATE, and nothing half-written.

use postgres::Client;
use postgres::error::{DbError, SqlState};
use teller_tests::{Database, Statements};

fn train(task: &str, data: &str, options: &str) -> String {
    format!("SELECT teller.train('refused', '{task}', $data${data}$data$, '{options}')")
}

#[track_caller]
fn refuse(client: &mut Client, task: &str, data: &str, options: &str, state: &SqlState) -> String {
    let error = client.refused(&train(task, data, options), state);
    let left: Option<String> = client.value("SELECT to_regclass('refused')::text");
    assert_eq!(left, None, "a refused training left its table");
    format!("{} {}", error.message(), error.hint().unwrap_or_default())
}

const PURCHASES: &str = "SELECT user_id, item_id, weight FROM purchases";
const SCANS: &str = "SELECT image, label FROM demo.scans";

fn shop() -> Client {
    let mut client = Database::new().connect();
    super::two_groups(&mut client);
    client
}

#[test]
fn tasks_algorithms_and_options() {
    let mut client = shop();
    let bad = &SqlState::INVALID_PARAMETER_VALUE;
    let said = refuse(&mut client, "recomendation", PURCHASES, "{}", bad);
    assert!(said.contains("recommendation"), "{said}");
    let said = refuse(&mut client, "recommendation", PURCHASES, r#"{"algorithm": "asl"}"#, bad);
    assert!(said.contains("als"), "{said}");
    let said = refuse(&mut client, "recommendation", PURCHASES, r#"{"factor": 8}"#, bad);
    assert!(said.contains("factors"), "{said}");
    for options in [
        r#"{"factors": 0}"#,
        r#"{"factors": -1}"#,
        r#"{"factors": 1e9}"#,
        r#"{"factors": "many"}"#,
        r#"{"iterations": 0}"#,
        r#"{"regularization": -1}"#,
        r#"{"algorithm": "cnn"}"#,
        r#"{"algorithm": 7}"#,
        r#"{"factors": 1e400}"#,
        "[]",
        "7",
    ] {
        refuse(&mut client, "recommendation", PURCHASES, options, bad);
    }
}

#[test]
fn options_that_cannot_be_read() {
    let mut client = shop();
    super::train_purchases(&mut client, "shop", "popular");
    client.run(
        "CREATE FUNCTION deep() RETURNS jsonb LANGUAGE sql AS
                    $$SELECT (repeat('[', 5000) || repeat(']', 5000))::jsonb$$",
    );
    let data = "SELECT 1 AS user_id, 2 AS item_id";
    for call in [
        format!("SELECT teller.train('refused', 'recommendation', '{data}', deep())"),
        "CALL teller.retrain('shop', deep())".to_owned(),
        r#"CALL teller.retrain('shop', '{"factors": 1e400}')"#.to_owned(),
    ] {
        client.refused(&call, &SqlState::INVALID_PARAMETER_VALUE);
    }
}

#[test]
fn image_options_and_architectures() {
    let mut client = Database::with_demo().connect();
    let bad = &SqlState::INVALID_PARAMETER_VALUE;
    let said =
        refuse(&mut client, "image_classification", SCANS, r#"{"architecture": "smal"}"#, bad);
    assert!(said.contains("small"), "{said}");
    for options in [
        r#"{"epochs": 0}"#,
        r#"{"batch_size": -3}"#,
        r#"{"learning_rate": 0}"#,
        r#"{"optimizer": "adm"}"#,
        r#"{"validation_fraction": 1}"#,
        r#"{"patience": -1}"#,
        r#"{"momentum": 0.9}"#,
        r#"{"optimizer": "adamw", "weight_decay": 2}"#,
        r#"{"clip_norm": 0}"#,
        r#"{"step_epochs": 2}"#,
        r#"{"warmup_fraction": 1}"#,
        r#"{"label_smoothing": 1}"#,
        r#"{"class_weights": "balance"}"#,
        r#"{"class_weights": {"no such label": 2}}"#,
        r#"{"class_weights": {"1": -2}}"#,
        r#"{"augmentation": {"rotations": 5}}"#,
        r#"{"augmentation": {"shift": 0.6}}"#,
        r#"{"augmentation": "strong"}"#,
        r#"{"monitor": "f1"}"#,
        r#"{"algorithm": "als"}"#,
        r#"{"architecture": {}}"#,
        r#"{"architecture": {"input": {"height": 8, "width": 8, "channels": 1}, "layers": []}}"#,
        r#"{"architecture": {"input": {"height": 8, "width": 8, "channels": 1}, "layers": [
            {"type": "conv2d", "filters": 4, "kernel": 99},
            {"type": "flatten"}, {"type": "dense", "units": "classes"}, {"type": "softmax"}]}}"#,
        r#"{"architecture": {"input": {"height": 1000000, "width": 1000000, "channels": 1},
            "layers": [{"type": "flatten"}, {"type": "dense", "units": 1000000000},
            {"type": "dense", "units": "classes"}, {"type": "softmax"}]}}"#,
    ] {
        refuse(&mut client, "image_classification", SCANS, options, bad);
    }
}

#[test]
fn data_must_be_one_select_that_writes_nothing() {
    let mut client = shop();
    for data in [
        "",
        ";",
        "SELEC 1",
        "SELECT 1; SELECT 2",
        "INSERT INTO purchases VALUES (1, 1, 1)",
        "DELETE FROM purchases RETURNING *",
        "DROP TABLE purchases",
        "COMMIT",
        "VACUUM",
        "SET ROLE postgres",
    ] {
        refuse(&mut client, "recommendation", data, "{}", &SqlState::SYNTAX_ERROR);
    }
    client.run(
        "CREATE FUNCTION spend() RETURNS bigint LANGUAGE sql AS
             'INSERT INTO purchases VALUES (1, 1, 1) RETURNING user_id'",
    );
    for data in [
        "SELECT spend() AS user_id, 1 AS item_id",
        "WITH gone AS (DELETE FROM purchases RETURNING *) SELECT user_id, item_id FROM gone",
    ] {
        refuse(&mut client, "recommendation", data, "{}", &SqlState::READ_ONLY_SQL_TRANSACTION);
    }
    let rows: i64 = client.value("SELECT count(*) FROM purchases");
    assert_eq!(rows, 160);
    // The statement after it may write again.
    client.run("INSERT INTO purchases VALUES (1, 1, 1)");
}

#[test]
fn columns_must_be_there_and_of_the_right_type() {
    let mut client = Database::with_demo().connect();
    super::two_groups(&mut client);
    for (task, data) in [
        ("recommendation", "SELECT user_id, weight FROM purchases"),
        ("recommendation", "SELECT 1"),
        ("image_classification", "SELECT image FROM demo.scans"),
        ("image_classification", "SELECT label FROM demo.scans"),
    ] {
        refuse(&mut client, task, data, "{}", &SqlState::UNDEFINED_COLUMN);
    }
    for (task, data) in [
        ("recommendation", "SELECT user_id, item_id, 'much' AS weight FROM purchases"),
        ("recommendation", "SELECT ARRAY[user_id] AS user_id, item_id FROM purchases"),
        ("recommendation", "SELECT user_id, now() AS item_id FROM purchases"),
        ("image_classification", "SELECT encode(image, 'base64') AS image, label FROM demo.scans"),
        ("image_classification", "SELECT image, ARRAY[label] AS label FROM demo.scans"),
    ] {
        refuse(&mut client, task, data, "{}", &SqlState::DATATYPE_MISMATCH);
    }
    refuse(
        &mut client,
        "recommendation",
        "SELECT * FROM no_such_table",
        "{}",
        &SqlState::UNDEFINED_TABLE,
    );
}

#[test]
fn rows_must_be_there_and_whole() {
    let mut client = Database::with_demo().connect();
    super::two_groups(&mut client);
    let bad = &SqlState::INVALID_PARAMETER_VALUE;
    let none = format!("{PURCHASES} WHERE false");
    refuse(&mut client, "recommendation", &none, "{}", bad);
    let none = format!("{SCANS} WHERE false");
    refuse(&mut client, "image_classification", &none, "{}", bad);
    let one = format!("{SCANS} WHERE label = '3'");
    let said = refuse(&mut client, "image_classification", &one, "{}", bad);
    assert!(said.contains('3'), "{said}");

    let null = &SqlState::NULL_VALUE_NOT_ALLOWED;
    for (task, data) in [
        ("recommendation", "SELECT NULL::bigint AS user_id, 1 AS item_id"),
        ("recommendation", "SELECT 1 AS user_id, NULL::text AS item_id"),
        ("recommendation", "SELECT 1 AS user_id, 1 AS item_id, NULL::float8 AS weight"),
        ("image_classification", "SELECT image, NULL::text AS label FROM demo.scans"),
        ("image_classification", "SELECT NULL::bytea AS image, label FROM demo.scans"),
    ] {
        refuse(&mut client, task, data, "{}", null);
    }
}

#[test]
fn weights_must_be_finite_and_positive() {
    let mut client = shop();
    for weight in ["'NaN'", "'Infinity'", "'-Infinity'", "-1", "1e300"] {
        let data = format!("{PURCHASES} UNION ALL SELECT 1, 2, {weight}::float8");
        refuse(&mut client, "recommendation", &data, "{}", &SqlState::NUMERIC_VALUE_OUT_OF_RANGE);
    }
}

#[test]
fn a_broken_image_in_the_data_is_named() {
    let mut client = Database::with_demo().connect();
    let data = format!("{SCANS} UNION ALL SELECT '\\x00'::bytea, '1'");
    refuse(
        &mut client,
        "image_classification",
        &data,
        "{}",
        &SqlState::INVALID_BINARY_REPRESENTATION,
    );
}

#[test]
fn memory_beyond_the_setting_is_refused_before_it_is_taken() {
    let mut client = Database::with_demo().connect();
    client.run("SET teller.max_training_memory = '1MB'");
    let error =
        client.refused(&train("image_classification", SCANS, "{}"), &SqlState::OUT_OF_MEMORY);
    let shown = format!("{} {:?}", error.message(), error.hint());
    assert!(shown.contains("teller.max_training_memory"), "{shown}");
    let many = "SELECT u AS user_id, i AS item_id
                FROM generate_series(1, 1000) u, generate_series(1, 1000) i";
    client.refused(&train("recommendation", many, "{}"), &SqlState::OUT_OF_MEMORY);
}

/// The hint says what fits, and that does.
#[test]
fn what_would_fit_in_memory_is_said() {
    let mut client = Database::with_demo().connect();
    let hinted = |error: &DbError| {
        let hint = error.hint().unwrap();
        let number = hint.split(' ').find_map(|word| word.parse::<u64>().ok());
        number.unwrap_or_else(|| panic!("{hint}"))
    };
    client.run("SET teller.max_training_memory = '16MB'");
    let some = "SELECT u AS user_id, u % 50 + i AS item_id
                FROM generate_series(1, 2000) u, generate_series(1, 5) i";
    let factors = |factors| format!(r#"{{"factors": {factors}, "iterations": 1}}"#);
    let refused = train("recommendation", some, &factors(1024));
    let most = hinted(&client.refused(&refused, &SqlState::OUT_OF_MEMORY));
    client.run(&train("recommendation", some, &factors(most)));
    let more = train("recommendation", some, &factors(most + 1));
    client.refused(&more, &SqlState::OUT_OF_MEMORY);

    client.run("SET teller.max_training_memory = '18MB'; DROP TABLE refused");
    let scans = |rows| {
        format!("SELECT s.image, s.label FROM demo.scans s, generate_series(1, 8) LIMIT {rows}")
    };
    let once = r#"{"epochs": 1}"#;
    let refused = train("image_classification", &scans(14_000), once);
    let most = hinted(&client.refused(&refused, &SqlState::OUT_OF_MEMORY));
    client.run(&train("image_classification", &scans(most), once));
    // While it is read already: there the training on so many would not fit either.
    let refused = refused.replace("(1, 8)", "(1, 16)").replace("14000", "28000");
    let error = client.refused(&refused, &SqlState::OUT_OF_MEMORY);
    assert!(error.message().contains("the first 2"), "{}", error.message());
    assert_eq!(hinted(&error), most);
    client
        .refused(&train("image_classification", &scans(most + 1), once), &SqlState::OUT_OF_MEMORY);
}

/// The exact weights of all items would not fit: those of the nearest do, and the version tells it.
#[test]
fn an_approximation_takes_over_where_memory_is_short() {
    let mut client = Database::new().connect();
    let data = "SELECT u AS user_id, (u * i * 7919) % 1500 AS item_id
                FROM generate_series(1, 2000) u, generate_series(1, 4) i";
    let neighbors = |client: &mut Client, limit: &str| -> Option<f64> {
        client.run(&format!("SET teller.max_training_memory = '{limit}'"));
        client.run(&train("recommendation", data, r#"{"algorithm": "ease"}"#));
        let metric = "SELECT (metrics->>'neighbors')::float8 FROM teller.model_versions
                      ORDER BY version DESC LIMIT 1";
        client.query_one(metric, &[]).unwrap().get(0)
    };
    assert_eq!(neighbors(&mut client, "1GB"), None);
    assert!(neighbors(&mut client, "16MB").is_some_and(|neighbors| neighbors > 0.0));
    client.run("SET teller.max_training_memory = '2MB'");
    let refused = train("recommendation", data, r#"{"algorithm": "ease"}"#);
    client.refused(&refused, &SqlState::OUT_OF_MEMORY);
}

/// Training again tells it as the first training does.
#[test]
fn what_would_fit_is_said_when_training_again() {
    let mut client = Database::with_demo().connect();
    client.run(&train("image_classification", SCANS, r#"{"epochs": 1}"#));
    super::two_groups(&mut client);
    super::train_purchases(&mut client, "shop", "als");
    let says = |client: &mut Client, limit: &str, model: &str, what: &str, fits: &str| {
        client.run(&format!("SET teller.max_training_memory = '{limit}'"));
        let call = format!("CALL teller.retrain('{model}')");
        let error = client.refused(&call, &SqlState::OUT_OF_MEMORY);
        let hint = error.hint().unwrap();
        assert!(error.message().contains(what), "{}", error.message());
        assert!(hint.contains("What would fit: ") && hint.contains(fits), "{hint}");
    };
    says(&mut client, "1MB", "refused", "the first 1", "a smaller network, image or batch_size");
    says(
        &mut client,
        "5MB",
        "refused",
        "images of 10 classes",
        "a smaller network, image or batch_size",
    );
    client.run(
        "CREATE TABLE more AS SELECT u AS user_id, i AS item_id, 1.0 AS weight
                FROM generate_series(1, 300) u, generate_series(1, 300) i;
                DROP TABLE purchases; ALTER TABLE more RENAME TO purchases",
    );
    says(&mut client, "1MB", "shop", "the interactions", "interactions");
    says(&mut client, "2MB", "shop", "90000 interactions of 300 users", "What would fit");
}

#[test]
fn a_model_beyond_the_cache_is_refused() {
    let mut client = Database::with_demo().connect();
    client.run("SET teller.cache_size = '100kB'; SET teller.shared_cache_size = 0");
    let error = client.refused(
        "SELECT teller.classify_image(image) FROM demo.scans LIMIT 1",
        &SqlState::OUT_OF_MEMORY,
    );
    assert!(error.message().contains("teller.cache_size"), "{error}");
    client.run("RESET teller.cache_size");
    client.value::<String>("SELECT teller.classify_image(image) FROM demo.scans LIMIT 1");
}

#[test]
fn models_must_be_models_of_the_right_task() {
    let mut client = shop();
    super::train_purchases(&mut client, "shop", "als");
    client.refused("SELECT teller.classify_image('', 'nowhere')", &SqlState::UNDEFINED_TABLE);
    let wrong = &SqlState::WRONG_OBJECT_TYPE;
    client.run("CREATE VIEW shown AS SELECT * FROM shop");
    for model in ["purchases", "shown", "pg_class", "shop"] {
        client.refused(&format!("SELECT teller.classify_image('', '{model}')"), wrong);
    }
    for model in ["purchases", "shown", "teller.digits"] {
        client.refused(&format!("SELECT * FROM teller.recommend(1, 1, '{model}')"), wrong);
    }
    client.refused(
        &format!("SELECT teller.train('purchases', 'recommendation', '{PURCHASES}')"),
        wrong,
    );
    // A model keeps its task.
    client.refused(
        "SELECT teller.train('shop', 'image_classification',
             $$SELECT ''::bytea AS image, 'a' AS label$$)",
        wrong,
    );
}
