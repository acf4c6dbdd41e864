//! Scans read in SQL: by the shipped digit model, and by the same network in PL/Python with Pillow
//! and ONNX Runtime, whose session is kept from call to call.

use std::fs;
use std::path::Path;
use std::process::Command;

use postgres::Client;
use teller_tests::{Server, Statements, repository};

use crate::models::Models;
use crate::report::{Figure, Report};
use crate::timing::{Taken, in_turns, milliseconds};

const SCANS: usize = 10_000;
const ROUNDS: usize = 9;
const OURS: &str = "SELECT avg((teller.classify_image(image) = label)::int) FROM scans";
const THEIRS: &str = "SELECT avg((classify_by_peer(image) = label)::int) FROM scans";

pub(crate) fn run(models: &Models, report: &Report) {
    report.subject("Reading 10,000 scans of 28 x 28: one of them");
    if !models.mnist() {
        return report.skipped("reading scans", "the images are absent");
    }
    let mut client = models.connect();
    client.run(&format!(
        "CREATE TABLE scans AS SELECT * FROM mnist ORDER BY hashint4(id) LIMIT {SCANS};
         ALTER TABLE scans SET (parallel_workers = 2);
         SET max_parallel_workers_per_gather = 0"
    ));
    client.run("VACUUM ANALYZE scans");
    milliseconds(&mut client, OURS);
    let peer = peer(&mut client);
    if let Err(why) = &peer {
        report.skipped("PL/Python with ONNX Runtime", why);
    }
    let asked = if peer.is_ok() { THEIRS } else { "SELECT 1" };
    let [ours, theirs] =
        in_turns(ROUNDS, |index| milliseconds(&mut client, [OURS, asked][index]) / SCANS as f64);
    if peer.is_ok() {
        let base = ("PL/Python", theirs.us());
        report.figure("PL/Python, Pillow, ONNX Runtime", theirs.us(), None);
        report.figure("teller.classify_image", ours.us(), Some(base));
        report.goal("its part of their time", part(ours, theirs), 0.36, None);
        let other: i64 = client.value(
            "SELECT count(*) FROM scans
             WHERE teller.classify_image(image) IS DISTINCT FROM classify_by_peer(image)",
        );
        let figure = Figure { value: other as f64, fastest: None, unit: "scans" };
        report.goal("answered otherwise", figure, 0.0, None);
    } else {
        report.figure("teller.classify_image", ours.us(), None);
    }
    parallel(&mut client, report);
}

/// One process and two: two parallel workers, for whom the leader waits.
fn parallel(client: &mut Client, report: &Report) {
    client.run("SET parallel_leader_participation = off");
    let set = |client: &mut Client, workers: usize| {
        client.run(&format!("SET max_parallel_workers_per_gather = {workers}"));
    };
    set(client, 2);
    let plan: Vec<String> = client.column(&format!("EXPLAIN {OURS}"));
    if !plan.iter().any(|line| line.contains("Workers Planned: 2")) {
        return report.skipped("parallel workers", &plan.join("\n"));
    }
    let [one, two] = in_turns(ROUNDS, |index| {
        set(client, 2 * index);
        milliseconds(client, OURS) / SCANS as f64
    });
    report.figure("one process", one.us(), None);
    report.figure("2 parallel workers", two.us(), Some(("one", one.us())));
    report.goal("their part of the time of one", part(two, one), 0.556, None);
}

fn part(ours: Taken, theirs: Taken) -> Figure {
    let fastest = Some(ours.fastest / theirs.fastest);
    Figure { value: ours.median / theirs.median, fastest, unit: "  " }
}

/// Makes `classify_by_peer(bytea)` from the weights of the shipped model; if it cannot be, why.
fn peer(client: &mut Client) -> Result<(), String> {
    let environment = repository().join("target/peers");
    let python = environment.join("bin/python");
    // In the server's folder, which its user can enter.
    let folder = Path::new(Server::shared().folder()).join("peer");
    fs::create_dir_all(&folder).unwrap();
    let arrays = client.query("SELECT layer, \"values\" FROM teller.weights('teller.digits')", &[]);
    for array in arrays.unwrap() {
        let (name, numbers): (String, Vec<f32>) = (array.get(0), array.get(1));
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        fs::write(folder.join(format!("{name}.f32")), bytes).unwrap();
    }
    let maker = repository().join("scripts/peers/digits_onnx.py");
    let made = Command::new(&python).arg(maker).arg(&folder).status();
    if !made.is_ok_and(|status| status.success()) {
        return Err(format!("{} does not do", python.display()));
    }
    let packages = fs::read_dir(environment.join("lib")).unwrap().next().unwrap().unwrap().path();
    let sql = format!(
        "CREATE EXTENSION IF NOT EXISTS plpython3u;
         CREATE OR REPLACE FUNCTION classify_by_peer(image bytea) RETURNS text
             STABLE PARALLEL SAFE STRICT LANGUAGE plpython3u AS $$
if 'session' not in GD:
    import sys
    sys.path.insert(0, '{packages}/site-packages')
    import io
    import numpy
    import onnxruntime
    from PIL import Image
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    GD['session'] = onnxruntime.InferenceSession(
        '{model}', options, providers=['CPUExecutionProvider'])
    GD['numpy'], GD['Image'], GD['BytesIO'] = numpy, Image, io.BytesIO
pixels = GD['numpy'].asarray(GD['Image'].open(GD['BytesIO'](image)), 'f4')
answer = GD['session'].run(None, {{'x': (pixels / 255)[None, None]}})[0]
return str(answer[0].argmax())
$$;
         SELECT classify_by_peer(image) FROM scans LIMIT 1",
        packages = packages.display(),
        model = folder.join("digits.onnx").display(),
    );
    client.batch_execute(&sql).map_err(|error| {
        error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
    })
}
