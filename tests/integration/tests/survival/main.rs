//! What models live through: dumps, crashes, full disks, replicas, and what owners do to tables.
#![allow(clippy::unwrap_used, reason = "a failed test says so by panicking")]

mod crash;
mod cron;
mod disk;
mod dump;
mod files;
mod freshness;
mod isolation;
mod load;
mod operations;
mod privileges;
mod replicas;
mod retraining;
mod tables;
mod tasks;

use std::time::{Duration, Instant};

use postgres::Client;
use teller_tests::Statements;

/// Makes `purchases (user_id, item_id)` of two groups that share no taste.
fn two_groups(client: &mut Client) {
    client.run(
        "CREATE TABLE purchases AS
             SELECT u::bigint AS user_id, i::bigint AS item_id
             FROM generate_series(1, 40) u, generate_series(1, 10) i
             WHERE (u <= 20) = (i <= 5) AND (u + i) % 5 <> 0",
    );
}

/// Trains a version of `model` on `purchases`; versions of different algorithms answer
/// differently.
fn train(client: &mut Client, model: &str, algorithm: &str) {
    client.run(&training(model, algorithm));
}

fn training(model: &str, algorithm: &str) -> String {
    let factors = if algorithm == "popular" { "" } else { r#", "factors": 4"# };
    format!(
        r#"SELECT teller.train('{model}', 'recommendation',
               'SELECT user_id, item_id FROM purchases',
               '{{"algorithm": "{algorithm}"{factors}}}')"#
    )
}

/// The same, but it stays a candidate.
fn candidate(model: &str, algorithm: &str) -> String {
    training(model, algorithm).replace(r#"{"algorithm""#, r#"{"promote": false, "algorithm""#)
}

/// Trains a version of `model` that is large enough to be shared in a file; versions of different
/// `shift` answer differently.
fn train_large(client: &mut Client, model: &str, shift: i32) {
    client.run(&format!(
        r#"SELECT teller.train('{model}', 'recommendation',
               'SELECT u AS user_id, CASE WHEN u > 29900 AND i = 1 THEN {shift}
                                          ELSE (u * 7919 + i) % 45000 END AS item_id
                FROM generate_series(1, 30000) u, generate_series(1, 2) i',
               '{{"algorithm": "popular"}}')"#
    ));
}

/// A training of `model` that takes minutes.
fn endless(model: &str) -> String {
    format!(
        r#"SELECT teller.train('{model}', 'recommendation',
               'SELECT u AS user_id, (u * 7 + i) % 5000 AS item_id
                FROM generate_series(1, 20000) u, generate_series(1, 30) i',
               '{{"iterations": 1000}}')"#
    )
}

/// What the recommender `model` answers to everyone, its scores bit by bit.
fn answers(client: &mut Client, model: &str) -> String {
    client.value(&asking(&format!("'{model}'")))
}

fn asking(model: &str) -> String {
    format!(
        "SELECT string_agg(concat_ws(' ', u, rank, item_id, float4send(score)), ',' ORDER BY u, rank)
         FROM generate_series(1, 42) u, teller.recommend(u, 3, {model})"
    )
}

/// Waits until `condition` holds.
#[track_caller]
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until the session `pid` has been training for a while.
fn wait_until_it_trains(client: &mut Client, pid: i32) {
    let busy = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE pid = {pid} AND state = 'active'
             AND query LIKE '%teller.train%' AND clock_timestamp() - query_start > '500 ms'"
    );
    wait_until("the training begins", || client.value::<i64>(&busy) == 1);
}
