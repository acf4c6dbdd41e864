//! A model's table is its owner's, and so is the code on it; a session's names are the session's.
//! Neither gets anything by that.

use postgres::Client;
use postgres::error::SqlState;
use teller_tests::{Database, Statements};

const DENIED: &SqlState = &SqlState::INSUFFICIENT_PRIVILEGE;
const STATE: &SqlState = &SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE;

/// A model `mallory.shop` with two versions, the second one in production, and whoever may train
/// it, promote and retire its versions.
struct Shop {
    database: Database<'static>,
    mallory: Client,
    victim: Client,
    root: Client,
    model: String,
    schema: String,
}

impl Shop {
    fn new() -> Self {
        let database = Database::new();
        let root = database.connect();
        let mut mallory = database.connect_as("mallory");
        let victim = database.connect_as("victim");
        let (schema, role) = (database.role("mallory"), database.role("victim"));
        super::two_groups(&mut mallory);
        super::train_purchases(&mut mallory, "shop", "popular");
        super::train_purchases(&mut mallory, "shop", "popular");
        mallory.run(&format!(
            "GRANT USAGE ON SCHEMA {schema} TO public;
             GRANT ALL ON shop TO {role};
             CREATE TABLE told (who text, what text);
             GRANT INSERT ON told TO public"
        ));
        let model = format!("{schema}.shop");
        Self { database, mallory, victim, root, model, schema }
    }

    /// All that writes to the model.
    fn changes(&self) -> [String; 4] {
        let model = &self.model;
        [
            format!(
                r#"SELECT teller.train('{model}', 'recommendation',
                       'SELECT 1 AS user_id, 2 AS item_id', '{{"algorithm": "popular"}}')"#
            ),
            format!("SELECT teller.promote('{model}', 1)"),
            format!("SELECT teller.rollback('{model}')"),
            format!("SELECT teller.drop_version('{model}', 1)"),
        ]
    }
}

