//! Every function and every view of the extension, by every kind of role: allowed or 42501.
//!
//! What the extension has is asked of the catalogs, so that nothing new comes without its row.

use std::collections::BTreeMap;

use postgres::Client;
use postgres::error::SqlState;
use teller_tests::{Database, Statements};

/// What a role needs to call a function, or to see a model's rows in a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Run,
    Read,
    Train,
    Promote,
    Retire,
    /// To own the model.
    Own,
    /// To read the audit log, which is granted or of `pg_read_all_data`.
    Audit,
    /// To be a superuser: it is the extension's own.
    Superuser,
    /// Nothing: it touches no model.
    Nothing,
}

use Need::*;

/// The roles, what they are granted on the models, and what that is good for.
const ROLES: [(&str, &str, &[Need]); 9] = [
    ("owner", "", &[Run, Read, Train, Promote, Retire, Own]),
    ("stranger", "", &[]),
    ("runner", "SELECT (version)", &[Run]),
    ("reader", "SELECT", &[Run, Read]),
    ("trainer", "INSERT", &[Train]),
    ("promoter", "UPDATE", &[Promote]),
    ("retirer", "DELETE", &[Retire]),
    ("all_reader", "pg_read_all_data", &[Run, Read, Audit]),
    ("root", "superuser", &[Run, Read, Train, Promote, Retire, Own, Audit, Superuser]),
];

fn may(role: &str, need: Need) -> bool {
    let (_, _, can) = ROLES.iter().find(|(name, ..)| *name == role).unwrap();
    need == Nothing || can.contains(&need)
}

