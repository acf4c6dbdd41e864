//! Every order in which statements of several sessions can meet: which version each of them sees.
//!
//! Version 1 was in production before version 2 is, 3 is a candidate, and 4 is what the next
//! training makes. A read tells the version that is in production by the table and, where they
//! differ, the one that answered.

use teller_tests::{Database, Statements, Step, every_order};

use crate::{answers, asking, candidate, train, two_groups};

const READ: &str = "SELECT read FROM reading";

/// Where a transaction sees one state for all its time.
const SNAPSHOTS: [&str; 2] = ["REPEATABLE READ", "SERIALIZABLE"];

/// A database with such a model `m`, and the statements that bring it back to that state.
fn database() -> (Database<'static>, String) {
    let database = Database::new();
    let mut client = database.connect();
    two_groups(&mut client);
    train(&mut client, "m", "als");
    train(&mut client, "m", "svd");
    client.run(&candidate("m", "popular"));
    client.run(&fourth("other"));
    client.run("CREATE TABLE known (version int, answer text)");
    for (version, model) in [(1, "m"), (2, "m"), (3, "m"), (4, "other")] {
        if model == "m" {
            client.run(&format!("SELECT teller.promote('m', {version})"));
        }
        let answer = answers(&mut client, model);
        client.execute("INSERT INTO known VALUES ($1, $2)", &[&version, &answer]).unwrap();
    }
    let distinct: i64 = client.value("SELECT count(DISTINCT answer) FROM known");
    assert_eq!(distinct, 4);
    client.run("DROP TABLE other, m");
    train(&mut client, "m", "als");
    train(&mut client, "m", "svd");
    client.run(&candidate("m", "popular"));
    train(&mut client, "other", "als");
    train(&mut client, "other", "svd");
    client.run("CREATE TABLE kept AS TABLE m; CREATE TABLE kept_other AS TABLE other; CREATE TABLE decided (version int)");
    client.run(&format!(
        "CREATE VIEW reading AS
             SELECT concat(p.version, CASE WHEN k.version <> p.version THEN '!' || k.version END)
                    AS read
             FROM (SELECT version FROM m WHERE status = 'production') p,
                  (SELECT ({}) AS answer) a JOIN known k USING (answer)",
        asking("'m'")
    ));
    let reset = "SET session_replication_role = replica; DELETE FROM m; DELETE FROM decided;
                 INSERT INTO m TABLE kept;
                 DELETE FROM other; INSERT INTO other TABLE kept_other; SET session_replication_role = origin"
        .to_owned();
    (database, reset)
}

/// A training that answers unlike the first three.
fn fourth(model: &str) -> String {
    format!(
        r#"SELECT version FROM teller.train('{model}', 'recommendation',
               'SELECT user_id, item_id FROM purchases', '{{"algorithm": "als", "factors": 2}}')"#
    )
}

fn check(world: &(Database, String), scripts: &[&[Step]], expected: &str) {
    let (database, reset) = world;
    let lines = every_order(database, reset, scripts);
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    assert_eq!(lines, expected, "\n{}", lines.join("\n"));
    let log: bool = database.connect().value("SELECT teller.verify_audit_log() IS NULL");
    assert!(log);
}