/// Triggers, rules, constraints and index expressions run as their owner, whoever writes, and
/// cannot become who writes.
#[test]
fn code_on_the_table_runs_as_its_owner() {
    let mut shop = Shop::new();
    let schema = shop.schema.clone();
    shop.mallory.run(
        "CREATE FUNCTION tell(what text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN
             INSERT INTO SCHEMA.told VALUES (current_user, what);
             BEGIN
                 SET ROLE NONE;
                 INSERT INTO SCHEMA.told VALUES ('escaped', 'role');
             EXCEPTION WHEN OTHERS THEN NULL;
             END;
             BEGIN
                 SET SESSION AUTHORIZATION DEFAULT;
                 INSERT INTO SCHEMA.told VALUES ('escaped', 'authorization');
             EXCEPTION WHEN OTHERS THEN NULL;
             END;
             RETURN true;
         END$$;
         CREATE FUNCTION pretend(what text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
             $$BEGIN RETURN SCHEMA.tell(what); END$$;
         CREATE FUNCTION triggered() RETURNS trigger LANGUAGE plpgsql AS
             $$BEGIN PERFORM SCHEMA.tell(TG_NAME); RETURN coalesce(NEW, OLD); END$$;
         CREATE TRIGGER a_before BEFORE INSERT OR UPDATE OR DELETE ON shop
             FOR EACH ROW EXECUTE FUNCTION triggered();
         CREATE TRIGGER an_after AFTER INSERT OR UPDATE OR DELETE ON shop
             FOR EACH STATEMENT EXECUTE FUNCTION triggered();
         CREATE CONSTRAINT TRIGGER a_constraint AFTER INSERT OR UPDATE OR DELETE ON shop
             FOR EACH ROW EXECUTE FUNCTION triggered();
         ALTER TABLE shop ADD CONSTRAINT told CHECK (SCHEMA.tell('check'));
         ALTER TABLE shop ALTER COLUMN status SET DEFAULT SCHEMA.tell('default')::text;
         CREATE INDEX ON shop ((SCHEMA.pretend('index')));
         CREATE INDEX ON shop (version) WHERE SCHEMA.pretend('predicate');
         CREATE RULE ruled AS ON UPDATE TO shop DO ALSO
             INSERT INTO SCHEMA.told SELECT current_user, 'rule' WHERE SCHEMA.tell('condition')"
            .replace("SCHEMA", &schema)
            .as_str(),
    );
    let changes = shop.changes();
    let mallory = shop.database.role("mallory");
    for session in [&mut shop.victim, &mut shop.root] {
        // What she writes herself is none of this test.
        shop.mallory.run(
            "DELETE FROM shop WHERE version = 1;
             INSERT INTO shop SELECT 1, part, chunk, 'archived', info, payload FROM shop
                 WHERE version = 2 ORDER BY part DESC;
             TRUNCATE told",
        );
        for change in &changes {
            session.run(&format!("BEGIN; {change}; COMMIT"));
        }
        let who: Vec<String> = shop.mallory.column("SELECT DISTINCT who FROM told");
        assert_eq!(who, [mallory.as_str()]);
        for what in ["a_before", "an_after", "a_constraint", "check", "index", "predicate", "rule"]
        {
            let ran = format!("SELECT count(*) FROM told WHERE what = '{what}'");
            assert!(shop.mallory.value::<i64>(&ran) > 0, "{what} did not run");
        }
    }
    // Each session is who it was.
    let user: String = shop.victim.value("SELECT current_user::text");
    assert_eq!(user, shop.database.role("victim"));
}

/// A deferred trigger would run at the caller's COMMIT, as the caller.
#[test]
fn deferred_code_is_refused() {
    for deferred in [
        "CREATE CONSTRAINT TRIGGER late AFTER INSERT OR UPDATE OR DELETE ON shop
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION triggered()",
        "CREATE CONSTRAINT TRIGGER late AFTER INSERT OR UPDATE OR DELETE ON shop
             DEFERRABLE FOR EACH ROW EXECUTE FUNCTION triggered()",
    ] {
        let mut shop = Shop::new();
        shop.mallory.run(
            "CREATE FUNCTION triggered() RETURNS trigger LANGUAGE plpgsql SECURITY INVOKER AS
                 $$BEGIN INSERT INTO SCHEMA.told VALUES (current_user, TG_NAME); RETURN NULL; END$$"
                .replace("SCHEMA", &shop.schema)
                .as_str(),
        );
        shop.mallory.run(deferred);
        for change in shop.changes() {
            shop.root.run("BEGIN; SET CONSTRAINTS ALL DEFERRED");
            shop.root.refused(&change, DENIED);
            shop.root.run("ROLLBACK");
        }
        assert_eq!(shop.mallory.value::<i64>("SELECT count(*) FROM told"), 0);
    }
}

/// Whatever a session's search_path puts before us, we do not call it.
#[test]
fn names_that_shadow_ours_are_not_used() {
    let mut shop = Shop::new();
    let model = shop.model.clone();
    shop.root.run(
        "CREATE SCHEMA shadow;
         CREATE TABLE shadow.told (what text);
         CREATE FUNCTION shadow.tell(what text) RETURNS void LANGUAGE plpgsql AS $$BEGIN
             INSERT INTO shadow.told VALUES (what);
         EXCEPTION WHEN OTHERS THEN RAISE 'shadow: %', what;
         END$$;
         CREATE FUNCTION shadow.same(oid, oid) RETURNS boolean LANGUAGE plpgsql AS
             $$BEGIN PERFORM shadow.tell('= of oid'); RETURN true; END$$;
         CREATE OPERATOR shadow.= (FUNCTION = shadow.same, LEFTARG = oid, RIGHTARG = oid);
         CREATE FUNCTION shadow.same(int, int) RETURNS boolean LANGUAGE plpgsql AS
             $$BEGIN PERFORM shadow.tell('= of int'); RETURN true; END$$;
         CREATE OPERATOR shadow.= (FUNCTION = shadow.same, LEFTARG = int, RIGHTARG = int);
         CREATE FUNCTION shadow.same(text, text) RETURNS boolean LANGUAGE plpgsql AS
             $$BEGIN PERFORM shadow.tell('= of text'); RETURN true; END$$;
         CREATE OPERATOR shadow.= (FUNCTION = shadow.same, LEFTARG = text, RIGHTARG = text);
         CREATE FUNCTION shadow.sum(int, int) RETURNS int LANGUAGE plpgsql AS
             $$BEGIN PERFORM shadow.tell('+'); RETURN 7; END$$;
         CREATE OPERATOR shadow.+ (FUNCTION = shadow.sum, LEFTARG = int, RIGHTARG = int);
         CREATE TABLE shadow.pg_class (oid oid, reloftype oid);
         CREATE FUNCTION shadow.format(text, text) RETURNS text LANGUAGE sql AS
             $$SELECT shadow.tell('format'); SELECT 'SELECT 1'$$;
         CREATE FUNCTION shadow.has_column_privilege(regclass, text, text) RETURNS boolean
             LANGUAGE sql AS 'SELECT shadow.tell(''privilege''); SELECT true';
         CREATE TABLE shadow.audit_log (id int);
         GRANT ALL ON SCHEMA shadow TO public; GRANT ALL ON ALL TABLES IN SCHEMA shadow TO public",
    );
    let role = shop.database.role("victim");
    for session in [&mut shop.victim, &mut shop.root] {
        session.run("SET search_path = shadow, pg_catalog");
        session.run("CREATE TEMP TABLE pg_namespace (oid oid); CREATE TEMP TABLE models (x int)");
        for change in [
            format!(
                r#"SELECT teller.train('{model}', 'recommendation',
                       'SELECT 1 AS user_id, 2 AS item_id', '{{"algorithm": "popular"}}')"#
            ),
            format!("SELECT teller.promote('{model}', 1)"),
            format!("SELECT teller.rollback('{model}')"),
            "SELECT * FROM teller.models".to_owned(),
            "SELECT * FROM teller.model_versions".to_owned(),
            "SELECT * FROM teller.training_log".to_owned(),
            "SELECT * FROM teller.training_runs".to_owned(),
            format!("SELECT * FROM teller.recommend(1, 1, '{model}')"),
            format!(
                "SELECT * FROM teller.evaluate('{model}', 'SELECT 1 AS user_id, 4 AS item_id')"
            ),
        ] {
            session.run(&change);
        }
    }
    shop.mallory.run(&format!(
        "SET search_path = shadow, pg_catalog; SELECT teller.grant_usage('{model}', '{role}');
         SELECT teller.revoke_usage('{model}', '{role}')"
    ));
    let told: Vec<String> = shop.root.column("SELECT DISTINCT what FROM shadow.told");
    assert!(told.is_empty(), "{told:?}");
}