/// All functions that are called as such: signature, what is needed, and a call of the models
/// `SCHEMA.shop` (version 1 archived, 2 in production, 3 a candidate), `SCHEMA.rated`,
/// `SCHEMA.scans`, `SCHEMA.intents`, `SCHEMA.walks`, `SCHEMA.people`, `SCHEMA.codes`,
/// `SCHEMA.pictures` and `SCHEMA.faces`.
const FUNCTIONS: [(&str, Need, &str); 68] = [
    ("classify_image(bytea,regclass)", Run, "classify_image(IMAGE, 'SCHEMA.scans')"),
    ("try_classify_image(bytea,regclass)", Run, "try_classify_image(IMAGE, 'SCHEMA.scans')"),
    ("image_probabilities(bytea,regclass)", Run, "image_probabilities(IMAGE, 'SCHEMA.scans')"),
    ("image_embedding(bytea,regclass)", Run, "image_embedding(IMAGE, 'SCHEMA.scans')"),
    ("classify_text(text,regclass)", Run, "classify_text('card', 'SCHEMA.intents')"),
    ("text_probabilities(text,regclass)", Run, "text_probabilities('card', 'SCHEMA.intents')"),
    ("text_embedding(text,regclass)", Run, "text_embedding('card', 'SCHEMA.intents')"),
    ("explain_text(text,regclass)", Run, "explain_text('card', 'SCHEMA.intents')"),
    (
        "classify_sequence(real[],regclass,real[])",
        Run,
        "classify_sequence('{{1,2}}', 'SCHEMA.walks', '{1}')",
    ),
    (
        "sequence_probabilities(real[],regclass,real[])",
        Run,
        "sequence_probabilities('{{1,2}}', 'SCHEMA.walks', '{1}')",
    ),
    ("confusion_matrix(regclass,integer)", Run, "confusion_matrix('SCHEMA.scans')"),
    ("class_metrics(regclass,integer)", Run, "class_metrics('SCHEMA.scans')"),
    ("encode(real[],regclass)", Run, "encode(ARRAY[1, 2]::real[], 'SCHEMA.codes')"),
    ("encode(bytea,regclass)", Run, "encode(IMAGE, 'SCHEMA.pictures')"),
    ("decode(real[],regclass)", Run, "decode(ARRAY[1, 2]::real[], 'SCHEMA.codes')"),
    ("reconstruct(real[],regclass)", Run, "reconstruct(ARRAY[1, 2]::real[], 'SCHEMA.codes')"),
    ("reconstruct(bytea,regclass)", Run, "reconstruct(IMAGE, 'SCHEMA.pictures')"),
    ("anomaly_score(real[],regclass)", Run, "anomaly_score(ARRAY[1, 2]::real[], 'SCHEMA.codes')"),
    ("anomaly_score(bytea,regclass)", Run, "anomaly_score(IMAGE, 'SCHEMA.pictures')"),
    (
        "interpolate(real[],real[],integer,regclass)",
        Run,
        "interpolate(ARRAY[1, 2]::real[], ARRAY[2, 1]::real[], 2, 'SCHEMA.codes')",
    ),
    (
        "interpolate(bytea,bytea,integer,regclass)",
        Run,
        "interpolate(IMAGE, IMAGE, 2, 'SCHEMA.pictures')",
    ),
    ("recommend(bigint,integer,regclass,bigint[],boolean)", Run, "recommend(1, 1, 'SCHEMA.shop')"),
    ("recommend(text,integer,regclass,text[],boolean)", Run, "recommend('1', 1, 'SCHEMA.shop')"),
    (
        "recommend_from(bigint[],integer,regclass,bigint[],boolean)",
        Run,
        "recommend_from(ARRAY[1], 1, 'SCHEMA.shop')",
    ),
    (
        "recommend_from(text[],integer,regclass,text[],boolean)",
        Run,
        "recommend_from(ARRAY['1'], 1, 'SCHEMA.shop')",
    ),
    (
        "recommend_among(bigint,text,integer,regclass,boolean)",
        Run,
        "recommend_among(1, 'SELECT 4', 1, 'SCHEMA.shop')",
    ),
    (
        "recommend_among(text,text,integer,regclass,boolean)",
        Run,
        "recommend_among('1', 'SELECT 4', 1, 'SCHEMA.shop')",
    ),
    (
        "recommend_from_among(bigint[],text,integer,regclass,boolean)",
        Run,
        "recommend_from_among(ARRAY[1], 'SELECT 4', 1, 'SCHEMA.shop')",
    ),
    (
        "recommend_from_among(text[],text,integer,regclass,boolean)",
        Run,
        "recommend_from_among(ARRAY['1'], 'SELECT 4', 1, 'SCHEMA.shop')",
    ),
    ("similar_items(bigint,integer,regclass,bigint[])", Run, "similar_items(1, 1, 'SCHEMA.shop')"),
    ("similar_items(text,integer,regclass,text[])", Run, "similar_items('1', 1, 'SCHEMA.shop')"),
    (
        "explain_recommendation(bigint,bigint,regclass)",
        Run,
        "explain_recommendation(1, 1, 'SCHEMA.shop')",
    ),
    (
        "explain_recommendation(text,text,regclass)",
        Run,
        "explain_recommendation('1', '1', 'SCHEMA.shop')",
    ),
    ("predict_rating(bigint,bigint,regclass)", Run, "predict_rating(1, 1, 'SCHEMA.rated')"),
    ("predict_rating(text,text,regclass)", Run, "predict_rating('1', '1', 'SCHEMA.rated')"),
    ("synthesize(regclass,integer,bigint,jsonb)", Run, "synthesize('SCHEMA.people', 1, 1)"),
    (
        "synthesize_into(regclass,regclass,integer,bigint,jsonb)",
        Run,
        "synthesize_into('SCHEMA.people', 'SCHEMA.made', 1, 1)",
    ),
    ("generate(regclass,integer,bigint,text)", Run, "generate('SCHEMA.faces', 1, 1)"),
    ("generate_images(regclass,integer,bigint,text)", Run, "generate_images('SCHEMA.faces', 1, 1)"),
    ("image_grid(bytea[])", Nothing, "image_grid(ARRAY[IMAGE])"),
    ("evaluate(regclass,text,integer)", Run, "evaluate('SCHEMA.shop', 'DATA')"),
    ("training_plot(regclass,integer)", Run, "training_plot('SCHEMA.shop')"),
    (
        "explain_image(bytea,regclass,text,text)",
        Run,
        "explain_image(IMAGE, 'SCHEMA.scans', method => 'grad_cam')",
    ),
    ("weights(regclass)", Read, "weights('SCHEMA.scans')"),
    ("user_factors(regclass)", Read, "user_factors('SCHEMA.shop')"),
    ("item_factors(regclass)", Read, "item_factors('SCHEMA.shop')"),
    (
        "train(text,text,text,jsonb)",
        Train,
        r#"train('SCHEMA.shop', 'recommendation', 'DATA', '{"algorithm": "popular"}')"#,
    ),
    ("fold_in(regclass,text,jsonb)", Train, "fold_in('SCHEMA.shop', 'DATA')"),
    ("retrain_check(regclass,integer)", Read, "retrain_check('SCHEMA.shop', 1)"),
    ("promote(regclass,integer)", Promote, "promote('SCHEMA.shop', 3)"),
    ("rollback(regclass)", Promote, "rollback('SCHEMA.shop')"),
    ("drop_version(regclass,integer)", Retire, "drop_version('SCHEMA.shop', 3)"),
    ("require_grant_option(regclass)", Own, "require_grant_option('SCHEMA.shop')"),
    ("grant_usage(regclass,regrole)", Own, "grant_usage('SCHEMA.shop', 'pg_monitor')"),
    ("revoke_usage(regclass,regrole)", Own, "revoke_usage('SCHEMA.shop', 'pg_monitor')"),
    ("describe_architecture(jsonb,integer)", Nothing, "describe_architecture('\"small\"')"),
    ("list_versions()", Nothing, "list_versions()"),
    ("list_lineage()", Nothing, "list_lineage()"),
    ("list_starts()", Nothing, "list_starts()"),
    ("list_trials()", Nothing, "list_trials()"),
    ("list_steps()", Nothing, "list_steps()"),
    ("list_runs()", Nothing, "list_runs()"),
    ("require_writer(regclass)", Own, "require_writer('SCHEMA.shop')"),
    ("create_model_table(text,text)", Nothing, "create_model_table('pg_temp', 'made')"),
    ("acting_role()", Nothing, "acting_role()"),
    (
        "append_audit(text,text,text,text,integer,integer,jsonb)",
        Superuser,
        "append_audit('a', 'b', 'c', 'd', 1, 2, NULL)",
    ),
    ("audit_access(text)", Superuser, "audit_access('x')"),
    ("verify_audit_log()", Audit, "verify_audit_log()"),
];

