//! A database of a released version, brought to this one with its models in place.

use postgres::Client;
use teller_tests::{Database, Statements};

use crate::{train_purchases, two_groups};

/// What the extension consists of, to the letter: definitions, comments and privileges.
fn schema(client: &mut Client) -> Vec<String> {
    client.column(
        "SELECT concat_ws(E'\\n', pg_describe_object(classid, objid, objsubid),
             CASE classid
                 WHEN 'pg_proc'::regclass THEN pg_get_functiondef(objid)
                 WHEN 'pg_class'::regclass THEN coalesce(
                     (SELECT pg_get_viewdef(oid) FROM pg_class WHERE oid = objid AND relkind = 'v'),
                     (SELECT string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod),
                                 attnotnull, attstorage), ', ' ORDER BY attnum)
                      FROM pg_attribute WHERE attrelid = objid AND attnum > 0),
                     '')
                 WHEN 'pg_event_trigger'::regclass THEN
                     (SELECT concat_ws(' ', evtevent, evttags, evtfoid::regproc)
                      FROM pg_event_trigger WHERE oid = objid)
             END,
             (SELECT string_agg(pg_get_triggerdef(oid), E'\\n' ORDER BY tgname) FROM pg_trigger
              WHERE tgrelid = objid AND classid = 'pg_class'::regclass),
             (SELECT string_agg(indexdef, E'\\n' ORDER BY indexdef) FROM pg_indexes
              WHERE classid = 'pg_class'::regclass
                  AND format('%I.%I', schemaname, tablename)::regclass = objid),
             (SELECT relacl::text FROM pg_class
              WHERE oid = objid AND classid = 'pg_class'::regclass),
             (SELECT proacl::text FROM pg_proc WHERE oid = objid AND classid = 'pg_proc'::regclass),
             obj_description(objid, classid::regclass::text))
         FROM pg_depend
         WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
             AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_teller')
         ORDER BY 1",
    )
}

#[test]
fn an_upgraded_database_is_as_a_fresh_one_and_keeps_its_models() {
    let mut fresh = Database::new().connect();
    let current: String =
        fresh.value("SELECT extversion FROM pg_extension WHERE extname = 'pg_teller'");
    let released: Vec<String> = fresh.column(&format!(
        "SELECT version FROM pg_available_extension_versions
         WHERE name = 'pg_teller' AND version <> '{current}'"
    ));
    assert!(released.contains(&"0.1.0".to_owned()), "{released:?}");
    for version in released {
        let mut client = Database::empty().connect();
        client.run(&format!("CREATE EXTENSION pg_teller VERSION '{version}'"));
        two_groups(&mut client);
        // The model of the old release, made by its own means: numbers of a model made here.
        client.run("SELECT teller.create_model_table('public', 'm')");
        let mut newer = Database::new().connect();
        two_groups(&mut newer);
        train_purchases(&mut newer, "m", "als");
        let rows = newer
            .query(
                "SELECT version, part, chunk, status, info::text, payload FROM m
                 WHERE version = 1 ORDER BY part = '', part, chunk",
                &[],
            )
            .unwrap();
        for row in &rows {
            let (info, payload): (Option<String>, Option<Vec<u8>>) = (row.get(4), row.get(5));
            client
                .execute(
                    "INSERT INTO m VALUES ($1, $2, $3, $4, $5::text::jsonb, $6)",
                    &[
                        &row.get::<_, i32>(0),
                        &row.get::<_, String>(1),
                        &row.get::<_, i32>(2),
                        &row.get::<_, Option<String>>(3),
                        &info,
                        &payload,
                    ],
                )
                .unwrap();
        }
        let answers = "SELECT user_id || ' ' || item_id || ' ' || score
                       FROM generate_series(1, 40) user_id, teller.recommend(user_id, 3, 'm')
                       ORDER BY 1";
        let expected: Vec<String> = newer.column(answers);
        assert_eq!(client.column::<String>(answers), expected, "before the upgrade");

        client.run("ALTER EXTENSION pg_teller UPDATE");
        let upgraded: String =
            client.value("SELECT extversion FROM pg_extension WHERE extname = 'pg_teller'");
        assert_eq!(upgraded, current);
        assert_eq!(client.column::<String>(answers), expected, "after the upgrade");
        assert_eq!(schema(&mut client), schema(&mut fresh), "from {version}");

        train_purchases(&mut client, "m", "popular");
        assert_eq!(client.value::<i32>("SELECT teller.promote('m', 1)"), 1);
        assert_eq!(client.value::<i32>("SELECT teller.rollback('m')"), 2);
        client.run("GRANT SELECT ON m TO public");
        let logged: i64 =
            client.value("SELECT count(*) FROM teller.audit_log WHERE action = 'grant'");
        assert_eq!(logged, 1);
    }
}

/// A version that says nothing of its arithmetic answers by that of the release that made it; its
/// last bits are others.
#[test]
fn a_version_of_an_older_release_answers_by_its_own_arithmetic() {
    let mut client = Database::with_demo().connect();
    client.run(
        "SELECT teller.create_model_table('public', 'old');
         INSERT INTO old SELECT version, part, chunk, status,
             info #- '{model,arithmetic}', payload
         FROM teller.digits WHERE version = 1 ORDER BY part = '', part, chunk",
    );
    let (same, near): (bool, bool) = {
        let row = client
            .query_one(
                "SELECT bool_and(old.probability = new.probability),
                     bool_and(abs(old.probability - new.probability) < 1e-4)
                 FROM demo.scans, teller.image_probabilities(image, 'old') AS old
                 JOIN LATERAL teller.image_probabilities(image, 'teller.digits') AS new USING (label)
                 WHERE id < 100",
                &[],
            )
            .unwrap();
        (row.get(0), row.get(1))
    };
    assert!(near && !same);
}