/// One model that cannot be read keeps nobody from seeing the others.
#[test]
fn nobodys_model_hides_the_others() {
    let shop = Shop::new();
    let Shop { database, mut mallory, mut victim, mut root, .. } = shop;
    let mut views = |what: &str| {
        for session in [&mut victim, &mut root] {
            for view in ["models", "model_versions", "training_log", "training_runs"] {
                let count = format!(
                    "SELECT count(*) FROM teller.{view} WHERE model = 'teller.digits'::regclass"
                );
                let row = session.query_one(&count, &[]);
                assert!(row.is_ok(), "{view} with {what}: {row:?}");
                let rows: i64 = row.unwrap().get(0);
                assert!(rows > 0 || view == "training_log", "{view} with {what}");
            }
        }
    };
    mallory.run(
        "CREATE TABLE odd OF teller.model (PRIMARY KEY (version, part, chunk));
         GRANT ALL ON odd TO public; INSERT INTO odd VALUES (1, '', 0, 'production')",
    );
    for info in [
        r#"'{"rows": 1e400}'"#,
        r#"('{"metrics": ' || repeat('[', 5000) || repeat(']', 5000) || '}')::jsonb"#,
        r#"'"text"'"#,
        r#"'{"task": 7, "trained_at": "9999999-01-01T00:00:00Z", "rows": -1, "seconds": "x"}'"#,
        r#"'{"trained_at": "2020-13-45T99:99:99Z", "metrics": null, "options": null}'"#,
    ] {
        let tampered = format!(
            "SET session_replication_role = replica; DELETE FROM {}.odd;
             INSERT INTO {0}.odd VALUES (1, '', 0, 'production', {info}), (1, 'log', 1, NULL, {info})",
            database.role("mallory")
        );
        database.connect().run(&tampered);
        views(info);
    }
    for change in [
        "ALTER TABLE odd ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE odd DISABLE ROW LEVEL SECURITY; ALTER TABLE odd DROP CONSTRAINT odd_pkey",
        "ALTER TABLE odd ALTER version DROP NOT NULL, ALTER part DROP NOT NULL,
                         ALTER chunk DROP NOT NULL;
         UPDATE odd SET version = NULL, chunk = NULL, status = NULL",
        "CREATE TABLE parts OF teller.model PARTITION BY LIST (version)",
        "CREATE TEMP TABLE mine OF teller.model (PRIMARY KEY (version, part, chunk));
         INSERT INTO mine SELECT * FROM teller.digits; GRANT ALL ON mine TO public",
        "ALTER TABLE odd SET UNLOGGED",
    ] {
        mallory.run(change);
        views(change);
    }
    // Nor does a lock on what the others may not run anyway.
    mallory.run("REVOKE ALL ON odd FROM public");
    mallory.run("BEGIN; LOCK TABLE odd");
    victim.run("SET statement_timeout = '5s'; SELECT * FROM teller.models");
}

