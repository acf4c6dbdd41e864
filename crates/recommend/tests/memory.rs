//! What trainings are said to take, beside what they take at their peak.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod support;

use serde_json::{Value, json};
use support::{algorithm, on_threads};
use teller_bench::{Memory, each_in_a_process};
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

#[test]
fn trainings_take_what_is_said_and_not_much_less() {
    let cases: Vec<(Value, [u32; 3])> = ["biased_mf", "content", "propagation", "transe"]
        .into_iter()
        .flat_map(|name| {
            let given = match name {
                "biased_mf" => json!({"algorithm": name, "factors": 12, "iterations": 1}),
                "content" => json!({"algorithm": name, "factors": 32}),
                _ => json!({"algorithm": "knowledge_graph", "embedding": name, "factors": 32,
                            "epochs": 2}),
            };
            [[60_000, 10_000, 5_000], [5_000, 60_000, 90_000]].map(|size| (given.clone(), size))
        })
        .collect();
    each_in_a_process(cases.len(), |case| measure(&cases[case].0, cases[case].1));
}

fn measure(given: &Value, [users, items, entities]: [u32; 3]) {
    let before = Memory::now();
    let data = generated(users.into(), items, entities);
    if !Memory::count_anew() {
        return;
    }
    let algorithm = algorithm(given);
    let fitted = on_threads(2, || algorithm.fit(&data, None, &Keeper).unwrap());
    let taken = before.peak_above();
    drop(fitted);
    let needed = memory_needed(&*algorithm, &data.size(2));
    println!("{given}: {taken} of {needed}");
    assert!(taken <= needed && needed <= 3 * taken, "{given}: {taken} of {needed}");
}
