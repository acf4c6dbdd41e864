//! Eight clients call two models while another session promotes and rolls back every 100 ms.
//!
//! For ten seconds, or as many as `TELLER_LOAD_SECONDS` says.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use postgres::{Client, SimpleQueryMessage};
use teller_tests::{Database, Statements};

use crate::{candidate, train, train_large, two_groups};

const MODELS: [&str; 2] = ["small", "large"];
const CLIENTS: usize = 8;

/// A version, and the microseconds before and after the statement that put it into production.
struct Promotion {
    version: i32,
    before: i64,
    after: i64,
}

/// What a statement saw: when it began and ended, and whose answers it got.
#[derive(Clone, Copy, Debug)]
struct Seen {
    began: i64,
    ended: i64,
    version: i32,
}

/// A database with the models `small` and `large`, of three versions each, and a table of what
/// every version answers.
fn database() -> Database<'static> {
    let database = Database::new();
    let mut client = database.connect();
    two_groups(&mut client);
    for algorithm in ["als", "svd"] {
        train(&mut client, "small", algorithm);
    }
    client.run(&candidate("small", "popular"));
    for shift in [31, 977, 53] {
        train_large(&mut client, "large", shift);
    }
    client.run("CREATE TABLE known (model text, version int, u int, answer text)");
    for model in MODELS {
        for version in 1..=3 {
            client.run(&format!("SELECT teller.promote('{model}', {version})"));
            client.run(&format!(
                "INSERT INTO known SELECT '{model}', {version}, u, answer FROM ({}) a",
                each_user(model)
            ));
        }
    }
    let distinct = "SELECT count(DISTINCT (model, u, answer)) FROM known";
    assert_eq!(client.value::<i64>(distinct), 2 * 3 * 20, "the answers tell the versions apart");
    client.run("ANALYZE known");
    database
}

/// A row `(u, answer)` for each of 20 users.
fn each_user(model: &str) -> String {
    format!(
        "SELECT u, string_agg(concat_ws(' ', rank, item_id, float4send(score)), ',' ORDER BY rank)
                       AS answer
         FROM generate_series(1, 20) u, LATERAL teller.recommend(u, 3 + 0 * u, '{model}')
         GROUP BY u"
    )
}

/// A row `(production, answered)` for each of 20 users: the versions that the table and the answer
/// tell.
fn versions(model: &str) -> String {
    format!(
        "SELECT (SELECT version FROM {model} WHERE status = 'production') AS production,
                coalesce(k.version, 0) AS answered
         FROM ({}) a LEFT JOIN known k ON (k.model, k.u, k.answer) = ('{model}', a.u, a.answer)",
        each_user(model)
    )
}

/// One row `(began, ended, version)`; the version is text where a statement saw more than one.
fn call(model: &str, began: &str) -> String {
    format!(
        "SELECT {}, {}, string_agg(DISTINCT answered || CASE WHEN answered <> production
                                       THEN ' instead of ' || production ELSE '' END, ' and ')
         FROM ({}) v",
        microseconds(began),
        microseconds("clock_timestamp()"),
        versions(model)
    )
}

fn microseconds(time: &str) -> String {
    format!("(extract(epoch FROM {time}) * 1000000)::bigint")
}

fn now(client: &mut Client) -> i64 {
    client.value(&format!("SELECT {}", microseconds("clock_timestamp()")))
}

/// Runs statements whose rows are those of [`call`].
fn seen(client: &mut Client, statements: &str) -> Vec<Seen> {
    let messages = client.simple_query(statements).unwrap_or_else(|error| {
        panic!("{statements}\n{error} {:?}", error.as_db_error());
    });
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    rows.map(|row| {
        let number = |column| row.get(column).unwrap().parse().unwrap();
        let version = row.get(2).unwrap();
        let version = version.parse().unwrap_or_else(|_| panic!("a statement saw {version}"));
        Seen { began: number(0), ended: number(1), version }
    })
    .collect()
}