/// A temporary model is its session's: others are told so.
#[test]
fn another_sessions_temporary_model() {
    let mut shop = Shop::new();
    shop.mallory.run(
        "CREATE TEMP TABLE mine OF teller.model (PRIMARY KEY (version, part, chunk));
         INSERT INTO mine SELECT * FROM shop; GRANT ALL ON mine TO public;
         SELECT * FROM teller.recommend(1, 1, 'mine')",
    );
    let oid: u32 = shop.mallory.value("SELECT 'mine'::regclass::oid");
    for session in [&mut shop.victim, &mut shop.root] {
        for call in [
            format!("SELECT * FROM teller.recommend(1, 1, {oid}::regclass)"),
            format!("SELECT teller.promote({oid}::regclass, 1)"),
        ] {
            let error = session.refused(&call, STATE);
            assert!(error.message().contains("another session"), "{error}");
        }
    }
}

/// What an owner may do to the shape of his table leads to right answers or to an error.
#[test]
fn altered_tables() {
    let mut shop = Shop::new();
    let call = format!("SELECT item_id FROM teller.recommend(1, 1, '{}')", shop.model);
    let truth: i64 = shop.victim.value(&call);
    let index = "(status) WHERE part = '' AND status = 'production'";
    let names: Vec<String> = shop.mallory.column(
        "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'shop'::regclass
         AND NOT indisprimary",
    );
    for alter in [
        // Without the index of production, or with others that lack rows or order.
        format!("DROP INDEX {}", names[0]),
        "CREATE UNIQUE INDEX ON shop (status) WHERE false".to_owned(),
        "CREATE UNIQUE INDEX ON shop (status) WHERE version > 100".to_owned(),
        format!("CREATE UNIQUE INDEX ON shop {index}"),
        "CREATE UNIQUE INDEX ON shop (version, part, chunk) WHERE false".to_owned(),
        "CREATE UNIQUE INDEX ON shop (version, part, chunk DESC)".to_owned(),
        r#"CREATE UNIQUE INDEX ON shop (version, part COLLATE "POSIX", chunk)"#.to_owned(),
        "CREATE UNIQUE INDEX ON shop (version, part) INCLUDE (chunk) WHERE version > 100"
            .to_owned(),
        // A key under another name, or of other columns first.
        "CREATE UNIQUE INDEX ON shop (chunk, version, part)".to_owned(),
        "ALTER TABLE shop DROP CONSTRAINT shop_pkey;
         ALTER TABLE shop ADD CONSTRAINT k UNIQUE (version, part, chunk)"
            .to_owned(),
        // Children are other tables.
        "CREATE TABLE child () INHERITS (shop);
         INSERT INTO child SELECT * FROM shop;
         UPDATE child SET version = 77 WHERE version = 2;
         CREATE TABLE wider (more int) INHERITS (shop)"
            .to_owned(),
        "ALTER TABLE shop REPLICA IDENTITY FULL; CLUSTER shop USING k".to_owned(),
        "ALTER TABLE shop ALTER payload SET STORAGE PLAIN, ALTER info SET COMPRESSION pglz"
            .to_owned(),
        "ALTER TABLE shop SET UNLOGGED".to_owned(),
    ] {
        shop.mallory.run(&alter);
        for session in [&mut shop.victim, &mut shop.root] {
            assert_eq!(session.value::<i64>(&call), truth, "{alter}");
        }
        let mut fresh = shop.database.connect();
        assert_eq!(fresh.value::<i64>(&call), truth, "{alter}");
    }
    shop.mallory.run("ALTER TABLE shop DROP CONSTRAINT k");
    shop.database.connect().refused(&call, STATE);
    shop.mallory.run("ALTER TABLE shop ADD PRIMARY KEY (version, part, chunk)");
    shop.database.connect().run(&call);

    // Two in production, where no index forbids it.
    shop.mallory.run(
        "DROP INDEX shop_status_idx, shop_status_idx1, shop_status_idx2;
         UPDATE shop SET status = 'production' WHERE part = ''",
    );
    shop.database.connect().refused(&call, &SqlState::DATA_CORRUPTED);
    shop.mallory.run("UPDATE shop SET status = 'archived' WHERE part = '' AND version = 1");
    assert_eq!(shop.database.connect().value::<i64>(&call), truth);
}

