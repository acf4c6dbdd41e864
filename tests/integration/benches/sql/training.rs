//! Training the reference network over all of MNIST in SQL: how much memory, and how fast.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use teller_tests::Statements;

use crate::models::Models;
use crate::report::{Figure, Report};
use crate::timing::milliseconds;

const TRAIN: &str = r#"SELECT teller.train('read_all', 'image_classification',
    'SELECT image, label FROM mnist', '{"epochs": 1, "validation_fraction": 0}')"#;

pub(crate) fn run(models: &Models, report: &Report) {
    report.subject("Training over 60,000 scans, one epoch");
    if !models.mnist() {
        return report.skipped("training", "the images are absent");
    }
    let mut client = models.connect();
    client.run("LOAD 'pg_teller'");
    let pid: i32 = client.value("SELECT pg_backend_pid()");
    let Some(idle) = allocated(pid) else {
        return report.skipped("memory", "the kernel does not tell that of other processes");
    };
    let ended = AtomicBool::new(false);
    let (taken, most) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !ended.load(Ordering::Relaxed) {
                most = most.max(allocated(pid).unwrap_or(0));
                std::thread::sleep(Duration::from_millis(5));
            }
            most
        });
        let taken = milliseconds(&mut client, TRAIN);
        ended.store(true, Ordering::Relaxed);
        (taken, watch.join().unwrap())
    });
    let megabytes = |kb: u64| Figure { value: kb as f64 / 1e3, fastest: None, unit: "MB" };
    let idle_figure = megabytes(idle);
    report.figure("idle", idle_figure, None);
    let more = megabytes(most.saturating_sub(idle));
    report.goal("more than idle at most", more, 400.0, Some(("idle", idle_figure)));
    report.figure("seconds", Figure { value: taken / 1e3, fastest: None, unit: "s" }, None);
}

/// kB that a backend has allocated of its own.
fn allocated(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.split_whitespace().next()?.parse().ok()
}
