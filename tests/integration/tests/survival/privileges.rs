//! Privileges where a plan, a cache, a function or another process might forget them.

use postgres::Client;
use postgres::error::SqlState;
use teller_tests::{Database, Statements};

use crate::{train, two_groups};

const DENIED: &SqlState = &SqlState::INSUFFICIENT_PRIVILEGE;

struct Shop {
    database: Database<'static>,
    root: Client,
    owner: Client,
    clerk: Client,
    owner_role: String,
    clerk_role: String,
    /// A call that answers.
    call: String,
}

/// A model `shop` of a role, and a clerk who finds it but may not run it.
fn shop() -> Shop {
    let database = Database::new();
    let root = database.connect();
    let mut owner = database.connect_as("owner");
    let clerk = database.connect_as("clerk");
    let (owner_role, clerk_role) = (database.role("owner"), database.role("clerk"));
    two_groups(&mut owner);
    train(&mut owner, "shop", "als");
    owner.run(&format!("GRANT USAGE ON SCHEMA {owner_role} TO public"));
    let call = format!("SELECT item_id FROM teller.recommend(1, 1, '{owner_role}.shop')");
    Shop { database, root, owner, clerk, owner_role, clerk_role, call }
}

impl Shop {
    fn grant(&mut self) {
        self.owner.run(&format!("GRANT SELECT (version) ON shop TO {}", self.clerk_role));
    }

    fn revoke(&mut self) {
        self.owner.run(&format!("REVOKE SELECT (version) ON shop FROM {}", self.clerk_role));
    }
}

#[test]
fn a_prepared_plan_and_a_filled_cache_do_not_outlive_a_revoke() {
    let mut shop = shop();
    shop.grant();
    shop.clerk.run(&format!("PREPARE ask AS {}", shop.call));
    for _ in 0..7 {
        shop.clerk.run("EXECUTE ask");
    }
    shop.revoke();
    shop.clerk.refused("EXECUTE ask", DENIED);
    shop.clerk.refused(&shop.call.clone(), DENIED);
    shop.grant();
    shop.clerk.run("EXECUTE ask");
    // Also inside a transaction that has used it.
    shop.clerk.run("BEGIN; EXECUTE ask");
    shop.revoke();
    shop.clerk.refused("EXECUTE ask", DENIED);
    shop.clerk.run("ROLLBACK");
}

/// PostgreSQL looks at today's privileges in a transaction of yesterday's snapshot.
#[test]
fn a_repeatable_read_transaction_does_not_outlive_a_revoke() {
    let mut shop = shop();
    shop.grant();
    shop.clerk.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    let call = shop.call.clone();
    shop.clerk.run(&call);
    shop.revoke();
    shop.clerk.refused(&call, DENIED);
    shop.clerk.run("ROLLBACK");
}

#[test]
fn a_definers_right_is_not_the_callers() {
    let mut shop = shop();
    shop.owner.run(&format!(
        "CREATE FUNCTION ask() RETURNS bigint STABLE SECURITY DEFINER LANGUAGE sql AS $${call}$$;
         CREATE FUNCTION ask_slowly() RETURNS bigint SECURITY DEFINER LANGUAGE plpgsql AS
             $$BEGIN RETURN ({call}); END$$;
         CREATE VIEW asked AS {call};
         GRANT SELECT ON asked TO public",
        call = shop.call
    ));
    let (owner, call) = (shop.owner_role.clone(), shop.call.clone());
    for function in ["ask", "ask_slowly"] {
        let ask = format!("SELECT {owner}.{function}()");
        assert_eq!(shop.clerk.value::<i64>(&ask), 4);
        // What the definer looked up in this very statement is not for the caller.
        for both in [
            format!("{ask}, ({call})"),
            format!("SELECT ({call}), {owner}.{function}()"),
            format!("SELECT {owner}.{function}(), ({call}) FROM generate_series(1, 3)"),
        ] {
            shop.clerk.refused(&both, DENIED);
        }
    }
    // A view lends its owner's rights on tables; functions in it are the caller's.
    let view = format!("TABLE {owner}.asked");
    shop.clerk.refused(&view, DENIED);
    shop.grant();
    assert_eq!(shop.clerk.value::<i64>(&view), 4);

    // A definer without the right does not borrow the caller's.
    let clerks = shop.clerk_role.clone();
    shop.clerk.run(&format!(
        "CREATE FUNCTION ask() RETURNS bigint STABLE SECURITY DEFINER LANGUAGE sql AS $${call}$$;
         GRANT USAGE ON SCHEMA {clerks} TO public"
    ));
    shop.revoke();
    shop.owner.refused(&format!("SELECT ({call}), {clerks}.ask()"), DENIED);
}

#[test]
fn parallel_workers_ask_for_the_same_role() {
    let mut shop = shop();
    let clerk = shop.clerk_role.clone();
    // A parallel worker is a process of its own, with a cache of its own.
    shop.root.run(&format!(
        "CREATE TABLE users AS SELECT u FROM generate_series(1, 20000) u; ANALYZE users;
         GRANT SELECT ON users TO {clerk}"
    ));
    let call = format!(
        "SELECT sum((SELECT item_id FROM teller.recommend(u % 40 + 1, 1, '{}.shop')))
         FROM public.users",
        shop.owner_role
    );
    for setting in [
        "SET parallel_setup_cost = 0",
        "SET parallel_tuple_cost = 0",
        "SET min_parallel_table_scan_size = 0",
        "SET force_parallel_mode = regress",
    ] {
        shop.clerk.run(setting);
    }
    let plan: Vec<String> = shop.clerk.column(&format!("EXPLAIN (VERBOSE) {call}"));
    assert!(plan.join("\n").contains("Workers Planned"), "{plan:#?}");
    shop.clerk.refused(&call, DENIED);
    shop.grant();
    shop.clerk.run(&call);
    // A role that was set is the role in the workers.
    shop.root.run(&format!("SET ROLE {clerk}; SET parallel_setup_cost = 0"));
    shop.root.run("SET force_parallel_mode = on; SET min_parallel_table_scan_size = 0");
    shop.root.run(&call);
    shop.revoke();
    shop.root.refused(&call, DENIED);
    shop.clerk.refused(&call, DENIED);
}