/// PostgreSQL itself refuses what would give a model other columns.
#[test]
fn a_models_columns_are_its_types() {
    let mut shop = Shop::new();
    for alter in [
        "ALTER TABLE shop ADD COLUMN more int",
        "ALTER TABLE shop DROP COLUMN info",
        "ALTER TABLE shop RENAME COLUMN info TO more",
        "ALTER TABLE shop ALTER COLUMN version TYPE bigint",
    ] {
        shop.mallory.refused(alter, &SqlState::WRONG_OBJECT_TYPE);
    }
    shop.mallory.run("CREATE TABLE parent (version int)");
    shop.mallory.refused("ALTER TABLE shop INHERIT parent", &SqlState::WRONG_OBJECT_TYPE);
    shop.mallory.run("CREATE TABLE parts OF teller.model PARTITION BY LIST (version)");
    shop.mallory.refused(
        "ALTER TABLE parts ATTACH PARTITION shop FOR VALUES IN (1)",
        &SqlState::WRONG_OBJECT_TYPE,
    );
    shop.mallory.run("CREATE TABLE part PARTITION OF parts FOR VALUES IN (1)");
    for model in ["parts", "part"] {
        shop.mallory.refused(
            &format!("SELECT * FROM teller.recommend(1, 1, '{model}')"),
            &SqlState::WRONG_OBJECT_TYPE,
        );
    }
    shop.victim.refused("ALTER TYPE teller.model ADD ATTRIBUTE more int CASCADE", DENIED);
    // As an upgrade may do it.
    shop.root.run("ALTER TYPE teller.model ADD ATTRIBUTE more int CASCADE");
    for change in shop.changes() {
        shop.victim.run(&change);
    }
    shop.victim.run(&format!("SELECT * FROM teller.recommend(1, 1, '{}')", shop.model));
}

/// Statistics, sizes and plans tell a role that may only run the model nothing of its rows.
#[test]
fn running_does_not_let_see() {
    let mut shop = Shop::new();
    let (model, role) = (shop.model.clone(), shop.database.role("victim"));
    shop.mallory.run(&format!(
        "ANALYZE shop; REVOKE ALL ON shop FROM {role}; GRANT SELECT (version) ON shop TO {role}"
    ));
    let seen: Vec<String> = shop
        .victim
        .column("SELECT attname::text FROM pg_stats WHERE tablename = 'shop' ORDER BY 1");
    assert_eq!(seen, ["version"]);
    for query in [
        format!("SELECT info FROM {model}"),
        format!("SELECT ctid FROM {model}"),
        format!("SELECT version FROM {model} WHERE info IS NULL"),
        format!("SELECT shop FROM {model}"),
    ] {
        shop.victim.refused(&query, DENIED);
    }
}
