//! Training: what it leaves, what a ROLLBACK leaves, what it says meanwhile.

use teller_tests::{Database, Statements};

#[test]
fn a_model_is_a_table_of_the_callers_schema() {
    let database = Database::new();
    let mut client = database.connect_as("ann");
    super::two_groups(&mut client);
    super::train_purchases(&mut client, "shop", "als");
    let row = client
        .query_one(
            "SELECT c.relnamespace::regnamespace::text, c.relowner::regrole::text,
                    c.reloftype::regtype::text,
                    (SELECT attstorage::text FROM pg_attribute
                     WHERE attrelid = c.oid AND attname = 'payload'),
                    (SELECT count(*) FROM pg_trigger WHERE tgrelid = c.oid),
                    (SELECT count(*) FROM pg_index WHERE indrelid = c.oid AND indisprimary)
             FROM pg_class c WHERE c.oid = 'shop'::regclass",
            &[],
        )
        .unwrap();
    assert_eq!(row.get::<_, String>(0), database.role("ann"));
    assert_eq!(row.get::<_, String>(1), database.role("ann"));
    assert_eq!(row.get::<_, String>(2), "teller.model");
    assert_eq!(row.get::<_, String>(3), "e");
    assert!(row.get::<_, i64>(4) > 0, "no guard trigger");
    assert_eq!(row.get::<_, i64>(5), 1);
}

#[test]
fn the_first_version_goes_into_production_and_later_ones_count_up() {
    let mut client = Database::new().connect();
    super::two_groups(&mut client);
    let train = "SELECT version, status, model::text FROM teller.train('shop', 'recommendation',
                     'SELECT user_id, item_id FROM purchases', '{\"factors\": 4}')";
    let first = client.query_one(train, &[]).unwrap();
    assert_eq!(
        (first.get(0), first.get(1), first.get(2)),
        (1, "production".to_owned(), "shop".to_owned())
    );
    let second = client.query_one(train, &[]).unwrap();
    assert_eq!(second.get::<_, i32>(0), 2);
    let in_production: i64 =
        client.value("SELECT count(*) FROM shop WHERE part = '' AND status = 'production'");
    assert_eq!(in_production, 1);
}

#[test]
fn names_may_carry_a_schema_and_need_quoting() {
    let mut client = Database::new().connect();
    super::two_groups(&mut client);
    client.run("CREATE SCHEMA \"Risk Models\"");
    super::train_purchases(&mut client, "\"Risk Models\".\"Next Best Offer\"", "als");
    let item: i64 = client
        .value("SELECT item_id FROM teller.recommend(1, 1, '\"Risk Models\".\"Next Best Offer\"')");
    assert_eq!(item, 4);
}

#[test]
fn rollback_leaves_nothing() {
    let mut client = Database::new().connect();
    super::two_groups(&mut client);
    client.run("BEGIN");
    super::train_purchases(&mut client, "shop", "als");
    let item: i64 = client.value("SELECT item_id FROM teller.recommend(1, 1, 'shop')");
    assert_eq!(item, 4, "a model serves inside the transaction that trained it");
    client.run("ROLLBACK");
    assert_eq!(client.value::<Option<String>>("SELECT to_regclass('shop')::text"), None);
    let models: i64 = client.value(
        "SELECT count(*) FROM pg_class WHERE reloftype = 'teller.model'::regtype
             AND oid <> 'teller.digits'::regclass",
    );
    assert_eq!(models, 0);

    // A second version goes alone, and the first one serves on.
    super::train_purchases(&mut client, "shop", "als");
    client.run("BEGIN; SAVEPOINT before");
    super::train_purchases(&mut client, "shop", "popular");
    client.run("ROLLBACK TO before; COMMIT");
    assert_eq!(client.column::<i32>("SELECT version FROM shop WHERE part = ''"), [1]);
    let item: i64 = client.value("SELECT item_id FROM teller.recommend(1, 1, 'shop')");
    assert_eq!(item, 4);
}

#[test]
fn each_sweep_is_reported() {
    let database = Database::new();
    let (mut client, notices) = database.connect_listening();
    super::two_groups(&mut client);
    client.run(
        "SELECT teller.train('shop', 'recommendation',
             'SELECT user_id, item_id FROM purchases', '{\"factors\": 4, \"iterations\": 3}')",
    );
    let said: Vec<String> =
        notices.try_iter().filter(|n| n.severity() == "INFO").map(|n| n.message().into()).collect();
    assert!(said.len() >= 3, "{said:#?}");
    assert!(said.iter().any(|line| line.contains("loss")), "{said:#?}");
}

#[test]
fn a_finished_version_is_immutable() {
    let mut client = Database::new().connect();
    super::two_groups(&mut client);
    super::train_purchases(&mut client, "shop", "als");
    for change in [
        "UPDATE shop SET payload = '' WHERE payload IS NOT NULL",
        "UPDATE shop SET info = '{}' WHERE part = ''",
        "UPDATE shop SET version = 7",
        "DELETE FROM shop WHERE part <> ''",
    ] {
        let error = client.simple_query(change).expect_err(change);
        assert!(error.as_db_error().is_some(), "{change}: {error}");
    }
    let item: i64 = client.value("SELECT item_id FROM teller.recommend(1, 1, 'shop')");
    assert_eq!(item, 4);
    client.run("DROP TABLE shop");
}

#[test]
fn a_view_keeps_its_model_and_follows_its_name() {
    let mut client = Database::new().connect();
    super::two_groups(&mut client);
    super::train_purchases(&mut client, "shop", "als");
    client.run("CREATE VIEW offers AS SELECT * FROM teller.recommend(1, 1, 'shop')");
    client.run("ALTER TABLE shop RENAME TO store");
    assert_eq!(client.value::<i64>("SELECT item_id FROM offers"), 4);
    client.refused("DROP TABLE store", &postgres::error::SqlState::DEPENDENT_OBJECTS_STILL_EXIST);
    client.refused(
        "DROP EXTENSION pg_teller",
        &postgres::error::SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
    );
}
