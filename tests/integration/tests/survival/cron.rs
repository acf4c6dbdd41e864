//! Retraining by pg_cron, as the documents say.

use std::io::Write;
use std::time::{Duration, Instant};

use teller_tests::{Database, Server, Statements};

use crate::two_groups;

#[test]
fn a_job_of_pg_cron_retrains_as_a_role_with_no_more_than_it_needs() {
    let server = Server::start();
    let database = Database::on(&server);
    let mut owner = database.connect();
    let available = "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_cron')";
    if !owner.value::<bool>(available) {
        let _ = writeln!(std::io::stderr(), "skipped: this PostgreSQL has no pg_cron");
        return;
    }
    owner.run("ALTER SYSTEM SET shared_preload_libraries = 'pg_cron'");
    server.restart();
    // Its settings are known once it is loaded.
    let mut owner = database.connect();
    owner.run(&format!("ALTER SYSTEM SET cron.database_name = '{}'", database.name()));
    owner.run(&format!("ALTER SYSTEM SET cron.host = '{}'", server.folder()));
    server.restart();

    let mut owner = database.connect();
    two_groups(&mut owner);
    owner.run(
        r#"SELECT teller.train('m', 'recommendation', 'SELECT user_id, item_id FROM purchases',
               '{"factors": 4}')"#,
    );
    let role = database.role("retrainer");
    let mut cron = database.connect_as("retrainer");
    owner.run(&format!(
        "CREATE EXTENSION pg_cron; GRANT USAGE ON SCHEMA cron TO {role};
         GRANT INSERT ON m TO {role}"
    ));
    // The role may not read what the model is trained on, nor run the model.
    assert!(cron.simple_query("SELECT FROM public.purchases").is_err());
    cron.run("SELECT cron.schedule('nightly', '* * * * *', $$CALL teller.retrain('public.m')$$)");
    let start = Instant::now();
    let outcome = loop {
        let ended = "SELECT max(concat_ws(' ', status, username, return_message))
            FROM cron.job_run_details WHERE status IN ('succeeded', 'failed')";
        if let Some(outcome) = cron.value::<Option<String>>(ended) {
            break outcome;
        }
        assert!(start.elapsed() < Duration::from_secs(150), "the job did not run");
        std::thread::sleep(Duration::from_millis(200));
    };
    assert_eq!(outcome, format!("succeeded {role} CALL"));
    let versions: Vec<String> = owner.column(
        "SELECT concat_ws(' ', version, status, trained_by) FROM teller.model_versions
         WHERE model = 'm'::regclass ORDER BY version LIMIT 2",
    );
    assert_eq!(versions, ["1 production postgres".to_owned(), format!("2 candidate {role}")]);
    let same: bool = owner.value(
        "SELECT count(DISTINCT digest) = 1 FROM teller.model_versions WHERE model = 'm'::regclass",
    );
    assert!(same, "the rows are the same");
}
