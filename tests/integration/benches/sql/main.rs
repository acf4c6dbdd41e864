//! What SQL costs, measured on a private server with the extension that `make install` built.
//!
//! `make bench` runs all subjects, `make bench ONLY=first_call` one. Machines differ, so a figure
//! stands beside another of the same run: what is measured in turns, round by round, is disturbed
//! alike. A new subject is a file here and a line in [`SUBJECTS`].
#![allow(clippy::unwrap_used, reason = "a bench that cannot measure says so and ends")]

mod first_call;
mod images;
mod memory;
mod models;
mod recommend;
mod report;
mod resolve;
mod timing;
mod training;

use models::Models;
use report::Report;

type Subject = fn(&Models, &Report);

const SUBJECTS: [(&str, Subject); 6] = [
    ("first_call", first_call::run),
    ("resolve", resolve::run),
    ("memory", memory::run),
    ("images", images::run),
    ("training", training::run),
    ("recommend", recommend::run),
];

fn main() {
    // Cargo adds flags of its own.
    let only: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let known = |name: &String| SUBJECTS.iter().any(|(subject, _)| subject == name);
    if let Some(unknown) = only.iter().find(|name| !known(name)) {
        let names: Vec<&str> = SUBJECTS.iter().map(|(name, _)| *name).collect();
        eprintln!("unknown subject {unknown}; known are: {}", names.join(", "));
        std::process::exit(2);
    }
    let models = Models::new();
    for (name, run) in SUBJECTS {
        if only.is_empty() || only.iter().any(|wanted| wanted == name) {
            run(&models, &Report);
        }
    }
}
