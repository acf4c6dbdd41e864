//! Recommenders in SQL: beside a lookup by primary key, beside implicit for all customers at once,
//! and how fast interactions are read.

use std::fs;
use std::path::Path;

use postgres::Client;
use teller_bench::{Folder, Peer};
use teller_tests::{Server, Statements, external, load_tsv, repository};

use crate::models::Models;
use crate::report::{Figure, Report};
use crate::timing::{in_turns, milliseconds, timed};

const LOOKUP: &str =
    "\\set id random(1, 943)\nSELECT rank, item_id, score FROM kept WHERE user_id = :id;";
const OURS: &str = "\\set id random(1, 943)\nSELECT * FROM teller.recommend(:id, 10, 'films');";
const SECONDS: &str = "3";
const ROWS: u64 = 5_000_000;

pub(crate) fn run(models: &Models, report: &Report) {
    let mut client = models.connect();
    one(models, &mut client, report);
    all(&mut client, report);
    reading(&mut client, report);
}

/// By pgbench with prepared statements, one client.
fn one(models: &Models, client: &mut Client, report: &Report) {
    report.subject("Ten films for a user of MovieLens 100K, by pgbench");
    let Some(file) = external("movielens100k_ratings.tsv") else {
        return report.skipped("recommend", "the ratings are absent");
    };
    load_tsv(client, "ratings", "user_id int, item_id int, rating int, time bigint", &file);
    client.run(
        r#"SELECT teller.train('films', 'recommendation',
               'SELECT user_id, item_id FROM ratings WHERE rating >= 4', '{"algorithm": "als"}');
           CREATE TABLE kept AS
               SELECT user_id, r.* FROM (SELECT DISTINCT user_id::bigint FROM ratings) u,
                      LATERAL teller.recommend(user_id, 10, 'films') r;
           ALTER TABLE kept ADD PRIMARY KEY (user_id, rank)"#,
    );
    client.run("VACUUM ANALYZE kept");
    let folder = Path::new(Server::shared().folder());
    let scripts = [("lookup.sql", LOOKUP), ("recommend.sql", OURS)].map(|(name, script)| {
        let path = folder.join(name);
        fs::write(&path, script).unwrap();
        path
    });
    let [lookup, ours] = in_turns(3, |index| {
        let mut pgbench = Server::shared().program("pgbench");
        pgbench.args(["-n", "-M", "prepared", "-T", SECONDS, "-f"]).arg(&scripts[index]);
        let output = pgbench.arg(models.name()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let latency = said.lines().find_map(|line| line.strip_prefix("latency average = "));
        latency
            .and_then(|ms| ms.trim_end_matches(" ms").parse().ok())
            .unwrap_or_else(|| panic!("{said}{}", String::from_utf8_lossy(&output.stderr)))
    });
    report.figure("a lookup by primary key of 10 rows", lookup.us(), None);
    report.figure("teller.recommend", ours.us(), None);
    let fastest = Some(ours.fastest / lookup.fastest);
    let part = Figure { value: ours.median / lookup.median, fastest, unit: "times" };
    report.goal("its part of a lookup", part, 1.3, None);
}

/// All customers in one statement, on two processes; implicit in one call, on two threads.
fn all(client: &mut Client, report: &Report) {
    report.subject("Ten of 20,000 items for each of 100,000 customers");
    client.run(
        r#"CREATE TABLE customers AS SELECT id FROM generate_series(0::bigint, 99999) id;
           ALTER TABLE customers SET (parallel_workers = 2);
           CREATE TABLE bought AS
               SELECT i % 100000 AS user_id, floor(20000 * power(random(), 3))::bigint AS item_id
               FROM generate_series(1::bigint, 2000000) i;
           SELECT teller.train('shop', 'recommendation', 'SELECT user_id, item_id FROM bought',
                               '{"algorithm": "als", "iterations": 5}');
           SET max_parallel_workers_per_gather = 2"#,
    );
    client.run("VACUUM ANALYZE customers");
    let asked = "SELECT count(r.score) FROM customers c,
                        LATERAL teller.recommend(c.id, 10, 'shop', include_seen => true) r";
    let plan: Vec<String> = client.column(&format!("EXPLAIN {asked}"));
    let workers = plan.iter().any(|line| line.contains("Workers Planned"));
    report.figure(
        "processes",
        Figure { value: if workers { 2.0 } else { 1.0 }, fastest: None, unit: "  " },
        None,
    );
    let folder = Folder::new("shop");
    for side in ["user", "item"] {
        let factors: Vec<Vec<f32>> =
            client.column(&format!("SELECT factors FROM teller.{side}_factors('shop') ORDER BY 1"));
        folder.write(&format!("{side}s"), &factors.concat());
    }
    let scripts = repository().join("crates/recommend/benches/recommend/peers");
    let Some(mut peer) = Peer::start(&scripts, "recommend_peer.py", 2, &folder) else {
        let [ours] = in_turns(3, |_| milliseconds(client, asked));
        return report.figure("in SQL", ours.ms(), None);
    };
    peer.ask("factors 64");
    let [ours, theirs] = in_turns(3, |index| match index {
        0 => milliseconds(client, asked),
        _ => peer.ask("batch 10") * 1e3,
    });
    report.figure("implicit's batch", theirs.ms(), None);
    report.figure("in SQL", ours.ms(), None);
    let fastest = Some(ours.fastest / theirs.fastest);
    let part = Figure { value: ours.median / theirs.median, fastest, unit: "  " };
    report.goal("its part of their time", part, 0.6, None);
}

/// A training that does nothing but read.
fn reading(client: &mut Client, report: &Report) {
    report.subject("Reading interactions");
    client.run(&format!(
        "CREATE UNLOGGED TABLE events AS
             SELECT i % 250000 AS user_id, i * 7919 % 100000 AS item_id
             FROM generate_series(1::bigint, {ROWS}) i;
         SET teller.max_training_memory = '4GB'"
    ));
    let taken = timed(|| {
        client.run(
            r#"SELECT teller.train('read', 'recommendation', 'SELECT user_id, item_id FROM events',
                                   '{"algorithm": "popular"}')"#,
        );
    });
    let figure = Figure { value: taken * 1e6 / ROWS as f64, fastest: None, unit: "ns" };
    report.goal("a row, of 5,000,000", figure, 1000.0, None);
}