/// Functions that nobody calls, or that compute on their arguments alone.
const OTHER_FUNCTIONS: [&str; 7] = [
    "audit_command()",
    "audit_drop()",
    "audit_hash(teller.audit_log)",
    "guard_audit_log()",
    "guard_rows()",
    "guard_versions()",
    // A procedure, which has a test of its own below.
    "retrain(regclass,jsonb)",
];

/// All views and tables: what is needed to see rows of a model in them, and how to count those.
const RELATIONS: [(&str, Need, &str); 8] = [
    ("models", Run, "count(*) FROM teller.models WHERE model = 'SCHEMA.shop'::regclass"),
    (
        "model_versions",
        Run,
        "count(*) FROM teller.model_versions WHERE model = 'SCHEMA.shop'::regclass",
    ),
    (
        "training_log",
        Run,
        "count(*) FROM teller.training_log WHERE model = 'SCHEMA.shop'::regclass",
    ),
    (
        "training_runs",
        Run,
        "count(*) FROM teller.training_runs WHERE model = 'SCHEMA.shop'::regclass",
    ),
    ("audit_log", Audit, "count(*) FROM teller.audit_log"),
    ("known_access", Audit, "count(*) FROM teller.known_access"),
    ("model_access", Audit, "count(*) FROM teller.model_access"),
    // The shipped model, which everyone may read.
    ("digits", Nothing, "count(*) FROM teller.digits"),
];

