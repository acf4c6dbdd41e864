//! Figures of a recommender on pairs that were kept apart from its first training.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod support;

use std::collections::BTreeSet;
use std::sync::Mutex;

use serde_json::{Value, json};
use support::{Row, algorithm, dataset, load, parts, train};
use teller_numeric::Uninterrupted;
use teller_numeric::{Cancelled, Control, Step, Stream};
use teller_recommend::{Dataset, FittedRecommender, IdRef, InteractionsBuilder, memory_needed};

fn rows() -> Vec<Row> {
    let mut stream = Stream::new(9, "rows", 0);
    let mut some = |n: u32| i64::from(stream.below(n).min(stream.below(n)));
    (0..4000).map(|_| (some(200), some(90), 1.0)).collect()
}

fn figure(fitted: &FittedRecommender, name: &str) -> f64 {
    fitted.validation.iter().find(|(figure, _)| figure == name).unwrap().1
}

#[test]
fn the_stored_numbers_are_those_without_validation() {
    let data = dataset(rows());
    for mut given in [
        json!({"algorithm": "als", "factors": 4, "iterations": 3}),
        json!({"algorithm": "item_knn"}),
        json!({"algorithm": "popular"}),
    ] {
        let plain = train(&given, &data);
        assert!(plain.validation.is_empty());
        given["validation"] = json!(0.1);
        let validated = train(&given, &data);
        assert_eq!(
            parts(&plain).keys().collect::<Vec<_>>(),
            parts(&validated).keys().collect::<Vec<_>>()
        );
        for (name, bytes) in parts(&plain) {
            assert!((*bytes).as_ref() == (*parts(&validated)[&name]).as_ref(), "{given} {name}");
        }
        let names: Vec<&str> = validated.validation.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names[..4], ["ndcg@10", "recall@10", "map@10", "mrr@10"]);
        assert!((0.0..=1.0).contains(&figure(&validated, "ndcg@10")));
        assert!(figure(&validated, "users") > 50.0, "{validated:?}");
        // A share of nothing is no validation.
        given["validation"] = json!(0);
        assert!(train(&given, &data).validation.is_empty());
    }
}

#[test]
fn what_is_kept_apart_depends_on_the_ids_alone() {
    let given = json!({"algorithm": "item_knn", "validation": 0.2});
    let mut rows = rows();
    let once = train(&given, &dataset(rows.clone()));
    Stream::new(1, "order", 0).shuffle(&mut rows);
    assert_eq!(train(&given, &dataset(rows.clone())).validation, once.validation);
    let renamed = rows.iter().map(|&(user, item, weight)| (user + 1, item, weight));
    assert_ne!(train(&given, &dataset(renamed)).validation, once.validation);
}

/// By hand: the items that most users had, among those left when a part is kept away.
#[test]
fn the_figures_are_those_of_a_model_that_has_not_seen_them() {
    // Every user had all of the items 1 to 20: what is kept apart is all that can be recommended.
    let rows: Vec<Row> =
        (0..50).flat_map(|user| (1..=20).map(move |item| (user, item, 1.0))).collect();
    let validated = train(&json!({"algorithm": "popular", "validation": 0.1}), &dataset(rows));
    assert_eq!(figure(&validated, "ndcg@10"), 1.0);
    assert_eq!(figure(&validated, "recall@10"), 1.0);
    // Who has only items that nobody else has cannot be served.
    let rows: Vec<Row> = (0..200).map(|user| (user, 1000 + user, 1.0)).collect();
    let validated = train(&json!({"algorithm": "popular", "validation": 0.1}), &dataset(rows));
    assert_eq!(figure(&validated, "recall@10"), 0.0);
    assert!((5.0..50.0).contains(&figure(&validated, "users")));
}

#[test]
fn too_few_pairs_are_no_error() {
    for rows in [vec![(1, 1, 1.0)], vec![(1, 1, 1.0), (2, 1, 1.0)]] {
        for share in [1e-9, 0.1] {
            let given = json!({"algorithm": "als", "factors": 2, "validation": share});
            let fitted = train(&given, &dataset(rows.clone()));
            let names: BTreeSet<&str> = fitted.validation.iter().map(|(name, _)| &**name).collect();
            assert!(names.contains("users"), "{fitted:?}");
            assert_eq!(load(&fitted).items().len(), 1);
        }
    }
}

#[test]
fn text_ids_are_parted_too() {
    let mut builder = InteractionsBuilder::new(1 << 24);
    for (user, item, weight) in rows() {
        let (user, item) = (format!("user {user}"), format!("é{item}"));
        builder.push(IdRef::Text(&user), IdRef::Text(&item), weight).unwrap();
    }
    let data = Dataset::from(builder.finish(&Uninterrupted).unwrap());
    let validated = train(&json!({"algorithm": "item_knn", "validation": 0.2}), &data);
    assert!(figure(&validated, "users") > 50.0);
    assert!(figure(&validated, "ndcg@10") > 0.0);
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
fn the_steps_of_both_trainings_are_told_as_one() {
    let steps = Steps::default();
    let given = json!({"algorithm": "als", "factors": 4, "iterations": 3, "validation": 0.1});
    let fitted = algorithm(&given).fit(&dataset(rows()), None, &steps).unwrap();
    let steps = steps.0.into_inner().unwrap();
    assert_eq!(steps.iter().map(|step| step.step).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert!(steps.iter().all(|step| step.of == 6));
    let told: Vec<_> =
        steps.iter().filter_map(|step| step.validation.map(|v| (step.step, v))).collect();
    assert_eq!(told, [(3, ("ndcg@10", figure(&fitted, "ndcg@10")))]);
}

#[test]
fn the_second_data_set_is_counted() {
    let needed = |given: &Value| memory_needed(&*algorithm(given), &dataset(rows()).size(2));
    let plain = needed(&json!({"algorithm": "item_knn"}));
    let validated = needed(&json!({"algorithm": "item_knn", "validation": 0.1}));
    assert!(validated > plain + 4000 * 8, "{validated} {plain}");
}
