//! Always the version that was in production when the statement began, whatever is cached.

use postgres::Client;
use teller_tests::{Database, Statements};

use crate::{answers, asking, train, training, two_groups};

/// A database with a model `m`, a session that has used it, and another that trains.
fn in_use() -> (Client, Client, String) {
    let database = Database::new();
    let mut trainer = database.connect();
    two_groups(&mut trainer);
    train(&mut trainer, "m", "als");
    let mut user = database.connect();
    let first = answers(&mut user, "m");
    (user, trainer, first)
}

#[test]
fn a_prepared_statement_follows() {
    let (mut user, mut trainer, first) = in_use();
    let prepared = user.prepare(&asking("'m'")).unwrap();
    // Often enough for a generic plan.
    for algorithm in ["svd", "popular", "als", "svd", "popular", "als", "svd"] {
        train(&mut trainer, "m", algorithm);
        let now: String = user.query_one(&prepared, &[]).unwrap().get(0);
        assert_eq!(now, answers(&mut trainer, "m"));
        assert_eq!(now == first, algorithm == "als");
    }
}

#[test]
fn a_function_sees_what_its_statements_see() {
    let (mut user, _trainer, first) = in_use();
    let body = format!(
        "DECLARE before text; after text; BEGIN
             before := ({ask}); PERFORM count(*) FROM ({train}) t; after := ({ask});
             RETURN before = after; END",
        ask = asking("'m'"),
        train = training("m", "svd"),
    );
    user.run(&format!("CREATE FUNCTION same() RETURNS bool LANGUAGE plpgsql AS $f${body}$f$"));
    assert!(!user.value::<bool>("SELECT same()"), "it trained in between");
    let second = answers(&mut user, "m");
    assert_ne!(second, first);

    // A stable function has its caller's snapshot, so what its caller's statement trains is not
    // seen.
    user.run(&format!(
        "CREATE FUNCTION asked() RETURNS text STABLE LANGUAGE plpgsql AS
             $f$BEGIN RETURN ({}); END$f$",
        asking("'m'")
    ));
    let seen: bool = user.value(&format!(
        "WITH trained AS MATERIALIZED ({} )
         SELECT asked() <> '{second}' FROM trained",
        training("m", "popular")
    ));
    assert!(!seen, "a statement saw what it trained itself");
    assert_ne!(user.value::<String>("SELECT asked()"), second);
}

#[test]
fn a_loop_follows_from_statement_to_statement() {
    let (mut user, mut trainer, first) = in_use();
    user.run("CREATE TABLE seen (turn int, answer text)");
    // A procedure that commits, as cron jobs do; the turns are taken by an advisory lock.
    user.run(&format!(
        "CREATE PROCEDURE work() LANGUAGE plpgsql AS $p$BEGIN
             FOR turn IN 1..3 LOOP
                 PERFORM pg_advisory_lock(turn);
                 INSERT INTO seen SELECT turn, ({});
                 COMMIT;
             END LOOP;
         END$p$",
        asking("'m'")
    ));
    trainer.run("SELECT pg_advisory_lock(1), pg_advisory_lock(2), pg_advisory_lock(3)");
    let work = std::thread::spawn(move || user.run("CALL work()"));
    let mut expected = Vec::new();
    for (turn, algorithm) in [(1, "als"), (2, "svd"), (3, "popular")] {
        train(&mut trainer, "m", algorithm);
        expected.push(answers(&mut trainer, "m"));
        trainer.run(&format!("SELECT pg_advisory_unlock({turn})"));
        let seen = format!("SELECT count(*) FROM seen WHERE turn = {turn}");
        crate::wait_until("the turn is taken", || trainer.value::<i64>(&seen) == 1);
    }
    work.join().unwrap();
    assert_eq!(expected[0], first);
    assert_eq!(trainer.column::<String>("SELECT answer FROM seen ORDER BY turn"), expected);
}

#[test]
fn a_cursor_stays_with_its_version() {
    let (mut user, mut trainer, _first) = in_use();
    let rows = "SELECT concat_ws(' ', u, item_id, float4send(score))
        FROM generate_series(1, 40) u, LATERAL teller.recommend(u, 1 + u * 0, 'm') ORDER BY u";
    // Row by row, not sorted first.
    let rows = rows.replace(" ORDER BY u", "");
    let old: Vec<String> = user.column(&rows);
    user.run(&format!("BEGIN; DECLARE row CURSOR FOR {rows}"));
    let mut fetched: Vec<String> = user.column("FETCH 10 FROM row");
    train(&mut trainer, "m", "svd");
    let new: Vec<String> = user.column(&rows);
    assert_ne!(new, old, "the next statement has the new version");
    fetched.extend(user.column::<String>("FETCH 10 FROM row"));
    user.column::<String>(&rows);
    fetched.extend(user.column::<String>("FETCH ALL FROM row"));
    assert_eq!(fetched, old);
    user.run("ROLLBACK");

    user.run(&format!("BEGIN; DECLARE held CURSOR WITH HOLD FOR {rows}; COMMIT"));
    train(&mut trainer, "m", "popular");
    assert_eq!(user.column::<String>("FETCH ALL FROM held"), new);
}

#[test]
fn a_training_that_is_rolled_back_is_forgotten() {
    let (mut user, _trainer, first) = in_use();
    user.run("BEGIN; SAVEPOINT s");
    train(&mut user, "m", "svd");
    let second = answers(&mut user, "m");
    assert_ne!(second, first);
    user.run("ROLLBACK TO s");
    assert_eq!(answers(&mut user, "m"), first);
    train(&mut user, "m", "popular");
    let third = answers(&mut user, "m");
    assert_ne!(third, second);
    user.run("ROLLBACK");
    assert_eq!(answers(&mut user, "m"), first);
}

#[test]
fn repeatable_read_stays_with_its_version() {
    let (mut user, mut trainer, first) = in_use();
    user.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert_eq!(answers(&mut user, "m"), first);
    train(&mut trainer, "m", "svd");
    assert_eq!(answers(&mut user, "m"), first);
    user.run("COMMIT");
    assert_eq!(answers(&mut user, "m"), answers(&mut trainer, "m"));
    assert_ne!(answers(&mut user, "m"), first);
}

#[test]
fn a_table_emptied_and_filled_in_one_transaction_has_the_last_version() {
    let (mut user, _trainer, first) = in_use();
    user.run("BEGIN; TRUNCATE m");
    train(&mut user, "m", "als");
    assert_eq!(answers(&mut user, "m"), first, "the same data, seed and algorithm");
    user.run("TRUNCATE m");
    train(&mut user, "m", "svd");
    let second = answers(&mut user, "m");
    assert_ne!(second, first);
    user.run("COMMIT");
    assert_eq!(answers(&mut user, "m"), second);
}