/// Columns of views that tell of the training data.
const READERS_COLUMNS: [&str; 2] = ["options", "data"];

/// A PNG.
const GREY_PIXEL: &str = "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000\
    000a49444154789c636800000082008177cd72b60000000049454e44ae426082";

struct Models {
    roles: BTreeMap<&'static str, Client>,
    schema: String,
}

impl Models {
    fn new() -> Self {
        let database = Database::new();
        let mut root = database.connect();
        let mut owner = database.connect_as("owner");
        let schema = database.role("owner");
        super::two_groups(&mut owner);
        for algorithm in ["als", "als", "popular"] {
            super::train_purchases(&mut owner, "shop", algorithm);
        }
        super::train_purchases(&mut owner, "rated", "biased_mf");
        super::train_intents(&mut owner, "intents", "gru", 1);
        super::train_walks(&mut owner, "walks", "gru", 1);
        owner.run(
            "SELECT teller.promote('shop', 1), teller.promote('shop', 2);
             UPDATE shop SET status = 'candidate' WHERE part = '' AND version = 3;
             CREATE TABLE scans OF teller.model (PRIMARY KEY (version, part, chunk));
             INSERT INTO scans SELECT * FROM teller.digits;
             CREATE TABLE made AS SELECT 1 AS x, 1 AS y LIMIT 0;
             GRANT INSERT ON made TO public;
             SELECT teller.train('people', 'generation',
                 'SELECT i % 3 AS x, i % 2 AS y FROM generate_series(1, 200) i',
                 '{\"epochs\": 1, \"hidden\": 8, \"promote\": false}');
             SELECT teller.promote('people', 1)",
        );
        owner.run(&format!(
            r#"SELECT teller.train('codes', 'autoencoding',
                   'SELECT ARRAY[i, 2 * i]::real[] AS features FROM generate_series(1, 9) i',
                   '{{"hidden": 8, "latent": 2, "epochs": 1}}');
               SELECT teller.train('pictures', 'autoencoding',
                   'SELECT ''\x{GREY_PIXEL}''::bytea AS image FROM generate_series(1, 9)',
                   '{{"input": {{"height": 1, "width": 1}}, "hidden": 8, "epochs": 1}}');
               SELECT teller.train('faces', 'generation',
                   'SELECT ''\x{GREY_PIXEL}''::bytea AS image FROM generate_series(1, 9)',
                   '{{"algorithm": "gan", "input": {{"height": 2, "width": 2}}, "filters": 4,
                      "epochs": 1}}')"#
        ));
        owner.run(&format!("GRANT USAGE ON SCHEMA {schema} TO public"));
        let mut roles = BTreeMap::new();
        for (name, granted, _) in ROLES {
            let session = database.connect_as(name);
            let role = database.role(name);
            match granted {
                "" => {}
                "superuser" => root.run(&format!("ALTER ROLE {role} SUPERUSER")),
                "pg_read_all_data" => root.run(&format!("GRANT {granted} TO {role}")),
                _ => owner.run(&format!(
                    "GRANT {granted} ON shop, rated, scans, intents, walks, people, codes, pictures, faces TO {role}"
                )),
            }
            roles.insert(name, session);
        }
        Self { roles, schema }
    }

    fn fill(&self, text: &str) -> String {
        text.replace("SCHEMA", &self.schema)
            .replace("DATA", "SELECT 1 AS user_id, 4 AS item_id")
            .replace("IMAGE", &format!("'\\x{GREY_PIXEL}'::bytea"))
    }
}

/// Members of the extension that a query over its `pg_depend` lists.
fn members(client: &mut Client, class: &str, name: &str, filter: &str) -> Vec<String> {
    client.column(&format!(
        "SELECT replace({name}, 'teller.', '') FROM pg_depend d JOIN {class} c ON c.oid = d.objid
         WHERE d.classid = '{class}'::regclass AND d.deptype = 'e' AND {filter}
             AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_teller')
         ORDER BY 1"
    ))
}

