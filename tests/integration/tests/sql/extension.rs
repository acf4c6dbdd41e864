//! Installing and removing the extension.

use postgres::Client;
use teller_tests::{Database, Statements};

/// Everything that a `CREATE EXTENSION` can leave behind, by name.
fn objects(client: &mut Client) -> Vec<String> {
    let catalogs: Vec<String> = client.column(
        "SELECT oid::regclass::text FROM pg_class
         WHERE relkind = 'r' AND relnamespace = 'pg_catalog'::regnamespace AND NOT relisshared
             AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = pg_class.oid AND attname = 'oid')
             AND oid <> 'pg_largeobject_metadata'::regclass ORDER BY 1",
    );
    let each: Vec<String> = catalogs
        .iter()
        .map(|catalog| {
            format!(
                "SELECT '{catalog} ' || pg_describe_object('{catalog}'::regclass, oid, 0)
                 FROM {catalog}"
            )
        })
        .collect();
    client.column(&format!("{} ORDER BY 1", each.join(" UNION ALL ")))
}

#[test]
fn create_and_drop_leave_nothing_behind() {
    let mut client = Database::empty().connect();
    let before = objects(&mut client);
    client.run("CREATE EXTENSION pg_teller");
    assert!(objects(&mut client).len() > before.len());
    client.run("DROP EXTENSION pg_teller");
    let after = objects(&mut client);
    let left: Vec<_> = after.iter().filter(|object| !before.contains(object)).collect();
    assert!(left.is_empty(), "{left:#?}");
    assert_eq!(after.len(), before.len());
}

#[test]
fn every_function_and_view_says_what_it_is() {
    let mut client = Database::new().connect();
    let silent: Vec<String> = client.column(
        "SELECT pg_describe_object(classid, objid, 0) FROM pg_depend
         WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
             AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_teller')
             AND (classid = 'pg_proc'::regclass OR objid IN
                     (SELECT oid FROM pg_class WHERE relkind IN ('v', 'r')))
             AND obj_description(objid, classid::regclass::text) IS NULL",
    );
    assert!(silent.is_empty(), "without a COMMENT: {silent:#?}");
}

/// Whoever may create objects in a database may install the extension, and gets no more by it.
#[test]
fn it_is_trusted() {
    let database = Database::empty();
    let mut root = database.connect();
    let mut user = database.connect_as("user");
    let role = database.role("user");
    root.run(&format!(
        "DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO {role}', current_database()); END $$"
    ));
    user.run("CREATE EXTENSION pg_teller");
    let may_change: i64 = root.value(&format!(
        "SELECT count(*) FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
         WHERE d.refclassid = 'pg_extension'::regclass AND d.classid = 'pg_proc'::regclass
             AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_teller')
             AND p.proowner = '{role}'::regrole"
    ));
    assert_eq!(may_change, 0, "functions that the installing role owns and can replace");
    user.run("DROP EXTENSION pg_teller");
}
