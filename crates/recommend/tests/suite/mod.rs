//! The algorithms that the contract is held to, what they are trained on, and how they are asked.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(unreachable_pub, reason = "a module of several test binaries")]

use serde_json::{Value, json};
use teller_numeric::{Cancelled, Control, Step, Stream, Uninterrupted};
use teller_recommend::{Dataset, Error, Recommender, Request};

use crate::support::{Row, algorithm, dataset, on_threads};

pub fn algorithms() -> Vec<Value> {
    vec![
        json!({"algorithm": "als", "factors": 8}),
        json!({"algorithm": "als", "factors": 20, "solver": "cholesky"}),
        json!({"algorithm": "svd", "factors": 3}),
        json!({"algorithm": "item_knn"}),
        json!({"algorithm": "item_knn", "similarity": "cosine", "neighbors": 30}),
        json!({"algorithm": "biased_mf", "factors": 3}),
        json!({"algorithm": "ease"}),
        json!({"algorithm": "ease", "neighbors": 20}),
        json!({"algorithm": "content", "factors": 8}),
        json!({"algorithm": "knowledge_graph", "embedding": "propagation", "factors": 8, "epochs": 60}),
        json!({"algorithm": "knowledge_graph", "embedding": "transe", "factors": 8,
               "epochs": 60, "learning_rate": 0.05}),
        json!({"algorithm": "knowledge_graph", "embedding": "distmult", "factors": 8,
               "epochs": 60, "learning_rate": 0.05}),
        json!({"algorithm": "knowledge_graph", "embedding": "rotate", "factors": 7,
               "epochs": 60, "learning_rate": 0.05}),
        json!({"algorithm": "popular"}),
        json!({"algorithm": "svd", "factors": 3, "validation": 0.2}),
        json!({"algorithm": "item_knn", "validation": 0.1}),
        json!({"algorithm": "hybrid", "validation": 0, "members": [
            {"algorithm": "als", "factors": 8},
            {"algorithm": "item_knn", "similarity": "cosine"},
            {"algorithm": "svd", "factors": 3},
        ]}),
        json!({"algorithm": "hybrid", "validation": 0.1, "members": [
            {"algorithm": "popular"}, {"algorithm": "item_knn"},
        ]}),
    ]
}

pub fn learning() -> impl Iterator<Item = Value> {
    algorithms().into_iter().filter(|given| given["algorithm"] != "popular")
}

pub const SIDE: i64 = 40;

/// User `u` has had the items of his own colour, all but item `u`.
pub fn checkerboard() -> Vec<Row> {
    (0..SIDE)
        .flat_map(|user| (0..SIDE).map(move |item| (user, item)))
        .filter(|(user, item)| user != item && (user + item) % 2 == 0)
        .map(|(user, item)| (user, item, 1.0))
        .collect()
}

/// The checkerboard as an algorithm takes it. Ratings say nothing unless some are low: half of what
/// is of the other colour.
pub fn board(given: &Value) -> Dataset {
    if given["algorithm"] != "biased_mf" {
        return dataset(checkerboard());
    }
    let other = (0..SIDE).flat_map(|user| (0..SIDE).map(move |item| (user, item, 1.0)));
    let other = other.filter(|(user, item, _)| (user + item) % 4 == 1);
    let own = checkerboard().into_iter().map(|(user, item, _)| (user, item, 5.0));
    dataset(own.chain(other))
}

/// Users and items of uneven degrees and weights, and ids with gaps.
pub fn uneven(users: u32, items: u32, rows: usize) -> Vec<Row> {
    let mut stream = Stream::new(3, "uneven", 0);
    let mut skewed = |n: u32| i64::from(stream.below(n).min(stream.below(n))) * 3 - 7;
    let mut rows: Vec<Row> = (0..rows).map(|_| (skewed(users), skewed(items), 1.0)).collect();
    for row in &mut rows {
        row.2 = 0.5 + stream.uniform() * 3.0;
    }
    rows
}

pub fn ask(recommender: &Recommender, request: Request<'_>) -> Vec<(u32, f32)> {
    recommender.recommend(&request, &Uninterrupted).unwrap()
}

pub fn request(user: u32, k: usize) -> Request<'static> {
    Request { user: Some(user), k, candidates: None, include_seen: false }
}

pub fn bits(answer: &[(u32, f32)]) -> Vec<(u32, u32)> {
    answer.iter().map(|&(item, score)| (item, score.to_bits())).collect()
}

pub fn bytes(given: &Value, rows: Vec<Row>, threads: usize) -> Vec<(String, Vec<u8>)> {
    let data = dataset(rows);
    let fitted = on_threads(threads, || algorithm(given).fit(&data, None, &Uninterrupted).unwrap());
    fitted.parts.into_iter().map(|(name, bytes)| (name.into_owned(), bytes.to_vec())).collect()
}

/// What [`Recommender::recommend_from`] says; nothing where the algorithm serves no baskets.
pub fn ask_from(
    recommender: &Recommender,
    basket: &[u32],
    request: Request<'_>,
) -> Option<Vec<(u32, f32)>> {
    match recommender.recommend_from(basket, &request, &Uninterrupted) {
        Err(Error::Unsupported(_)) => None,
        answer => Some(answer.unwrap()),
    }
}

/// Cancels at the n-th question.
pub struct Impatient(pub std::sync::atomic::AtomicI64);

impl Control for Impatient {
    fn check(&self) -> Result<(), Cancelled> {
        match self.0.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) {
            1.. => Ok(()),
            _ => Err(Cancelled),
        }
    }

    fn report(&self, _step: Step) {}
}