fn sorted<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut names: Vec<_> = names.map(|name| name.replace("teller.", "")).collect();
    names.sort();
    names
}

#[test]
fn the_matrix_has_everything_that_the_extension_has() {
    let mut client = Database::new().connect();
    let functions = FUNCTIONS.iter().map(|(name, ..)| *name).chain(OTHER_FUNCTIONS);
    let mut there = members(&mut client, "pg_proc", "c.oid::regprocedure::text", "true");
    there.sort();
    assert_eq!(there, sorted(functions));
    let relations = RELATIONS.iter().map(|(name, ..)| *name);
    let mut there =
        members(&mut client, "pg_class", "c.oid::regclass::text", "c.relkind IN ('r', 'v', 'm')");
    there.sort();
    assert_eq!(there, sorted(relations));
}

#[test]
fn functions() {
    let mut models = Models::new();
    for (signature, need, call) in FUNCTIONS {
        let call = format!("SELECT * FROM teller.{}", models.fill(call));
        for (role, session) in &mut models.roles {
            session.run("BEGIN");
            if may(role, need) {
                let outcome = session.simple_query(&call);
                assert!(outcome.is_ok(), "{role} may not call {signature}: {outcome:?}");
            } else {
                let error = session.refused(&call, &SqlState::INSUFFICIENT_PRIVILEGE);
                assert!(!error.message().is_empty(), "{role} {signature}");
            }
            session.run("ROLLBACK");
        }
    }
}

#[test]
fn the_procedure() {
    let mut models = Models::new();
    let call = models.fill("CALL teller.retrain('SCHEMA.shop')");
    for (role, session) in &mut models.roles {
        if may(role, Train) {
            session.run(&call);
        } else {
            session.refused(&call, &SqlState::INSUFFICIENT_PRIVILEGE);
        }
    }
}

#[test]
fn views_and_tables() {
    let mut models = Models::new();
    for (relation, need, count) in RELATIONS {
        let count = format!("SELECT {}", models.fill(count));
        for (role, session) in &mut models.roles {
            if need == Audit && !may(role, need) {
                session.refused(&count, &SqlState::INSUFFICIENT_PRIVILEGE);
            } else {
                let seen: i64 = session.value(&count);
                assert_eq!(seen > 0, may(role, need), "{role} sees {seen} rows in {relation}");
            }
        }
    }
}

#[test]
fn what_tells_of_the_data_is_for_those_who_may_read() {
    let mut models = Models::new();
    for column in READERS_COLUMNS {
        let count = models.fill(&format!(
            "SELECT count({column}) FROM teller.model_versions WHERE model = 'SCHEMA.shop'::regclass"
        ));
        for (role, session) in &mut models.roles {
            let expected = if may(role, Read) { 3 } else { 0 };
            assert_eq!(session.value::<i64>(&count), expected, "{role} {column}");
        }
    }
}

/// The table itself, where PostgreSQL decides. (INSERT and DELETE by hand need SELECT besides, since
/// the triggers that guard versions look at the other rows.)
#[test]
fn the_table() {
    let mut models = Models::new();
    for (need, call) in [
        (Run, "SELECT count(version) FROM SCHEMA.shop"),
        (Read, "SELECT count(payload) FROM SCHEMA.shop"),
        (Read, "SELECT count(info) FROM SCHEMA.shop"),
        (Read, "SELECT count(shop) FROM SCHEMA.shop"),
        (Promote, "UPDATE SCHEMA.shop SET status = 'archived' WHERE false"),
        (Own, "TRUNCATE SCHEMA.shop"),
        (Own, "DROP TABLE SCHEMA.shop"),
        (Own, "ALTER TABLE SCHEMA.shop DISABLE TRIGGER ALL"),
    ] {
        let call = models.fill(call);
        for (role, session) in &mut models.roles {
            session.run("BEGIN");
            if may(role, need) {
                session.run(&call);
            } else {
                session.refused(&call, &SqlState::INSUFFICIENT_PRIVILEGE);
            }
            session.run("ROLLBACK");
        }
    }
}
