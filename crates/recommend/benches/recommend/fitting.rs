//! How long trainings take, and what memory, beside implicit and LAPACK: real data, and a million
//! users with 100,000 items and 20 million interactions, where the degrees follow a power law.

use std::time::Instant;

use serde_json::{Value, json};
use teller_bench::{Folder, Memory, Peer, compared, in_turns, title};
use teller_numeric::{Stream, Uninterrupted};
use teller_recommend::{Dataset, IdRef, InteractionsBuilder};

use crate::peer;
use crate::support::{algorithm, dataset, on_threads, real_rows};

const FACTORS: u64 = 64;

pub(crate) fn run() {
    if let Some(rows) = real_rows("lastfm_plays.tsv") {
        let data = dataset(rows.into_iter().map(|row| (row.0, row.1, 1.0)));
        title("Last.FM, ALS of 64 factors, an iteration");
        als(&data, 15, 5);
        title("Last.FM, EASE");
        ease(&data, 1.0);
    }
    let data = generated(20_000, 5_000, 600_000);
    title("More users than 5,000 items, EASE");
    ease(&data, 1.3);
    let data = generated(1_000_000, 100_000, 20_000_000);
    title("1,000,000 users, 100,000 items, ALS");
    als(&data, 2, 1);
}

/// Both solvers, on one and on two threads.
fn als(data: &Dataset, iterations: u64, rounds: usize) {
    let folder = Folder::new("fitting");
    for threads in [1, 2] {
        let mut peer = peer::start(threads, &folder);
        if let Some(peer) = &mut peer {
            peer::show(peer, &folder, "data", &data.interactions);
        }
        for solver in ["conjugate_gradient", "cholesky"] {
            let given = json!({"algorithm": "als", "solver": solver, "factors": FACTORS,
                               "iterations": iterations, "regularization": 1.0, "alpha": 10.0,
                               "weighting": "linear"});
            let asked = format!("als {FACTORS} 1 10 {iterations} {solver}");
            let what = format!("{solver}, {threads} threads");
            let loss =
                beside(&what, &given, data, threads, &mut peer, (&asked, 0.3), rounds, iterations);
            if let Some(peer) = &mut peer {
                println!("    loss {loss:.6}, theirs {:.6}", peer.ask("loss"));
            }
        }
    }
}

fn ease(data: &Dataset, goal: f64) {
    let folder = Folder::new("fitting");
    let mut peer = peer::start(2, &folder);
    if let Some(peer) = &mut peer {
        peer::show(peer, &folder, "data", &data.interactions);
    }
    let given = json!({"algorithm": "ease", "regularization": 100.0});
    beside("2 threads", &given, data, 2, &mut peer, ("ease 100", goal), 3, 1);
}

/// What a training takes here and there, by iteration, and here its memory; its loss.
#[allow(clippy::too_many_arguments, reason = "a line of the table")]
fn beside(
    what: &str,
    given: &Value,
    data: &Dataset,
    threads: usize,
    peer: &mut Option<Peer>,
    (asked, goal): (&str, f64),
    rounds: usize,
    iterations: u64,
) -> f64 {
    let algorithm = algorithm(given);
    let mut loss = f64::NAN;
    let mut taken = 0;
    let mut ours = || {
        Memory::count_anew();
        let before = Memory::now();
        let begun = Instant::now();
        let fitted = on_threads(threads, || algorithm.fit(data, None, &Uninterrupted).unwrap());
        let seconds = begun.elapsed().as_secs_f64();
        taken = before.peak_above();
        loss = fitted.metrics.iter().find(|(name, _)| *name == "loss").map_or(f64::NAN, |m| m.1);
        seconds / iterations as f64
    };
    match peer {
        Some(peer) => {
            let mut theirs = || peer.ask(asked) / iterations as f64;
            let [ours, theirs] = in_turns(rounds, [&mut ours, &mut theirs]);
            compared(what, &ours, "theirs", &theirs, goal);
        }
        None => {
            let [ours] = in_turns(rounds, [&mut ours]);
            println!("  {what}: {:.3} s", ours.fastest());
        }
    }
    let matrix = data.interactions.len() as u64 * 8;
    let factors = (data.size(threads).users + data.size(threads).items) * FACTORS * 4;
    println!(
        "    memory above what was held: {} MB; the factors and the matrix twice: {} MB",
        taken / 1_000_000,
        (factors + 2 * matrix) / 1_000_000
    );
    loss
}

/// Users take from a few items upwards, items are taken by rank, both by a power law.
pub(crate) fn generated(users: u64, items: u64, interactions: u64) -> Dataset {
    let mut stream = Stream::new(1, "generated", 0);
    let mut builder = InteractionsBuilder::new(u64::MAX);
    let mean = interactions as f64 / users as f64;
    let mut uniform = || f64::from(stream.uniform()).max(1e-7);
    let begun = Instant::now();
    let mut user = 0;
    while builder.rows() < interactions {
        // Pareto of shape 1.5: the mean is three times the least.
        let degree = (mean / 3.0 * uniform().powf(-1.0 / 1.5)).min(mean * 100.0);
        for _ in 0..degree.ceil() as u64 {
            let item = (items as f64 * uniform().powi(3)) as i64;
            builder.push(IdRef::Integer(user), IdRef::Integer(item), 1.0).unwrap();
        }
        user = (user + 1) % users as i64;
    }
    let rows = builder.rows();
    let pushed = begun.elapsed().as_secs_f64();
    let interactions = builder.finish(&Uninterrupted).unwrap();
    println!(
        "\n{rows} rows of {} users and {} items: gathered at {:.1} million rows/s, {} pairs",
        interactions.users().len(),
        interactions.items().len(),
        rows as f64 / pushed / 1e6,
        interactions.len(),
    );
    Dataset::from(interactions)
}
