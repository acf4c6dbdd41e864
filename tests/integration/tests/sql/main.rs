//! The extension's SQL, one subject a module, in one private server.
#![allow(clippy::unwrap_used, reason = "a failed test says so by panicking")]

mod architecture;
mod audit;
mod autoencoder;
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
mod generated_images;
mod generation;
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
mod sequences;
mod shared;
mod stored_queries;
mod texts;
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

/// Questions of customers: nine things in three topics, asked in five ways.
const INTENTS: &str = "SELECT format(question, thing) AS text, label
    FROM (VALUES ('card', 'card'), ('debit card', 'card'), ('PIN', 'card'),
                 ('transfer', 'payment'), ('standing order', 'payment'), ('payment', 'payment'),
                 ('loan', 'credit'), ('mortgage', 'credit'), ('overdraft', 'credit')) t(thing, label),
         (VALUES ('Where is my %s?'), ('I want a new %s.'), ('Please stop the %s today'),
                 ('What''s wrong with my %s'), ('Tell me about the %s!')) q(question)";

/// Trains `model` on `INTENTS`.
fn train_intents(client: &mut Client, model: &str, algorithm: &str, epochs: u32) {
    let small = if algorithm == "bag" { "" } else { r#", "units": 16, "vector_size": 16"# };
    client.run(&format!(
        r#"SELECT teller.train('{model}', 'text_classification', $${INTENTS}$$,
               '{{"algorithm": "{algorithm}", "epochs": {epochs}, "batch_size": 8,
                  "learning_rate": 0.02{small}}}')"#
    ));
}

/// Two features over 4 to 9 steps, of which the first rises or falls from a level of the row's.
const WALKS: &str =
    "SELECT array_agg(ARRAY[level + slope * t, (id * 7 + t * 3) % 5]::real[] ORDER BY t)
            AS sequence, ARRAY[level]::real[] AS static,
        CASE WHEN slope > 0 THEN 'up' ELSE 'down' END AS label
    FROM (SELECT id, id % 13 AS level, CASE WHEN id % 2 = 0 THEN 1 ELSE -1 END AS slope
          FROM generate_series(1, 300) id) w, generate_series(1, 4 + id % 6) t
    GROUP BY id, level, slope ORDER BY id";

/// Trains `model` on `WALKS`.
fn train_walks(client: &mut Client, model: &str, algorithm: &str, epochs: u32) {
    client.run(&format!(
        r#"SELECT teller.train('{model}', 'sequence_classification', $${WALKS}$$,
               '{{"algorithm": "{algorithm}", "epochs": {epochs}, "units": 8, "batch_size": 32,
                  "learning_rate": 0.01}}')"#
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
