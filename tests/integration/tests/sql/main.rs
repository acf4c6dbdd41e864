//! The extension's SQL, one subject a module, in one private server.
#![allow(clippy::unwrap_used, reason = "a failed test says so by panicking")]

mod architecture;
mod audit;
mod baskets;
mod cache;
mod cancel;
mod candidates;
mod determinism;
mod documents;
mod explain;
mod extension;
mod fine_tuning;
mod fold_in;
mod forgery;
mod hostile;
mod images;
mod item_features;
mod knowledge_graph;
mod metrics;
mod privilege_matrix;
mod privileges;
mod real_data;
mod recommend;
mod refusals;
mod registry;
mod retraining;
mod sandbox;
mod shared;
mod stored_queries;
mod training;
mod upgrade;
mod versions;

use postgres::Client;
use teller_tests::Statements;

/// Trains `model` on half of the demo's scans, enough to tell digits apart.
fn train_scans(client: &mut Client, model: &str) {
    client.run(&format!(
        r#"SELECT teller.train('{model}', 'image_classification',
               'SELECT image, label FROM demo.scans WHERE id % 2 = 0',
               '{{"architecture": "small", "epochs": 8}}')"#
    ));
}

/// Makes `purchases (user_id, item_id, weight)` of two groups that share no taste: users 1 to 20
/// buy among items 1 to 5, users 21 to 40 among items 6 to 10, each all but one of the five.
fn two_groups(client: &mut Client) {
    client.run(
        "CREATE TABLE purchases AS
             SELECT u::bigint AS user_id, i::bigint AS item_id, 1.0::float8 AS weight
             FROM generate_series(1, 40) u, generate_series(1, 10) i
             WHERE (u <= 20) = (i <= 5) AND (u + i) % 5 <> 0",
    );
}

/// Trains `model` on `purchases` with `algorithm`.
fn train_purchases(client: &mut Client, model: &str, algorithm: &str) {
    let factors = match algorithm {
        "als" | "svd" => r#", "factors": 4"#,
        _ => "",
    };
    client.run(&format!(
        r#"SELECT teller.train('{model}', 'recommendation',
               'SELECT user_id, item_id, weight FROM purchases',
               '{{"algorithm": "{algorithm}"{factors}}}')"#
    ));
}
