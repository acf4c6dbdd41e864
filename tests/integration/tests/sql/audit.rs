//! The audit log: complete, append-only, chained.

use postgres::Client;
use postgres::error::SqlState;
use teller_tests::{Database, Statements};

use crate::{train_purchases, two_groups};

/// `action model from to`, in order.
fn entries(client: &mut Client) -> Vec<String> {
    client.column(
        "SELECT concat_ws(' ', action, model, coalesce(from_version::text, '-'),
                          coalesce(to_version::text, '-'))
         FROM teller.audit_log ORDER BY id",
    )
}

fn first_broken(client: &mut Client) -> Option<i64> {
    client.value("SELECT teller.verify_audit_log()")
}

#[test]
fn each_change_of_a_version_is_one_row() {
    let database = Database::new();
    let mut client = database.connect();
    two_groups(&mut client);
    train_purchases(&mut client, "m", "popular");
    train_purchases(&mut client, "m", "als");
    client.run("SELECT teller.rollback('m'); SELECT teller.promote('m', 1)");
    client.run("SELECT teller.drop_version('m', 2)");
    client.run(
        r#"SELECT teller.train('m', 'recommendation', 'SELECT user_id, item_id FROM purchases',
               '{"algorithm": "popular", "gate": {"metric": "ndcg@10", "min": 2,
                 "data": "SELECT 1::bigint AS user_id, 4::bigint AS item_id"}}')"#,
    );
    assert_eq!(
        entries(&mut client),
        [
            "train public.m - 1",
            "promote public.m - 1",
            "train public.m - 2",
            "promote public.m 1 2",
            "rollback public.m 2 1",
            "retire public.m 2 -",
            "train public.m - 3",
            "failed gate public.m - 3",
        ]
    );
    assert_eq!(first_broken(&mut client), None);

    client.run("BEGIN");
    train_purchases(&mut client, "n", "popular");
    client.run("ROLLBACK");
    assert_eq!(entries(&mut client).len(), 8, "what was rolled back did not happen");
    assert_eq!(first_broken(&mut client), None);
}

#[test]
fn it_says_who() {
    let database = Database::new();
    let mut root = database.connect();
    let mut user = database.connect_as("user");
    let (role, boss) = (database.role("user"), database.role("boss"));
    database.connect_as("boss");
    root.run(&format!("GRANT {boss} TO {role}"));
    two_groups(&mut user);
    user.run(&format!(
        "GRANT SELECT ON purchases TO {boss}; GRANT USAGE ON SCHEMA {role} TO {boss}"
    ));
    user.run(&format!("SET search_path = {boss}, {role}; SET ROLE {boss}"));
    train_purchases(&mut user, "m", "popular");
    let who: String =
        root.value("SELECT DISTINCT session_role || ' as ' || acting_role FROM teller.audit_log");
    assert_eq!(who, format!("{role} as {boss}"));
    user.refused("SELECT * FROM teller.audit_log", &SqlState::INSUFFICIENT_PRIVILEGE);
}

#[test]
fn owners_names_privileges_and_drops_are_logged() {
    let database = Database::new();
    let mut client = database.connect();
    two_groups(&mut client);
    train_purchases(&mut client, "m", "popular");
    database.connect_as("user");
    let role = database.role("user");
    let before = entries(&mut client).len();
    client.run(&format!("GRANT SELECT ON purchases TO {role}"));
    client.run("ALTER TABLE purchases ADD note text");
    assert_eq!(entries(&mut client).len(), before, "not a model");

    client.run(&format!("GRANT SELECT (version) ON m TO {role}"));
    client.run(&format!("SELECT teller.revoke_usage('m', '{role}')"));
    client.run("ALTER TABLE m RENAME TO n");
    client.run(&format!("ALTER TABLE n OWNER TO {role}"));
    client.run("DROP TABLE n");
    assert_eq!(
        entries(&mut client)[before..],
        [
            "grant public.m - -",
            "revoke public.m - -",
            "alter table public.n - -",
            "alter table public.n - -",
            "drop table public.n - -",
        ]
    );
    let owners: String = client.value(
        "SELECT detail ->> 'old_owner' || ' -> ' || (detail ->> 'owner') FROM teller.audit_log
         WHERE action = 'alter table' ORDER BY id DESC LIMIT 1",
    );
    assert_eq!(owners, format!("postgres -> {role}"));
    train_purchases(&mut client, "x", "popular");
    let before = entries(&mut client).len();
    client.run("CREATE SCHEMA s; ALTER TABLE x SET SCHEMA s; DROP SCHEMA s CASCADE");
    assert_eq!(entries(&mut client)[before..], ["alter table s.x - -", "drop schema s.x - -"]);
    assert_eq!(first_broken(&mut client), None);
}

#[test]
fn rows_stay_as_they_are_and_tampering_shows() {
    let database = Database::new();
    let mut client = database.connect();
    two_groups(&mut client);
    for _ in 0..3 {
        train_purchases(&mut client, "m", "popular");
    }
    let mut user = database.connect_as("user");
    for change in [
        "INSERT INTO teller.audit_log SELECT * FROM teller.audit_log",
        "UPDATE teller.audit_log SET action = 'nothing'",
        "DELETE FROM teller.audit_log",
        "TRUNCATE teller.audit_log",
        "SELECT teller.append_audit('a', 'b', 'c', 'd', 1, 2, NULL)",
        "SELECT teller.audit_access('grant')",
        "DELETE FROM teller.known_access",
    ] {
        user.refused(change, &SqlState::INSUFFICIENT_PRIVILEGE);
    }
    for change in [
        "UPDATE teller.audit_log SET action = 'nothing'",
        "DELETE FROM teller.audit_log",
        "TRUNCATE teller.audit_log",
    ] {
        client.refused(change, &SqlState::INSUFFICIENT_PRIVILEGE);
    }

    // A superuser can switch the guard off; the chain tells.
    for (change, broken) in [
        ("UPDATE teller.audit_log SET acting_role = 'mallory' WHERE id = 3", 3),
        ("UPDATE teller.audit_log SET at = at + interval '1 second' WHERE id = 2", 2),
        ("DELETE FROM teller.audit_log WHERE id = 2", 3),
        ("DELETE FROM teller.audit_log WHERE id = 1", 2),
        ("UPDATE teller.audit_log SET detail = NULL WHERE id = 5", 5),
    ] {
        client.run(&format!(
            "BEGIN; ALTER TABLE teller.audit_log DISABLE TRIGGER guard_rows; {change}"
        ));
        assert_eq!(first_broken(&mut client), Some(broken), "{change}");
        client.run("ROLLBACK");
    }
    assert_eq!(first_broken(&mut client), None);
}

#[test]
fn two_sessions_append_to_one_chain() {
    let database = Database::new();
    let mut client = database.connect();
    two_groups(&mut client);
    std::thread::scope(|scope| {
        for session in 0..4 {
            let mut client = database.connect();
            scope.spawn(move || {
                for _ in 0..5 {
                    train_purchases(&mut client, &format!("m{session}"), "popular");
                }
            });
        }
    });
    assert_eq!(entries(&mut client).len(), 40);
    assert_eq!(first_broken(&mut client), None);
}
