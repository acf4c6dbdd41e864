//! What connections that serve one large recommender hold of their own.

use std::fs;

use postgres::Client;
use teller_tests::Statements;

use crate::models::{Models, large_top};
use crate::report::{Figure, Report};

const CONNECTIONS: usize = 100;

pub(crate) fn run(models: &Models, report: &Report) {
    report.subject("Memory of each of 100 connections: 1,000,000 items x 64");
    models.large_recommender();
    let mut sessions: Vec<Client> = (0..CONNECTIONS).map(|_| models.connect()).collect();
    sessions.iter_mut().for_each(|session| session.run("SELECT 1"));
    let idle = Memory::of(&mut sessions);
    let all = large_top(None);
    sessions.iter_mut().for_each(|session| session.run(&all));
    let serving = Memory::of(&mut sessions);
    let (Some(idle), Some(serving)) = (idle, serving) else {
        report.skipped("proportional set size", "the kernel does not tell that of other processes");
        return;
    };
    let each = |kb: u64| {
        let value = kb as f64 / CONNECTIONS as f64 / 1e3;
        Figure { value, fastest: None, unit: "MB" }
    };
    let base = ("idle", each(idle.total));
    report.figure("idle", base.1, None);
    report.figure("serving", each(serving.total), Some(base));
    report.figure("of it the one file that all share", each(serving.files), None);
    let own = serving.total.saturating_sub(serving.files).saturating_sub(idle.total);
    report.goal("more than idle beside that file", each(own), 1.0, Some(base));
}

/// Proportional set sizes of some processes together, in kB.
struct Memory {
    total: u64,
    /// What of it are mapped files of models.
    files: u64,
}

impl Memory {
    fn of(sessions: &mut [Client]) -> Option<Self> {
        let mut sum = Self { total: 0, files: 0 };
        for session in sessions {
            let pid: i32 = session.value("SELECT pg_backend_pid()");
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
            sum.total += rollup.lines().filter_map(proportional).sum::<u64>();
            let maps = fs::read_to_string(format!("/proc/{pid}/smaps")).ok()?;
            let mut of_model = false;
            for line in maps.lines() {
                // A mapping's first line begins with its addresses and ends with its path.
                if line.split(' ').next().is_some_and(|word| !word.ends_with(':')) {
                    of_model = line.contains("/pg_teller/");
                } else if of_model {
                    sum.files += proportional(line).unwrap_or(0);
                }
            }
        }
        Some(sum)
    }
}

fn proportional(line: &str) -> Option<u64> {
    line.strip_prefix("Pss:")?.split_whitespace().next()?.parse().ok()
}
