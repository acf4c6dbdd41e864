//! Generators of table rows with their defaults on 20,000 rows of the credit defaults, and how far
//! their rows do for the real ones, by scikit-learn: `cargo bench -p teller-nn --bench generators
//! [-- tabular_gan|tabular_vae]`.
#![allow(clippy::unwrap_used, reason = "a bench that cannot measure says so and ends")]

#[path = "../../tests/common/credit.rs"]
mod credit;

use std::path::Path;
use std::time::Instant;

use serde_json::json;
use teller_bench::{Folder, Peer};
use teller_nn::{Condition, GenerationParams, Table, TableCell, fit_table};
use teller_numeric::{Options, Stream, Uninterrupted};

const LEARNED: usize = 20_000;
const THREADS: usize = 2;
/// Other seeds, other networks.
const SEEDS: [u64; 2] = [42, 43];

fn main() {
    // Cargo adds flags of its own.
    let only: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let Some(mut lines) = credit::lines() else { return };
    let header = lines.remove(0);
    Stream::new(1, "credit parts", 0).shuffle(&mut lines);
    let (learned, tested) = lines.split_at(LEARNED);
    let [learned, tested] = [learned, tested].map(|lines| credit::table(&header, lines));
    let folder = Folder::new("generators");
    write(&folder, "learned", &learned);
    write(&folder, "tested", &tested);
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/generators/peers");
    let mut peer = Peer::start(&scripts, "scikit_peer.py", THREADS, &folder);
    let mut judged = |rows: &str| match &mut peer {
        Some(peer) => {
            let [forest, told] = ["forest", "told"].map(|by| peer.ask(&format!("{by} {rows}")));
            format!("forest {forest:.3}, told from real ones {told:.3}")
        }
        None => "not judged".to_owned(),
    };
    println!("real rows: {}", judged("learned"));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(THREADS).build().unwrap();
    for algorithm in ["tabular_gan", "tabular_vae"] {
        if !only.is_empty() && !only.iter().any(|only| only == algorithm) {
            continue;
        }
        for seed in SEEDS {
            let given = json!({"seed": seed});
            let mut options = Options::new(algorithm, &given).unwrap();
            let params = match algorithm {
                "tabular_vae" => GenerationParams::read_vae(&mut options),
                _ => GenerationParams::read_gan(&mut options),
            };
            let params = params.unwrap();
            let begun = Instant::now();
            let fit = || fit_table(&params, &learned, Some("def_pay"), None, &Uninterrupted);
            let fitted = pool.install(fit).unwrap();
            let seconds = begun.elapsed().as_secs_f64();
            let any = Condition::default();
            let make = || fitted.generator.rows(0, LEARNED, seed, &any, &Uninterrupted);
            write(&folder, algorithm, &pool.install(make).unwrap());
            println!("{algorithm}, seed {seed}: {seconds:.0} s, {}", judged(algorithm));
            for (name, figure) in fitted.report.metrics() {
                println!("    {name:<26} {figure:.4}");
            }
        }
    }
}

fn write(folder: &Folder, name: &str, table: &Table) {
    let number = |cell| match cell {
        TableCell::Number(number) => number as f32,
        _ => f32::NAN,
    };
    let rows: Vec<f32> = (0..table.rows()).flat_map(|row| table.row(row).map(number)).collect();
    folder.write(name, &rows);
}
