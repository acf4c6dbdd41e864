//! Installing and removing the extension.

use teller_tests::{Database, Statements};

/// Everything in a database that a `CREATE EXTENSION` can leave behind.
const OBJECTS: &str = "
    SELECT count(*) FROM (
        SELECT oid FROM pg_class UNION ALL SELECT oid FROM pg_proc UNION ALL
        SELECT oid FROM pg_type UNION ALL SELECT oid FROM pg_namespace UNION ALL
        SELECT oid FROM pg_cast UNION ALL SELECT oid FROM pg_operator UNION ALL
        SELECT oid FROM pg_event_trigger UNION ALL SELECT oid FROM pg_trigger) AS o";

#[test]
fn create_and_drop_leave_nothing_behind() {
    let mut client = Database::empty().connect();
    let before: i64 = client.value(OBJECTS);
    client.run("CREATE EXTENSION pg_teller");
    assert!(client.value::<i64>(OBJECTS) > before);
    client.run("DROP EXTENSION pg_teller");
    assert_eq!(client.value::<i64>(OBJECTS), before);
    let grants: i64 = client.value(
        "SELECT count(*) FROM pg_default_acl UNION ALL
         SELECT count(*) FROM pg_init_privs p JOIN pg_namespace n ON n.oid = p.objoid
             WHERE n.nspname = 'teller' ORDER BY 1 DESC LIMIT 1",
    );
    assert_eq!(grants, 0);
}
