//! `pg_dump` into a new cluster: the same answers bit by bit, the same grants.

use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use postgres::Client;
use postgres::error::SqlState;
use teller_tests::{Database, Server, Statements};

use crate::tasks::{answers_of_all, train_all};
use crate::{answers, train, two_groups};

/// The new cluster. Roles are made in it by hand, as `pg_dumpall --roles-only` would.
static TARGET: LazyLock<Server> = LazyLock::new(Server::start);

const PROBABILITIES: &str =
    "SELECT string_agg(concat_ws(' ', s.id, p.label, float4send(probability)), ',' ORDER BY s.id, p.label)
     FROM demo.scans s, teller.image_probabilities(s.image, 'scans') p WHERE s.id % 50 = 0";

const GRANTS: &str = "SELECT concat_ws(' ', c.oid::regclass, relowner::regrole, relacl, a.attacl)
    FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attacl IS NOT NULL
    WHERE relkind IN ('r', 'v') AND relnamespace NOT IN
        ('pg_catalog'::regnamespace, 'information_schema'::regnamespace, 'teller'::regnamespace)
    ORDER BY 1";

struct Bank {
    database: Database<'static>,
    owner: String,
    clerk: String,
}

/// Two models of a role that is no superuser, grants to another, and a view that uses one.
fn bank() -> Bank {
    let database = Database::with_demo();
    let mut client = database.connect_as("owner");
    database.connect_as("clerk");
    let (owner, clerk) = (database.role("owner"), database.role("clerk"));
    database
        .connect()
        .run("GRANT USAGE ON SCHEMA demo TO public; GRANT SELECT ON demo.scans TO public");
    two_groups(&mut client);
    train(&mut client, "shop", "als");
    train(&mut client, "shop", "svd");
    client.run(
        r#"SELECT teller.train('scans', 'image_classification',
               'SELECT image, label FROM demo.scans WHERE id <= 100',
               '{"architecture": "small", "epochs": 1}')"#,
    );
    train_all(&mut client);
    client.run(&format!(
        "GRANT USAGE ON SCHEMA {owner} TO {clerk};
         GRANT SELECT (version), INSERT ON shop TO {clerk};
         CREATE VIEW labelled AS
             SELECT id, teller.classify_image(image, 'scans') AS read FROM demo.scans"
    ));
    Bank { database, owner, clerk }
}

impl Bank {
    fn restored(&self) -> String {
        format!("{}_restored", self.database.name())
    }

    /// An empty database in the new cluster, with the roles that the dump names.
    fn target(&self) -> Client {
        let mut root = TARGET.connect("postgres", "postgres");
        for role in [&self.owner, &self.clerk] {
            root.run(&format!("CREATE ROLE {role} LOGIN"));
        }
        root.run(&format!("CREATE DATABASE {} OWNER {}", self.restored(), self.owner));
        TARGET.connect(&self.restored(), "postgres")
    }

    fn dump(&self, user: &str, arguments: &[&str]) -> String {
        let file = format!("{}/{}.dump", TARGET.folder(), self.database.name());
        succeed(
            Server::shared()
                .program("pg_dump")
                .args(["-U", user, "-d", self.database.name(), "-f", &file])
                .args(arguments),
        );
        file
    }

    fn check(&self, restored: &mut Client) {
        let mut source = self.database.connect();
        let path = format!("SET search_path = {}, public", self.owner);
        source.run(&path);
        restored.run(&path);
        assert_eq!(answers(restored, "shop"), answers(&mut source, "shop"));
        assert_eq!(restored.value::<String>(PROBABILITIES), source.value::<String>(PROBABILITIES));
        assert_eq!(restored.column::<String>(GRANTS), source.column::<String>(GRANTS));
        assert_eq!(answers_of_all(restored), answers_of_all(&mut source));
        let view = "SELECT string_agg(read, '' ORDER BY id) FROM labelled WHERE id % 50 = 0";
        assert_eq!(restored.value::<String>(view), source.value::<String>(view));
        let digits = "SELECT md5(string_agg(md5(d::text), '' ORDER BY part, chunk))
                      FROM teller.digits d";
        assert_eq!(restored.value::<String>(digits), source.value::<String>(digits));
        self.check_shop(restored);
    }

    /// The restored model is a model: guarded, and trained on.
    fn check_shop(&self, restored: &mut Client) {
        restored.run(&format!("SET search_path = {}, public", self.owner));
        restored.refused(
            "UPDATE shop SET payload = payload WHERE part <> ''",
            &SqlState::RESTRICT_VIOLATION,
        );
        restored.refused("DELETE FROM shop WHERE part = ''", &SqlState::RESTRICT_VIOLATION);
        let mut clerk = TARGET.connect(&self.restored(), &self.clerk);
        let call = format!("SELECT item_id FROM teller.recommend(1, 1, '{}.shop')", self.owner);
        clerk.value::<i64>(&call);
        clerk.refused(&format!("TABLE {}.shop", self.owner), &SqlState::INSUFFICIENT_PRIVILEGE);
        let version: i32 = clerk.value(&format!(
            r#"SELECT version FROM teller.train('{}.shop', 'recommendation',
                   'SELECT 1 AS user_id, 2 AS item_id', '{{"algorithm": "popular"}}')"#,
            self.owner
        ));
        assert_eq!(version, 3);
    }
}

fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn restore(database: &str, file: &str) {
    succeed(TARGET.program("pg_restore").args(["--exit-on-error", "-d", database, file]));
}

#[test]
fn a_whole_database_in_the_custom_format() {
    let bank = bank();
    let file = bank.dump("postgres", &["-Fc"]);
    let contents = succeed(TARGET.program("pg_restore").args(["--list", &file]));
    assert!(contents.contains("TABLE DATA") && !contents.contains("digits"), "{contents}");
    let mut restored = bank.target();
    restore(&bank.restored(), &file);
    bank.check(&mut restored);
}

#[test]
fn a_whole_database_in_the_plain_format() {
    let bank = bank();
    let file = bank.dump("postgres", &["-Fp"]);
    let text = std::fs::read_to_string(Path::new(&file)).unwrap();
    assert!(text.contains(".shop ") && !text.contains("teller.digits"));
    let mut restored = bank.target();
    succeed(TARGET.program("psql").args([
        "-X",
        "-q",
        "-v",
        "ON_ERROR_STOP=1",
        "-d",
        &bank.restored(),
        "-f",
        &file,
    ]));
    bank.check(&mut restored);
}

#[test]
fn one_model_alone() {
    let bank = bank();
    let file = bank.dump("postgres", &["-Fc", "-t", &format!("{}.shop", bank.owner)]);
    let mut restored = bank.target();
    restored.run(&format!(
        "CREATE EXTENSION pg_teller; CREATE SCHEMA {owner} AUTHORIZATION {owner};
         GRANT USAGE ON SCHEMA {owner} TO {}",
        bank.clerk,
        owner = bank.owner
    ));
    restore(&bank.restored(), &file);
    let model = format!("{}.shop", bank.owner);
    let expected = answers(&mut bank.database.connect(), &model);
    assert_eq!(answers(&mut restored, &model), expected);
    bank.check_shop(&mut restored);
}

/// Who owns the database but is no superuser dumps and restores it all the same.
#[test]
fn by_an_owner_who_is_no_superuser() {
    let bank = bank();
    let mut root = bank.database.connect();
    root.run(&format!(
        "DROP SCHEMA demo, {} CASCADE; ALTER DATABASE {} OWNER TO {}",
        bank.clerk,
        bank.database.name(),
        bank.owner
    ));
    // The audit log is the superuser's to restore.
    let file = bank.dump(&bank.owner, &["-Fc", "--exclude-table-data=teller.audit_log*"]);
    let mut restored = bank.target();
    succeed(TARGET.program("pg_restore").args([
        "--exit-on-error",
        "-U",
        &bank.owner,
        "-d",
        &bank.restored(),
        &file,
    ]));
    let model = format!("{}.shop", bank.owner);
    assert_eq!(answers(&mut restored, &model), answers(&mut root, &model));
    assert_eq!(restored.column::<String>(GRANTS), root.column::<String>(GRANTS));
    bank.check_shop(&mut restored);
}

/// What a model started from is found by its name and known by its numbers.
#[test]
fn a_fine_tuned_model_finds_its_source_again() {
    let bank = bank();
    let mut owner = bank.database.connect_as("owner");
    for (model, source) in [("tuned", "scans"), ("read", "teller.digits")] {
        owner.run(&format!(
            r#"SELECT teller.train('{model}', 'image_classification',
                   'SELECT image, label FROM demo.scans WHERE id <= 40',
                   '{{"start_from": "{source}", "epochs": 1}}')"#
        ));
    }
    let file = bank.dump("postgres", &["-Fc"]);
    let mut restored = bank.target();
    restore(&bank.restored(), &file);
    restored.run(&format!("SET search_path = {}, public", bank.owner));
    for model in ["tuned", "read"] {
        restored.run(&format!("CALL teller.retrain('{model}')"));
        let digests: Vec<String> = restored
            .column(&format!("SELECT DISTINCT info->>'digest' FROM {model} WHERE part = ''"));
        assert_eq!(digests.len(), 1, "{model}");
    }
    // In another schema it is another's name.
    restored.run("CREATE SCHEMA moved; ALTER TABLE scans SET SCHEMA moved");
    let state = SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE;
    restored.refused("CALL teller.retrain('tuned')", &state);
    restored.run(r#"CALL teller.retrain('tuned', '{"start_from": "moved.scans"}')"#);
}
