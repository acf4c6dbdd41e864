//! The registry views and the numbers as data.

use teller_tests::{Database, Statements};

#[test]
fn views_show_the_models_that_the_caller_may_run() {
    let database = Database::new();
    let mut owner = database.connect_as("owner");
    let mut other = database.connect_as("other");
    super::two_groups(&mut owner);
    super::train_purchases(&mut owner, "shop", "als");
    super::train_purchases(&mut owner, "shop", "svd");
    for (view, rows) in [("models", 1), ("model_versions", 2)] {
        let count =
            format!("SELECT count(*) FROM teller.{view} WHERE model <> 'teller.digits'::regclass");
        assert_eq!(owner.value::<i64>(&count), rows, "{view}");
        assert_eq!(other.value::<i64>(&count), 0, "{view} shows what is not granted");
    }
    let sweeps: i64 =
        owner.value("SELECT count(*) FROM teller.training_log WHERE model = 'shop'::regclass");
    assert!(sweeps > 1, "{sweeps} rows of the training log");
    let shipped: i64 =
        other.value("SELECT count(*) FROM teller.models WHERE model = 'teller.digits'::regclass");
    assert_eq!(shipped, 1);
}

/// The parameters tell of the data, as the options of a training do: they are for who may read.
#[test]
fn the_log_of_a_search_tells_what_was_tried() {
    let database = Database::new();
    let mut owner = database.connect_as("owner");
    let mut runner = database.connect_as("runner");
    super::two_groups(&mut owner);
    super::train_purchases(&mut owner, "shop", "als");
    owner.run(
        r#"SELECT teller.train('shop', 'recommendation', 'SELECT user_id, item_id FROM purchases',
               '{"algorithm": "svd", "tune": {"grid": {"factors": [1, 2, 3]}}}')"#,
    );
    let schema: String = owner.value("SELECT current_schema()::text");
    let log = |client: &mut postgres::Client, version: i32| -> String {
        client.value(&format!(
            "SELECT count(*) || ': '
                    || coalesce(string_agg(options->>'factors', ' ' ORDER BY step), '')
             FROM teller.training_log
             WHERE model = '{schema}.shop'::regclass AND version = {version}"
        ))
    };
    assert!(log(&mut owner, 1).ends_with(": "), "no search, no trials");
    let trials = log(&mut owner, 2);
    assert!(trials.ends_with(": 1 2 3"), "{trials}");
    owner.run(&format!("GRANT USAGE ON SCHEMA {schema} TO PUBLIC"));
    owner.run("GRANT SELECT (version) ON shop TO PUBLIC");
    let steps = trials.split(':').next().unwrap();
    assert_eq!(log(&mut runner, 2), format!("{steps}: "));
}

#[test]
fn weights_and_factors_are_data() {
    let mut client = Database::new().connect();
    let layers = client
        .query("SELECT layer, shape, \"values\" FROM teller.weights('teller.digits')", &[])
        .unwrap();
    assert!(layers.len() >= 6, "{} arrays", layers.len());
    for layer in &layers {
        let shape: Vec<i32> = layer.get(1);
        let weights: Vec<f32> = layer.get(2);
        assert_eq!(shape.iter().product::<i32>() as usize, weights.len());
        assert!(weights.iter().all(|weight| weight.is_finite()));
    }
    let proper: bool = client.value(
        r#"SELECT bool_and(array_dims("values") = '[1:' || cardinality("values") || ']'
                           AND "values" = ARRAY(SELECT unnest("values")))
           FROM teller.weights('teller.digits')"#,
    );
    assert!(proper);

    super::two_groups(&mut client);
    super::train_purchases(&mut client, "shop", "als");
    let users: i64 =
        client.value("SELECT count(DISTINCT user_id) FROM teller.user_factors('shop')");
    let items: i64 =
        client.value("SELECT count(DISTINCT item_id) FROM teller.item_factors('shop')");
    assert_eq!((users, items), (40, 10));
}

#[test]
fn evaluate_ranks_held_out_items() {
    let mut client = Database::new().connect();
    super::two_groups(&mut client);
    super::train_purchases(&mut client, "shop", "als");
    // What everyone lacks is the item of the own group: a right model puts it first.
    let ndcg: f64 = client.value(
        "SELECT value FROM teller.evaluate('shop',
             'SELECT u AS user_id, i AS item_id
              FROM generate_series(1, 40) u, generate_series(1, 10) i
              WHERE (u <= 20) = (i <= 5) AND (u + i) % 5 = 0')
         WHERE metric = 'ndcg@10'",
    );
    assert!((ndcg - 1.0).abs() < 1e-9, "NDCG@10 is {ndcg}");
}
