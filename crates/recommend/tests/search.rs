//! Searches for parameters and algorithms.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod support;

use std::sync::Mutex;

use serde_json::{Value, json};
use support::{Row, algorithm, dataset, parts, train};
use teller_numeric::{Cancelled, Control, OptionError, Options, Step, Stream};
use teller_recommend::{memory_needed, read_training};

fn rows() -> Vec<Row> {
    rows_of(300)
}

/// Two groups of users with items of their own, and a little of everything.
fn rows_of(users: u32) -> Vec<Row> {
    let mut stream = Stream::new(4, "rows", 0);
    (0..20 * users)
        .map(|_| {
            let user = i64::from(stream.below(users));
            let item = i64::from(stream.below(60).min(stream.below(60)));
            let own = if stream.below(10) == 0 { item } else { item * 2 + user % 2 };
            (user, own, 1.0)
        })
        .collect()
}

fn refused(given: &Value) -> OptionError {
    read_training(&mut Options::new("recommendation", given).unwrap()).unwrap_err()
}

#[test]
fn the_best_of_a_grid_is_trained_on_all_data() {
    let data = dataset(rows_of(7_000));
    let given = json!({"algorithm": "als", "iterations": 4, "validation": 0.2, "tune": {
        "grid": {"factors": [1, 8], "regularization": [0.5, 10.0]}}});
    let tuned = train(&given, &data);
    let trials = tuned.model["trials"].as_array().unwrap();
    // Four with a third of the users, the better two with all.
    assert_eq!(trials.len(), 6);
    let pairs = |trial: &Value| trial["interactions"].as_f64().unwrap();
    assert!((0.3..0.37).contains(&(pairs(&trials[0]) / pairs(&trials[5]))));
    let value = |trial: &Value| trial["ndcg@10"].as_f64().unwrap();
    let best = trials[4..].iter().max_by(|a, b| value(a).total_cmp(&value(b))).unwrap();
    assert_eq!(tuned.model["chosen"], best["options"]);
    assert_eq!(tuned.validation[0], ("ndcg@10".to_owned(), value(best)));
    assert_eq!(best["options"]["iterations"], 4);
    assert_eq!(tuned.algorithm, Some("als"));
    // What is stored is what the chosen options give.
    let alone = train(&tuned.model["chosen"], &data);
    for (name, bytes) in parts(&alone) {
        assert!((*bytes).as_ref() == (*parts(&tuned)[&name]).as_ref(), "{name}");
    }
    // The same again.
    let again = train(&given, &data);
    assert_eq!((again.model, again.validation), (tuned.model, tuned.validation));
}

#[test]
fn random_values_lie_in_their_ranges() {
    let given = json!({"algorithm": "item_knn", "validation": 0.2, "tune": {
        "random": {"neighbors": [2, 200], "b": [0.25, 0.75], "similarity": ["bm25"]},
        "trials": 9, "metric": "map@10"}});
    let tuned = train(&given, &dataset(rows()));
    let trials = tuned.model["trials"].as_array().unwrap();
    // So few users are asked all at once.
    assert_eq!(trials.len(), 9);
    for trial in trials {
        let options = &trial["options"];
        assert!((2..=200).contains(&options["neighbors"].as_i64().unwrap()), "{options}");
        assert!((0.25..=0.75).contains(&options["b"].as_f64().unwrap()), "{options}");
        assert!(trial["map@10"].is_number());
    }
    assert_ne!(trials[0]["options"], trials[1]["options"]);
}

#[test]
fn auto_says_why_it_chose() {
    let given = json!({"algorithm": "auto", "validation": 0.1});
    let tuned = train(&given, &dataset(rows()));
    let reason = tuned.model["reason"].as_str().unwrap();
    assert!(reason.contains("had the best ndcg@10"), "{reason}");
    let algorithms: Vec<&str> = tuned.model["trials"]
        .as_array()
        .unwrap()
        .iter()
        .map(|trial| trial["options"]["algorithm"].as_str().unwrap())
        .collect();
    for name in ["popular", "item_knn", "svd", "ease", "als"] {
        assert!(algorithms.contains(&name), "{algorithms:?}");
    }
    // Two groups: what everybody likes is not the best.
    assert_ne!(tuned.algorithm, Some("popular"));
    // Too few rows to keep any apart.
    let tuned = train(&given, &dataset([(1, 1, 1.0)]));
    assert_eq!(tuned.algorithm, Some("popular"));
    assert!(tuned.model["reason"].as_str().unwrap().contains("too few rows"));
}

#[test]
fn what_cannot_be_tried_is_refused_before_any_data() {
    let tune = |tune: Value| refused(&json!({"validation": 0.1, "tune": tune}));
    let error = tune(json!({"grid": {"factors": [1, 2, 3], "alpha": [1, 2]}, "budget": 5}));
    assert!(
        error.to_string().contains("at most 5 trials") && error.to_string().contains("are 6"),
        "{error}"
    );
    let error = tune(json!({"grid": {"factor": [1]}}));
    assert!(
        matches!(&error, OptionError::Unknown { nearest: Some(near), .. } if near == "factors"),
        "{error}"
    );
    for wrong in [
        json!({}),
        json!([]),
        json!({"grid": {}}),
        json!({"grid": {"factors": []}}),
        json!({"grid": {"factors": 3}}),
        json!({"grid": {"factors": [0]}}),
        json!({"grid": {"factors": [1]}, "random": {"factors": [1, 2]}}),
        json!({"random": {"factors": [1, 2]}, "trials": 0}),
        json!({"random": {"factors": [1, 2]}, "trials": 101}),
        json!({"random": {"factors": [1, 2]}, "metric": "accuracy"}),
        json!({"grid": {"factors": [1]}, "budgets": 3}),
    ] {
        tune(wrong);
    }
    let huge: Vec<i64> = (1..1000).collect();
    tune(json!({"grid": {"factors": huge, "seed": huge, "iterations": huge, "alpha": huge,
        "a": huge, "b": huge, "c": huge}}));
}

#[derive(Default)]
struct Steps(Mutex<Vec<Step>>);

impl Control for Steps {
    fn check(&self) -> Result<(), Cancelled> {
        Ok(())
    }

    fn report(&self, step: Step) {
        self.0.lock().unwrap().push(step);
    }
}

#[test]
fn each_trial_is_a_step() {
    let steps = Steps::default();
    let given = json!({"iterations": 3, "validation": 0.2, "tune": {"grid": {"factors": [2, 4]}}});
    let tuned = algorithm(&given).fit(&dataset(rows()), None, &steps).unwrap();
    let steps = steps.0.into_inner().unwrap();
    // Two trials, and the sweeps of the training on all data.
    assert_eq!(steps.iter().map(|step| step.step).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    for (step, trial) in steps.iter().zip(tuned.model["trials"].as_array().unwrap()) {
        let value = trial["ndcg@10"].as_f64().unwrap();
        assert_eq!(step.validation, Some(("ndcg@10", value)));
        assert_eq!(step.loss, 1.0 - value);
    }
    assert!(steps[2..].iter().all(|step| step.validation.is_none()));
}

#[test]
fn memory_is_that_of_the_largest_candidate() {
    let size = dataset(rows()).size(2);
    let needed = |given: &Value| memory_needed(&*algorithm(given), &size);
    let tuned = needed(&json!({"validation": 0.1, "tune": {"grid": {"factors": [4, 512]}}}));
    assert!(tuned > needed(&json!({"factors": 512, "validation": 0.1})));
}
