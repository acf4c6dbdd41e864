//! Exact top 10 of a million items, one thread: by the index, and by scoring all of them:
//! `cargo bench -p teller-recommend --bench top_k`.
//!
//! How much is saved depends on how much lengths differ, so there are factors whose lengths hardly
//! do (Gaussian), those of popular and unpopular items (log-normal), and some of length 1.
#![allow(clippy::unwrap_used, reason = "a bench that cannot measure says so and ends")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use teller_numeric::{Stream, Uninterrupted};
use teller_payload::{PayloadWriter, SharedBytes};
use teller_recommend::{Recommender, Request, item_index};

const ITEMS: usize = 1_000_000;
const USERS: usize = 200;
const FACTORS: usize = 64;

fn part(arrays: &[(&str, &[f32])], shape: &[usize]) -> SharedBytes {
    let mut writer = PayloadWriter::new();
    arrays.iter().for_each(|(name, values)| writer.array(name, shape, values));
    Arc::new(writer.finish())
}

fn ids(count: usize) -> SharedBytes {
    let ids: Vec<i64> = (0..count as i64).collect();
    let mut writer = PayloadWriter::new();
    writer.array("ids", &[count], &ids);
    Arc::new(writer.finish())
}

fn normal(rows: usize, name: &str) -> Vec<f32> {
    let row = |row| {
        let mut stream = Stream::new(1, name, row as u64);
        (0..FACTORS).map(move |_| stream.normal() as f32)
    };
    (0..rows).flat_map(row).collect()
}

/// Each user had one item, so that he is not taken for a stranger.
fn parts(items: &[f32]) -> BTreeMap<String, SharedBytes> {
    let offsets: Vec<u64> = (0..=USERS as u64).collect();
    let seen: Vec<u32> = (0..USERS as u32).collect();
    let mut writer = PayloadWriter::new();
    writer.array("offsets", &[USERS + 1], &offsets);
    writer.array("items", &[USERS], &seen);
    let users = normal(USERS, "users");
    BTreeMap::from([
        ("user_ids".to_owned(), ids(USERS)),
        ("item_ids".to_owned(), ids(ITEMS)),
        ("user_factors".to_owned(), part(&[("factors", &users)], &[USERS, FACTORS])),
        ("item_factors".to_owned(), part(&[("factors", items)], &[ITEMS, FACTORS])),
        ("seen".to_owned(), Arc::new(writer.finish())),
        ("popularity".to_owned(), part(&[("popularity", &vec![1.0; ITEMS])], &[ITEMS])),
    ])
}

/// Seconds of each user, ascending, and all answers.
fn ask(recommender: &Recommender, users: usize) -> (Vec<f64>, Vec<Vec<(u32, f32)>>) {
    let mut times = Vec::new();
    let mut answers = Vec::new();
    for user in 0..users as u32 {
        let request = Request { user: Some(user), k: 10, candidates: None, include_seen: false };
        let begun = Instant::now();
        let answer = recommender.recommend(&request, &Uninterrupted).unwrap();
        times.push(begun.elapsed().as_secs_f64());
        answers.push(answer);
    }
    times.sort_by(f64::total_cmp);
    (times, answers)
}

fn main() {
    println!("{:<12} {:>12} {:>12} {:>8} {:>9}", "", "index, ms", "all, ms", "ratio", "build, s");
    for (name, deviation) in [("Gaussian", 0.0), ("log-normal", 0.7), ("length 1", -1.0)] {
        let mut items = normal(ITEMS, "items");
        for (row, item) in items.chunks_mut(FACTORS).enumerate() {
            let length = item.iter().map(|x| x * x).sum::<f32>().sqrt();
            let mut stream = Stream::new(2, "lengths", row as u64);
            let scale = match deviation {
                -1.0 => 1.0 / length,
                deviation => (stream.normal() * deviation).exp() as f32,
            };
            item.iter_mut().for_each(|x| *x *= scale);
        }
        let mut parts = parts(&items);
        let plain = Recommender::load(&parts).unwrap();
        let begun = Instant::now();
        let index = item_index(&items, FACTORS, &Uninterrupted).unwrap().unwrap();
        let build = begun.elapsed().as_secs_f64();
        parts.insert("item_index".to_owned(), Arc::new(index));
        let indexed = Recommender::load(&parts).unwrap();
        let (all, expected) = ask(&plain, 50);
        ask(&indexed, 20);
        let (found, answers) = ask(&indexed, USERS);
        assert_eq!(answers[..50], expected, "another answer");
        let [found, all] = [found, all].map(|times| times[times.len() / 2] * 1e3);
        println!("{name:<12} {found:>12.3} {all:>12.3} {:>8.4} {build:>9.2}", found / all);
    }
}
