//! Who may do what with a model is what the table's privileges say.

use postgres::error::SqlState;
use teller_tests::{Database, Statements};

const RECOMMEND: &str = "SELECT item_id FROM teller.recommend(1, 1, $1::text::regclass)";

#[test]
fn running_reading_and_training_are_granted_one_by_one() {
    let database = Database::new();
    let mut owner = database.connect_as("owner");
    let mut other = database.connect_as("other");
    let (schema, role) = (database.role("owner"), database.role("other"));
    super::two_groups(&mut owner);
    super::train_purchases(&mut owner, "shop", "als");
    let model = format!("{schema}.shop");
    let recommend = RECOMMEND.replace("$1", &format!("'{model}'"));
    let factors = format!("SELECT * FROM teller.item_factors('{model}')");
    let train = format!(
        "SELECT teller.train('{model}', 'recommendation', 'SELECT 1 AS user_id, 2 AS item_id')"
    );
    let denied = &SqlState::INSUFFICIENT_PRIVILEGE;

    owner.run(&format!("GRANT USAGE ON SCHEMA {schema} TO {role}"));
    other.refused(&recommend, denied);
    owner.run(&format!("GRANT SELECT (version) ON shop TO {role}"));
    assert_eq!(other.value::<i64>(&recommend), 4);

    other.refused(&factors, denied);
    other.refused(&format!("SELECT payload FROM {model}"), denied);
    owner.run(&format!("GRANT SELECT ON shop TO {role}"));
    assert_eq!(other.column::<String>(&factors.replace('*', "item_id")).len(), 10);

    other.refused(&train, denied);

    owner.run(&format!("REVOKE ALL ON shop FROM {role}"));
    owner.run(&format!("REVOKE SELECT (version) ON shop FROM {role}"));
    other.refused(&recommend, denied);
}

#[test]
fn training_needs_a_schema_and_the_data() {
    let database = Database::new();
    let mut root = database.connect();
    super::two_groups(&mut root);
    let mut other = database.connect_as("other");
    let train = "SELECT teller.train('m', 'recommendation', 'SELECT * FROM public.purchases')";
    other.refused(train, &SqlState::INSUFFICIENT_PRIVILEGE);
    root.run("GRANT SELECT ON purchases TO public");
    other.refused(&train.replace("'m'", "'teller.m'"), &SqlState::INSUFFICIENT_PRIVILEGE);
    other.run(train);
}

#[test]
fn the_shipped_model_is_everyones_to_run_and_nobodys_to_change() {
    let database = Database::with_demo();
    let mut root = database.connect();
    root.run("GRANT USAGE ON SCHEMA demo TO public; GRANT SELECT ON demo.scans TO public");
    let mut other = database.connect_as("other");
    let label: String =
        other.value("SELECT teller.classify_image(image) FROM demo.scans WHERE id = 1");
    assert_eq!(label.len(), 1);
    for change in ["DELETE FROM teller.digits", "DROP TABLE teller.digits"] {
        other.refused(change, &SqlState::INSUFFICIENT_PRIVILEGE);
    }
}

#[test]
fn a_role_cannot_train_with_anothers_rights() {
    let database = Database::new();
    let mut owner = database.connect_as("owner");
    let mut other = database.connect_as("other");
    super::two_groups(&mut owner);
    super::train_purchases(&mut owner, "shop", "als");
    let (schema, role) = (database.role("owner"), database.role("other"));
    owner.run(&format!(
        "GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT INSERT, SELECT ON shop TO {role};
         CREATE TABLE secret AS SELECT 1::bigint AS user_id, 1::bigint AS item_id"
    ));
    // The data of a model is read with the rights of the one who asks or of the model's owner,
    // but the owner's rights are not for others to point at what they like.
    other.refused(
        &format!(
            "SELECT teller.train('{schema}.shop', 'recommendation',
                 'SELECT * FROM {schema}.secret')"
        ),
        &SqlState::INSUFFICIENT_PRIVILEGE,
    );
}
