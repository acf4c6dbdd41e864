//! From a call's arguments to the version that answers it: once a statement, then once a row.
//!
//! With a NULL user the call returns before it resolves anything; with an unknown one and no
//! candidates it resolves the version, looks the user up and returns no rows. The difference is no
//! less than the resolving.

use teller_tests::Statements;

use crate::models::Models;
use crate::report::Report;
use crate::timing::{in_turns, milliseconds, timed};

const ROWS: u32 = 200_000;

pub(crate) fn run(models: &Models, report: &Report) {
    report.subject("Resolving a version");
    let mut client = models.connect();
    client.run(
        r#"CREATE TABLE had AS VALUES (1::bigint, 1::bigint), (1, 2), (2, 1);
           SELECT teller.train('tiny', 'recommendation',
               'SELECT column1 AS user_id, column2 AS item_id FROM had',
               '{"algorithm": "popular"}')"#,
    );
    let call = client.prepare("SELECT FROM teller.recommend($1::bigint, 1, 'tiny', '{}')").unwrap();
    let users = [Some(7i64), None];
    let [with, without] =
        in_turns(4001, |index| timed(|| client.execute(&call, &[&users[index]]).unwrap()));
    let rows = [0, ROWS].map(|last_null| {
        format!(
            "SELECT count(*)
             FROM generate_series(1, {ROWS}) n,
                 LATERAL (SELECT CASE WHEN n > {last_null} THEN 7::bigint END AS user_id) u,
                 LATERAL teller.recommend(user_id, 1, 'tiny', '{{}}')"
        )
    });
    let [rows_with, rows_without] =
        in_turns(15, |index| milliseconds(&mut client, &rows[index]) / f64::from(ROWS));
    let row = rows_with.more_than(rows_without);
    let statement = with.more_than(without).more_than(row);
    report.figure("a statement of a NULL user", without.us(), None);
    report.goal("more to resolve the version", statement.us(), 2.0, None);
    report.figure("a row of a NULL user", rows_without.ns(), None);
    report.goal("more to have the version and look the user up", row.ns(), 50.0, None);
}
