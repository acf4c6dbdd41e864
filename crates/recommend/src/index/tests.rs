use std::sync::Arc;

use proptest::prelude::*;
use teller_numeric::{Stream, Uninterrupted};

use super::*;
use crate::TopK;
use crate::vectors::dot;

/// Gathers the best and counts what was scored.
struct Scored<'a> {
    top: TopK,
    user: &'a [f32],
    items: &'a [f32],
    scored: usize,
}

impl Best for Scored<'_> {
    fn floor(&self) -> f32 {
        self.top.floor()
    }

    fn consider(&mut self, item: u32) {
        let f = self.user.len();
        self.scored += 1;
        self.top.offer(item, dot(self.user, &self.items[item as usize * f..][..f]));
    }
}

/// What makes an index's life hard.
#[derive(Clone, Copy, Debug)]
enum Spread {
    /// All directions and lengths.
    Normal,
    /// Few of them long.
    Steep,
    /// Many equal ones, and zeros.
    Ties,
    /// One factor far larger than the others.
    Lopsided,
    /// Denormal numbers.
    Tiny,
    /// Nearly as large as there are.
    Huge,
}

fn factors(spread: Spread, items: usize, count: usize, seed: u64) -> Vec<f32> {
    let mut all = Vec::with_capacity(items * count);
    for item in 0..items {
        let mut stream = Stream::new(seed, "items", item as u64);
        let mut normal = || stream.normal() as f32;
        let scale = (normal() * 1.5).exp();
        for factor in 0..count {
            all.push(match spread {
                Spread::Normal => normal(),
                Spread::Steep => normal() * scale,
                Spread::Ties => (normal() * 0.8).trunc(),
                Spread::Lopsided if factor == 0 => 100.0 + normal(),
                Spread::Lopsided => normal() * 0.01,
                Spread::Tiny => normal() * 1e-38,
                Spread::Huge => normal() * 1e12,
            });
        }
    }
    all
}

fn search(items: &[f32], index: &ItemIndex, user: &[f32], k: usize) -> (Vec<(u32, u32)>, usize) {
    let mut best = Scored { top: TopK::new(k), user, items, scored: 0 };
    if !index.search(user, &mut best, &Uninterrupted).unwrap() {
        (0..(items.len() / user.len()) as u32).for_each(|item| best.consider(item));
    }
    (bits(best.top), best.scored)
}

fn bits(top: TopK) -> Vec<(u32, u32)> {
    top.finish().into_iter().map(|(item, score)| (item, score.to_bits())).collect()
}

fn index(items: &[f32], count: usize) -> ItemIndex {
    let fitted = FittedIndex::build(items, count, &Uninterrupted).unwrap().unwrap();
    ItemIndex::load(Arc::new(fitted.payload()), items.len() / count, count).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn it_finds_what_scoring_all_items_finds(
        spread in prop_oneof![
            Just(Spread::Normal), Just(Spread::Steep), Just(Spread::Ties), Just(Spread::Lopsided),
            Just(Spread::Tiny), Just(Spread::Huge),
        ],
        users in prop_oneof![Just(Spread::Normal), Just(Spread::Ties), Just(Spread::Tiny)],
        items in MIN_ITEMS..MIN_ITEMS + 600,
        count in prop_oneof![1usize..20, Just(64), 100usize..130],
        k in prop_oneof![Just(1usize), Just(10), 0usize..200],
        seed in any::<u64>(),
    ) {
        let items = factors(spread, items, count, seed);
        let index = index(&items, count);
        for user in factors(users, 4, count, seed ^ 1).chunks(count) {
            let mut all = TopK::new(k);
            for (item, row) in (0..).zip(items.chunks(count)) {
                all.offer(item, dot(user, row));
            }
            prop_assert_eq!(search(&items, &index, user, k).0, bits(all));
        }
    }
}

#[test]
fn few_items_are_scored() {
    let items = factors(Spread::Normal, 40_000, 64, 5);
    let index = index(&items, 64);
    for user in factors(Spread::Normal, 20, 64, 6).chunks(64) {
        let (best, scored) = search(&items, &index, user, 10);
        assert_eq!(best.len(), 10);
        assert!(scored < 400, "{scored}");
    }
}

#[test]
fn numbers_beyond_its_means_get_no_index() {
    let build = |items: &[f32]| FittedIndex::build(items, 2, &Uninterrupted).unwrap();
    let mut items = vec![1.0f32; 2 * MIN_ITEMS];
    assert!(build(&items).is_some());
    assert!(build(&items[2..]).is_none());
    for odd in [f32::NAN, f32::INFINITY, 1e20] {
        items[7] = odd;
        assert!(build(&items).is_none(), "{odd}");
    }
}

/// A forger's order and bounds may hide items or name others than there are, which the recommender
/// does not find; a search comes to its end all the same.
#[test]
fn a_search_of_forged_bytes_ends() {
    let items = factors(Spread::Steep, MIN_ITEMS + 5, 7, 8);
    let fitted = FittedIndex::build(&items, 7, &Uninterrupted).unwrap().unwrap().payload();
    let users = factors(Spread::Normal, 3, 7, 9);
    let mut stream = Stream::new(10, "forgeries", 0);
    let mut loaded = 0;
    for _ in 0..2000 {
        let mut bytes = fitted.to_vec();
        for _ in 0..=stream.below(40) {
            let at = 32 + stream.below(bytes.len() as u32 - 32) as usize;
            bytes[at] = stream.below(256) as u8;
        }
        let checksum = xxhash_rust::xxh3::xxh3_64(&bytes[32..]);
        bytes[24..32].copy_from_slice(&checksum.to_le_bytes());
        let bytes = Arc::new(AlignedBytes::from(&*bytes));
        let Ok(index) = ItemIndex::load(bytes, MIN_ITEMS + 5, 7) else { continue };
        loaded += 1;
        for user in users.chunks(7) {
            index.search(user, &mut Nobody, &Uninterrupted).unwrap();
        }
    }
    assert!(loaded > 200, "{loaded}");
}

/// Takes no item.
struct Nobody;

impl Best for Nobody {
    fn floor(&self) -> f32 {
        1.0
    }

    fn consider(&mut self, _item: u32) {}
}
