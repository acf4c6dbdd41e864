//! Exact top 10 of a million items, one thread: by the index, by scoring all of them, and by
//! implicit; and of some of them, beside NumPy scoring just those.
//!
//! How much is saved depends on how much lengths differ, so there are factors whose lengths hardly
//! do (Gaussian), those of popular and unpopular items (log-normal), and some of length 1.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use teller_bench::{Folder, Times, compared, title};
use teller_numeric::{Stream, Uninterrupted};
use teller_payload::{PayloadWriter, SharedBytes};
use teller_recommend::{Recommender, Request, item_index};

use crate::fitting::generated;
use crate::peer;
use crate::support::train;

const ITEMS: usize = 1_000_000;
const USERS: usize = 200;
const FACTORS: usize = 64;
/// How many candidates are chosen from.
const CANDIDATES: [usize; 6] = [10, 100, 1_000, 10_000, 100_000, 500_000];

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

/// Seconds of each user, and all answers.
fn ask(
    recommender: &Recommender,
    users: usize,
    candidates: Option<&[u32]>,
) -> (Times, Vec<Vec<(u32, f32)>>) {
    let (mut times, mut answers) = (Vec::new(), Vec::new());
    for user in 0..users as u32 {
        let request = Request { user: Some(user), k: 10, candidates, include_seen: true };
        let begun = Instant::now();
        let answer = recommender.recommend(&request, &Uninterrupted).unwrap();
        times.push(begun.elapsed().as_secs_f64());
        answers.push(answer);
    }
    (Times::new(times), answers)
}

pub(crate) fn run() {
    println!("\nTop 10 of {ITEMS} items of {FACTORS} factors, one thread, ms (median)");
    println!(
        "{:<12} {:>8} {:>8} {:>8} {:>9} {:>10} {:>8}",
        "", "index", "all", "of all", "build, s", "implicit", "of it"
    );
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
        measure(name, parts(&items), 1.6 / 9.0);
    }
    among(&parts(&normal(ITEMS, "items")));
    let data = generated(200_000, ITEMS as u64, 14_400_000);
    let given = json!({"algorithm": "als", "factors": FACTORS, "iterations": 5});
    measure("ALS", crate::support::parts(&train(&given, &data)), 0.05 / 9.0);
}

/// The goals are parts of what implicit takes.
fn measure(name: &str, mut parts: BTreeMap<String, SharedBytes>, goal: f64) {
    parts.remove("item_index");
    let plain = Recommender::load(&parts).unwrap();
    let items = plain.item_factors().unwrap().0;
    let begun = Instant::now();
    let index = item_index(items, FACTORS, &Uninterrupted).unwrap().unwrap();
    let build = begun.elapsed().as_secs_f64();
    parts.insert("item_index".to_owned(), Arc::new(index));
    let indexed = Recommender::load(&parts).unwrap();
    let folder = Folder::new("top_k");
    let peer = peer::start(1, &folder);
    let theirs = peer.map(|mut peer| {
        folder.write("users", &plain.user_factors().unwrap().0[..USERS * FACTORS]);
        folder.write("items", items);
        peer.ask(&format!("factors {FACTORS}"));
        let one = |user: usize| peer.ask(&format!("one {user} 10"));
        Times::new((0..50).map(one).collect())
    });
    let (all, expected) = ask(&plain, 50, None);
    ask(&indexed, 20, None);
    let (found, answers) = ask(&indexed, USERS, None);
    assert_eq!(answers[..50], expected, "another answer");
    let [found, all] = [found, all].map(|times| times.median() * 1e3);
    print!("{name:<12} {found:>8.3} {all:>8.3} {:>8.4} {build:>9.2}", found / all);
    if let Some(theirs) = theirs {
        let (theirs, ratio) = (theirs.median() * 1e3, found / (theirs.median() * 1e3));
        let verdict = if ratio <= goal { "met" } else { "MISSED" };
        print!(" {theirs:>10.3} {ratio:>8.4}  at most {goal:.4}: {verdict}");
    }
    println!();
}

/// Chooses from a part of the items, in no order.
fn among(parts: &BTreeMap<String, SharedBytes>) {
    let recommender = Recommender::load(parts).unwrap();
    let folder = Folder::new("top_k");
    let mut peer = peer::start(1, &folder);
    if let Some(peer) = &mut peer {
        folder.write("users", recommender.user_factors().unwrap().0);
        folder.write("items", recommender.item_factors().unwrap().0);
        peer.ask(&format!("factors {FACTORS}"));
    }
    title("Top 10 of candidates, one thread");
    let mut items: Vec<u32> = (0..ITEMS as u32).collect();
    Stream::new(3, "candidates", 0).shuffle(&mut items);
    for count in CANDIDATES {
        let candidates = &items[..count];
        ask(&recommender, 5, Some(candidates));
        let (ours, _) = ask(&recommender, 50, Some(candidates));
        let Some(peer) = &mut peer else { continue };
        folder.write_indexes("among", candidates);
        let one = |user: usize| peer.ask(&format!("among {user} 10"));
        let theirs = Times::new((0..50).map(one).collect());
        compared(&format!("{count} candidates"), &ours, "NumPy", &theirs, 1.0);
    }
}