/// The ways in which clients call; each returns what one round saw.
fn round(way: usize, client: &mut Client, database: &Database, model: &str) -> Vec<Seen> {
    match way {
        0 => seen(client, &call(model, "statement_timestamp()")),
        // A connection that has no model yet.
        1 => seen(&mut database.connect(), &call(model, "statement_timestamp()")),
        2 => seen(client, "EXECUTE ask"),
        3 => seen(client, "SELECT * FROM pg_temp.in_a_loop()"),
        4 => {
            client.run("SET force_parallel_mode = on");
            seen(client, &call(model, "statement_timestamp()"))
        }
        5 => {
            client.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
            let first = seen(client, &call(model, "statement_timestamp()"));
            std::thread::sleep(Duration::from_millis(150));
            let second = seen(client, &call(model, "statement_timestamp()"));
            client.run("COMMIT");
            assert_eq!(first[0].version, second[0].version, "in one transaction");
            first
        }
        6 => {
            let began = now(client);
            client.run(&format!("BEGIN; DECLARE rows CURSOR FOR {}", versions(model)));
            let ended = now(client);
            let mut rows = client.query("FETCH 5 FROM rows", &[]).unwrap();
            std::thread::sleep(Duration::from_millis(150));
            rows.extend(client.query("FETCH ALL FROM rows", &[]).unwrap());
            client.run("COMMIT");
            assert_eq!(rows.len(), 20);
            let version: i32 = rows[0].get("production");
            for row in rows {
                assert_eq!((row.get("production"), row.get("answered")), (version, version));
            }
            vec![Seen { began, ended, version }]
        }
        _ => {
            let began = now(client);
            client.run(&format!(
                "BEGIN; DECLARE held CURSOR WITH HOLD FOR {}; COMMIT",
                call(model, "statement_timestamp()")
            ));
            let seen = seen(client, "FETCH ALL FROM held");
            client.run("CLOSE held");
            seen.into_iter().map(|seen| Seen { began, ..seen }).collect()
        }
    }
}

fn prepare(client: &mut Client, model: &str) {
    client.run(&format!("PREPARE ask AS {}", call(model, "statement_timestamp()")));
    client.run(&format!(
        "CREATE FUNCTION pg_temp.in_a_loop() RETURNS TABLE (a bigint, b bigint, c text)
         LANGUAGE plpgsql AS $f$
         DECLARE began timestamptz;
         BEGIN
             FOR turn IN 1..5 LOOP
                 began := clock_timestamp();
                 RETURN QUERY {};
             END LOOP;
         END $f$",
        call(model, "began")
    ));
}

/// Promotes and rolls back until `until`, every 100 ms, and returns what was when in production.
fn promotions(client: &mut Client, until: Instant) -> Vec<[Promotion; 2]> {
    let changes = ["promote('{}', 1)", "promote('{}', 2)", "rollback('{}')", "promote('{}', 3)"];
    let mut done = Vec::new();
    for change in changes.iter().cycle() {
        let started = Instant::now();
        if started >= until {
            break;
        }
        done.push(MODELS.map(|model| {
            let before = now(client);
            let version = client.value(&format!("SELECT teller.{}", change.replace("{}", model)));
            Promotion { version, before, after: now(client) }
        }));
        std::thread::sleep(Duration::from_millis(100).saturating_sub(started.elapsed()));
    }
    done
}

/// Whether `seen` was in production at some time of the statement.
fn check(history: &[&Promotion], seen: &Seen) {
    let possible = history.iter().enumerate().any(|(index, promotion)| {
        let replaced = history.get(index + 1).map_or(i64::MAX, |next| next.after);
        promotion.version == seen.version
            && promotion.before <= seen.ended
            && replaced >= seen.began
    });
    assert!(possible, "{seen:?} was not in production then");
}

#[test]
fn calls_always_have_the_version_in_production() {
    let seconds = std::env::var("TELLER_LOAD_SECONDS").map_or(10, |text| text.parse().unwrap());
    let database = database();
    let start = now(&mut database.connect());
    let until = Instant::now() + Duration::from_secs(seconds);
    let failed = AtomicBool::new(false);
    let (promoted, seen) = std::thread::scope(|scope| {
        let promoter = scope.spawn(|| promotions(&mut database.connect(), until));
        let callers: Vec<_> = (0..CLIENTS)
            .map(|way| {
                let (database, failed) = (&database, &failed);
                scope.spawn(move || {
                    let _failing = FailOnPanic(failed);
                    let mut sessions = MODELS.map(|model| {
                        let mut client = database.connect();
                        prepare(&mut client, model);
                        client
                    });
                    let mut all = [Vec::new(), Vec::new()];
                    while Instant::now() < until && !failed.load(Ordering::Relaxed) {
                        for (index, model) in MODELS.iter().enumerate() {
                            all[index].extend(round(way, &mut sessions[index], database, model));
                        }
                    }
                    all
                })
            })
            .collect();
        let seen: Vec<_> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
        (promoter.join().unwrap(), seen)
    });
    let first = Promotion { version: 3, before: start, after: start };
    for (way, seen) in seen.iter().enumerate() {
        for (index, model) in MODELS.iter().enumerate() {
            let history: Vec<&Promotion> =
                std::iter::once(&first).chain(promoted.iter().map(|both| &both[index])).collect();
            seen[index].iter().for_each(|seen| check(&history, seen));
            let versions = |version| seen[index].iter().filter(|s| s.version == version).count();
            println!("{way} {model}: {:?}", [1, 2, 3].map(versions));
            assert!(!seen[index].is_empty());
        }
    }
    println!("{} promotions of each model", promoted.len());
    assert!(promoted.len() > 5);
}

/// Lets the others end early when a thread has failed.
struct FailOnPanic<'a>(&'a AtomicBool);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}
