//! What a backend keeps of its own for the models that it serves.

use std::fs;

use postgres::Client;
use postgres::error::SqlState;
use teller_tests::{Database, Statements};

const MODELS: usize = 30;

/// kB that the client's backend has allocated; nothing if the kernel does not tell.
fn allocated(client: &mut Client) -> Option<usize> {
    let pid: i32 = client.value("SELECT pg_backend_pid()");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn a_statement_of_many_models_holds_no_more_than_the_cache() {
    let database = Database::new();
    let mut client = database.connect();
    client.run(
        "CREATE TABLE purchases AS
             SELECT u::bigint AS user_id, ((u * 7919 + i * 31) % 45000)::bigint AS item_id,
                    1::float8 AS weight
             FROM generate_series(1, 30000) u, generate_series(1, 2) i",
    );
    for model in 0..MODELS {
        super::train_purchases(&mut client, &format!("m{model}"), "popular");
    }
    let bytes: i64 = client.value("SELECT sum(length(payload))::bigint FROM m0");
    let one = bytes as usize / 1024;
    let call = format!(
        "SELECT count(*) FROM generate_series(0, {}) m,
             LATERAL teller.recommend(1::bigint, 1, ('m' || m)::regclass)",
        MODELS - 1
    );
    let mut session = database.connect();
    session.run("SET teller.shared_cache_size = 0");
    session.run(&format!("SET teller.cache_size = '{}kB'", 3 * one));
    session.run("SELECT teller.recommend(1::bigint, 1, 'm0')");
    let before = allocated(&mut session);
    for _ in 0..3 {
        assert_eq!(session.value::<i64>(&call), MODELS as i64);
    }
    if let (Some(before), Some(after)) = (before, allocated(&mut session)) {
        let more = after.saturating_sub(before);
        // Half of what all of them would take: the allocator keeps some of what was freed.
        assert!(more < MODELS * one / 2, "{more} kB more for {MODELS} models of {one} kB");
    }
    // Refused by what is stored, before anything is read.
    session.run(&format!("SET teller.cache_size = '{}kB'", one / 2));
    let sql = "SELECT teller.recommend(1::bigint, 1, 'm1')";
    let error = session.refused(sql, &SqlState::OUT_OF_MEMORY);
    assert!(error.message().contains("teller.cache_size"), "{error}");
}
