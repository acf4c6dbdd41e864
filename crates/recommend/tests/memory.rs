//! What trainings on side data are said to take, beside what they take at their peak.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod support;

use std::process::Command;

use serde_json::{Value, json};
use support::{algorithm, on_threads};
use teller_numeric::{Cancelled, CheckpointBytes, Control, Moment, Step, Stream, Uninterrupted};
use teller_recommend::{
    Dataset, DatasetBuilder, FeatureKind, GraphBuilder, IdRef, InteractionsBuilder,
    ItemFeaturesBuilder, memory_needed,
};

/// Makes checkpoints.
struct Keeper;

impl Control for Keeper {
    fn check(&self) -> Result<(), Cancelled> {
        Ok(())
    }

    fn report(&self, _step: Step) {}

    fn checkpoint(&self, _moment: Moment, state: &dyn Fn() -> Option<CheckpointBytes>) {
        assert!(state().is_some());
    }
}

/// Users who took 10 items each, and items with short words and three edges each.
fn generated(users: i64, items: u32, entities: u32) -> Dataset {
    let mut stream = Stream::new(3, "generated", 0);
    let mut interactions = InteractionsBuilder::new(u64::MAX);
    for user in 0..users {
        for _ in 0..10 {
            let item = i64::from(stream.below(items));
            interactions.push(IdRef::Integer(user), IdRef::Integer(item), 1.0).unwrap();
        }
    }
    let columns = [("words", FeatureKind::Text), ("number", FeatureKind::Number)];
    let mut features = ItemFeaturesBuilder::new(columns, u64::MAX);
    let mut graph = GraphBuilder::new(u64::MAX);
    for item in (0..items).map(|item| IdRef::Integer(item.into())) {
        features.item(item, &mut interactions).unwrap();
        let words: Vec<String> = (0..10).map(|_| format!("{:x}", stream.below(4096))).collect();
        features.text(0, &words.join(" ")).unwrap();
        features.number(1, stream.uniform().into());
        for relation in ["a", "b", "c"] {
            let tail = format!("entity {}", stream.below(entities));
            graph.push(item, relation, IdRef::Text(&tail)).unwrap();
        }
    }
    let builder = DatasetBuilder { interactions, features: Some(features), graph: Some(graph) };
    builder.finish(&Uninterrupted).unwrap()
}

/// Resident bytes of this process, now or at the peak; nothing where the system does not tell.
fn resident(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// Says to a process which case is its own.
const CASE: &str = "TELLER_MEMORY_CASE";

/// Each case in a process of its own: what was freed before one would hide what it takes.
#[test]
fn trainings_take_what_is_said_and_not_much_less() {
    let cases: Vec<(Value, [u32; 3])> = ["content", "propagation", "transe"]
        .into_iter()
        .flat_map(|name| {
            let given = match name {
                "content" => json!({"algorithm": name, "factors": 32}),
                _ => json!({"algorithm": "knowledge_graph", "embedding": name, "factors": 32,
                            "epochs": 2}),
            };
            [[60_000, 10_000, 5_000], [5_000, 60_000, 90_000]].map(|size| (given.clone(), size))
        })
        .collect();
    if let Ok(case) = std::env::var(CASE) {
        let (given, size) = &cases[case.parse::<usize>().unwrap()];
        return measure(given, *size);
    }
    for (case, (given, size)) in cases.iter().enumerate() {
        let mut process = Command::new(std::env::current_exe().unwrap());
        process.env(CASE, case.to_string()).arg("--nocapture");
        assert!(process.status().unwrap().success(), "{given} of {size:?}");
    }
}

fn measure(given: &Value, [users, items, entities]: [u32; 3]) {
    let Some(before) = resident("VmRSS:") else { return };
    let data = generated(users.into(), items, entities);
    // From here on the peak is counted anew.
    if std::fs::write("/proc/self/clear_refs", "5").is_err() {
        return;
    }
    let algorithm = algorithm(given);
    let fitted = on_threads(2, || algorithm.fit(&data, None, &Keeper).unwrap());
    let taken = resident("VmHWM:").unwrap() - before;
    drop(fitted);
    let needed = memory_needed(&*algorithm, &data.size(2));
    println!("{given}: {taken} of {needed}");
    assert!(taken <= needed && needed <= 3 * taken, "{given}: {taken} of {needed}");
}