/// Reads twice in a transaction and once after it.
fn reader(level: &str) -> [(&'static str, String); 3] {
    let first = format!("BEGIN ISOLATION LEVEL {level}; {READ}");
    [("r1", first), ("r2", READ.to_owned()), ("r3", format!("COMMIT; {READ}"))]
}

/// Makes a change in a transaction, and reads after it.
fn writer(level: &str, names: [&'static str; 2], change: &str) -> [(&'static str, String); 2] {
    [
        (names[0], format!("BEGIN ISOLATION LEVEL {level}; {change}")),
        (names[1], format!("COMMIT; {READ}")),
    ]
}

fn steps<'a>(script: &'a [(&'static str, String)]) -> Vec<Step<'a>> {
    script.iter().map(|(name, statements)| (*name, &**statements)).collect()
}

#[test]
fn a_promotion_is_seen_once_it_is_committed() {
    let world = database();
    let promotion = [("p", "BEGIN; SELECT teller.promote('m', 3)"), ("c", "COMMIT")];
    check(
        &world,
        &[&steps(&reader("READ COMMITTED")), &promotion],
        "r1=2 r2=2 r3=2 p=3 c=ok
         r1=2 r2=2 p=3 r3=2 c=ok
         r1=2 r2=2 p=3 c=ok r3=3
         r1=2 p=3 r2=2 r3=2 c=ok
         r1=2 p=3 r2=2 c=ok r3=3
         r1=2 p=3 c=ok r2=3 r3=3
         p=3 r1=2 r2=2 r3=2 c=ok
         p=3 r1=2 r2=2 c=ok r3=3
         p=3 r1=2 c=ok r2=3 r3=3
         p=3 c=ok r1=3 r2=3 r3=3",
    );
    for level in SNAPSHOTS {
        check(
            &world,
            &[&steps(&reader(level)), &promotion],
            "r1=2 r2=2 r3=2 p=3 c=ok
             r1=2 r2=2 p=3 r3=2 c=ok
             r1=2 r2=2 p=3 c=ok r3=3
             r1=2 p=3 r2=2 r3=2 c=ok
             r1=2 p=3 r2=2 c=ok r3=3
             r1=2 p=3 c=ok r2=2 r3=3
             p=3 r1=2 r2=2 r3=2 c=ok
             p=3 r1=2 r2=2 c=ok r3=3
             p=3 r1=2 c=ok r2=2 r3=3
             p=3 c=ok r1=3 r2=3 r3=3",
        );
    }
}

#[test]
fn every_change_is_seen_whole() {
    let world = database();
    for (change, version) in [
        ("SELECT teller.rollback('m')", 1),
        (&fourth("m"), 4),
        ("SELECT teller.drop_version('m', 2) FROM teller.promote('m', 3)", 3),
    ] {
        let expect = |text: &str| text.replace('N', &version.to_string());
        let change = format!("{change}; {READ}");
        check(
            &world,
            &[&steps(&reader("READ COMMITTED")), &[("w", &change)]],
            &expect(
                "r1=2 r2=2 r3=2 w=N
                 r1=2 r2=2 w=N r3=N
                 r1=2 w=N r2=N r3=N
                 w=N r1=N r2=N r3=N",
            ),
        );
        for level in SNAPSHOTS {
            check(
                &world,
                &[&steps(&reader(level)), &[("w", &change)]],
                &expect(
                    "r1=2 r2=2 r3=2 w=N
                     r1=2 r2=2 w=N r3=N
                     r1=2 w=N r2=2 r3=N
                     w=N r1=N r2=N r3=N",
                ),
            );
        }
    }
}

/// Two changes at once: the second waits. In a read committed transaction it then starts from what
/// the first has left, in others it fails so that a program tries again, whatever the two were.
#[test]
fn two_changes_take_turns() {
    let world = database();
    let train = fourth("m");
    let drop = |version: i32| format!("SELECT {version} FROM teller.drop_version('m', {version})");
    let (drop1, drop3) = (drop(1), drop(3));
    let (promote1, promote3) = ("SELECT teller.promote('m', 1)", "SELECT teller.promote('m', 3)");
    let rollback = "SELECT teller.rollback('m')";
    // What becomes of `b` after `a` and of `a` after `b`, and the version in production then.
    for (a, b, first, second) in [
        (promote1, promote3, [("1", 1), ("3", 3)], [("3", 3), ("1", 1)]),
        (promote3, &*drop3, [("3", 3), ("55000", 3)], [("3", 2), ("42704", 2)]),
        (promote3, &*drop1, [("3", 3), ("1", 3)], [("1", 2), ("3", 3)]),
        (rollback, rollback, [("1", 1), ("55000", 1)], [("1", 1), ("55000", 1)]),
        (rollback, promote3, [("1", 1), ("3", 3)], [("3", 3), ("2", 2)]),
        (rollback, &*train, [("1", 1), ("4", 4)], [("4", 4), ("2", 2)]),
        (&*drop1, &*drop3, [("1", 2), ("3", 2)], [("3", 2), ("1", 2)]),
        (rollback, &*drop1, [("1", 1), ("55000", 1)], [("1", 2), ("55000", 2)]),
    ] {
        let [(a1, r1), (b1, s1)] = first;
        let [(b2, s2), (a2, r2)] = second;
        let one_by_one =
            [format!("a={a1} ca={r1} b={b1} cb={s1}"), format!("b={b2} cb={s2} a={a2} ca={r2}")];
        for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
            let (after_a, after_b) = match level {
                "READ COMMITTED" => ((b1, s1), (a2, r2)),
                _ => (("40001", r1), ("40001", s2)),
            };
            let expected = [
                one_by_one[0].clone(),
                format!("a={a1} b... ca={r1} b={} cb={}", after_a.0, after_a.1),
                format!("b={b2} a... cb={s2} a={} ca={}", after_b.0, after_b.1),
                one_by_one[1].clone(),
            ];
            let (a, b) = (writer(level, ["a", "ca"], a), writer(level, ["b", "cb"], b));
            check(&world, &[&steps(&a), &steps(&b)], &expected.join("\n"));
        }
    }
}

/// The audit log is one for all models, and its chain has one end.
#[test]
fn changes_of_two_models_take_turns() {
    let world = database();
    let promote = "SELECT teller.promote('m', 3)";
    let audited = "GRANT SELECT (version) ON other TO pg_monitor;
                   REVOKE SELECT (version) ON other FROM pg_monitor; SELECT 1";
    for other in ["SELECT teller.promote('other', 1)", audited] {
        for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
            let (a, b) = (writer(level, ["a", "ca"], promote), writer(level, ["b", "cb"], other));
            let expected = match level {
                "READ COMMITTED" => {
                    "a=3 ca=3 b=1 cb=3
                     a=3 b... ca=3 b=1 cb=3
                     b=1 a... cb=2 a=3 ca=3
                     b=1 cb=2 a=3 ca=3"
                }
                _ => {
                    "a=3 ca=3 b=1 cb=3
                     a=3 b... ca=3 b=40001 cb=3
                     b=1 a... cb=2 a=40001 ca=2
                     b=1 cb=2 a=3 ca=3"
                }
            };
            check(&world, &[&steps(&a), &steps(&b)], expected);
        }
    }
}

/// One reads the model and writes down what it decided, the other reads the decisions and changes
/// the model: for serializable transactions there must be an order of the two that explains both.
#[test]
fn a_decision_and_a_promotion_can_be_put_in_order() {
    let world = database();
    let decide = "INSERT INTO decided SELECT read::int FROM reading RETURNING version";
    let review = "SELECT teller.promote('m', 3); SELECT count(*) FROM decided";
    for (level, expected) in [
        (
            "REPEATABLE READ",
            "a=2 ca=2 b=1 cb=3
             a=2 b=0 ca=2 cb=3
             a=2 b=0 cb=3 ca=3
             b=0 a=2 ca=2 cb=3
             b=0 a=2 cb=3 ca=3
             b=0 cb=3 a=3 ca=3",
        ),
        (
            "SERIALIZABLE",
            "a=2 ca=2 b=1 cb=3
             a=2 b=0 ca=2 cb=40001
             a=2 b=0 cb=3 ca=40001
             b=0 a=2 ca=2 cb=40001
             b=0 a=2 cb=3 ca=40001
             b=0 cb=3 a=3 ca=3",
        ),
    ] {
        let (a, b) = (writer(level, ["a", "ca"], decide), writer(level, ["b", "cb"], review));
        check(&world, &[&steps(&a), &steps(&b)], expected);
    }
}