#[test]
fn the_model_follows_its_owner() {
    let mut shop = shop();
    let call = shop.call.clone();
    let heir = shop.clerk_role.clone();
    shop.owner.run(&call);
    shop.root.run(&format!("ALTER TABLE {}.shop OWNER TO {heir}", shop.owner_role));
    shop.owner.refused(&call, DENIED);
    shop.clerk.run(&call);
    shop.root.run(&format!("REASSIGN OWNED BY {heir} TO {}", shop.owner_role));
    shop.clerk.refused(&call, DENIED);
    shop.owner.run(&call);

    // Takes away what was granted to the clerk, and what he owns.
    shop.grant();
    shop.clerk.run(&call);
    shop.root.run(&format!("DROP OWNED BY {heir}"));
    shop.clerk.refused(&call, DENIED);
    shop.owner.run(&call);
    shop.root.run(&format!("DROP OWNED BY {}", shop.owner_role));
    shop.owner.refused(&call, &SqlState::INVALID_SCHEMA_NAME);
}

#[test]
fn renaming_roles_and_tables_changes_no_right() {
    let mut shop = shop();
    shop.grant();
    let (owner, clerk) = (shop.owner_role.clone(), shop.clerk_role.clone());
    let oid: u32 = shop.root.value(&format!("SELECT '{owner}.shop'::regclass::oid"));
    let call = format!("SELECT item_id FROM teller.recommend(1, 1, {oid}::regclass)");
    let mut stranger = shop.database.connect_as("stranger");
    let strange = shop.database.role("stranger");
    // The stranger gets the clerk's name, a table of his the model's: neither is a right.
    shop.root.run(&format!(
        "ALTER ROLE {clerk} RENAME TO {clerk}_before; ALTER ROLE {strange} RENAME TO {clerk};
         ALTER TABLE {owner}.shop RENAME TO shop_before;
         CREATE TABLE {owner}.shop (version int); GRANT SELECT ON {owner}.shop TO {clerk}"
    ));
    shop.clerk.run(&call);
    stranger.refused(&call, DENIED);
    stranger.refused(&shop.call, &SqlState::WRONG_OBJECT_TYPE);
    let by_name = format!("SELECT item_id FROM teller.recommend(1, 1, '{owner}.shop_before')");
    stranger.refused(&by_name, DENIED);
    shop.clerk.run(&by_name);
    shop.owner.run(&by_name);
}

#[test]
fn who_may_without_a_grant_on_the_model() {
    let mut shop = shop();
    let (call, owner, clerk) =
        (shop.call.clone(), shop.owner_role.clone(), shop.clerk_role.clone());
    let factors = format!("SELECT item_id FROM teller.item_factors('{owner}.shop')");
    let train = format!(
        "SELECT teller.train('{owner}.shop', 'recommendation',
             'SELECT 1 AS user_id, 2 AS item_id', '{{\"algorithm\": \"popular\"}}')"
    );
    let listed =
        format!("SELECT count(*) FROM teller.models WHERE model = '{owner}.shop'::regclass");
    let evaluate = format!(
        "SELECT * FROM teller.evaluate('{owner}.shop', 'SELECT 1 AS user_id, 4 AS item_id')"
    );
    for statement in [&call, &factors, &train, &evaluate] {
        shop.clerk.refused(statement, DENIED);
    }
    assert_eq!(shop.clerk.value::<i64>(&listed), 0);

    shop.root.run(&format!("GRANT pg_read_all_data TO {clerk}"));
    for statement in [&call, &factors, &evaluate] {
        shop.clerk.run(statement);
    }
    assert_eq!(shop.clerk.value::<i64>(&listed), 1);
    shop.clerk.refused(&train, DENIED);
    shop.root.run(&format!("REVOKE pg_read_all_data FROM {clerk}"));
    shop.clerk.refused(&call, DENIED);

    shop.root.run(&format!("ALTER ROLE {clerk} SUPERUSER"));
    let mut superuser = shop.database.connect_as("clerk");
    for statement in [&call, &factors, &evaluate, &train] {
        superuser.run(statement);
    }
    shop.root.run(&format!("ALTER ROLE {clerk} NOSUPERUSER"));
    superuser.refused(&call, DENIED);

    // Membership is the owner's right, as long as it is inherited.
    shop.root.run(&format!("GRANT {owner} TO {clerk}"));
    shop.clerk.run(&call);
    shop.root.run(&format!("ALTER ROLE {clerk} NOINHERIT"));
    shop.clerk.refused(&call, DENIED);
    shop.clerk.run(&format!("SET ROLE {owner}"));
    shop.clerk.run(&call);
    shop.clerk.run("RESET ROLE");
    shop.clerk.refused(&call, DENIED);
}
