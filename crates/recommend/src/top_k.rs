//! The best `k` of a stream of scored items, exactly.

/// Gathers scored items and keeps the best `k`: greater scores first, ties by smaller item, NaN
/// after everything. An item offered twice with one score counts once.
///
/// Takes memory for at most twice `k` items, and no more than were offered.
#[derive(Debug)]
pub struct TopK {
    k: usize,
    /// Score and item as one number, of which greater is better.
    keys: Vec<u64>,
    /// Keys that do not exceed it cannot be among the best.
    threshold: u64,
    /// Scores below it cannot be among the best: a cheap first test.
    floor: f32,
}

impl TopK {
    /// A selection of the best `k`.
    pub fn new(k: usize) -> Self {
        Self { k, keys: Vec::new(), threshold: 0, floor: f32::NEG_INFINITY }
    }

    /// Whether an item of this score may still be among the best.
    #[inline]
    pub fn admits(&self, score: f32) -> bool {
        score >= self.floor || score.is_nan()
    }

    /// Scores below it cannot be among the best.
    pub fn floor(&self) -> f32 {
        self.floor
    }

    /// Offers an item.
    #[inline]
    pub fn offer(&mut self, item: u32, score: f32) {
        let key = u64::from(rank(score)) << 32 | u64::from(!item);
        if key > self.threshold && self.k > 0 {
            self.keys.push(key);
            if self.keys.len() >= self.k.saturating_mul(2).max(32) {
                self.compact();
            }
        }
    }

    fn compact(&mut self) {
        self.keys.sort_unstable_by(|a, b| b.cmp(a));
        self.keys.dedup();
        self.keys.truncate(self.k);
        if self.k > 0 && self.keys.len() == self.k {
            self.threshold = self.keys[self.k - 1];
            let floor = score(self.threshold);
            self.floor = if floor.is_nan() { f32::NEG_INFINITY } else { floor };
        }
    }

    /// The best, best first.
    pub fn finish(mut self) -> Vec<(u32, f32)> {
        self.compact();
        self.keys.into_iter().map(|key| (!(key as u32), score(key))).collect()
    }
}

/// A number that orders as the scores do, NaN lowest and both zeros equal.
fn rank(score: f32) -> u32 {
    if score.is_nan() {
        return 0;
    }
    let bits = (score + 0.0).to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// The score of a key.
fn score(key: u64) -> f32 {
    match (key >> 32) as u32 {
        0 => f32::NAN,
        rank if rank >> 31 == 1 => f32::from_bits(rank & !(1 << 31)),
        rank => f32::from_bits(!rank),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Few distinct scores, so that there are ties, and all the odd ones.
    fn odd_score() -> impl Strategy<Value = f32> {
        prop_oneof![
            4 => (-3i8..4).prop_map(f32::from),
            2 => any::<f32>(),
            1 => Just(f32::NAN),
            1 => Just(-f32::NAN),
            1 => Just(f32::INFINITY),
            1 => Just(f32::NEG_INFINITY),
            1 => Just(-0.0),
            1 => Just(f32::from_bits(1)),
        ]
    }

    /// A full sort.
    fn reference(items: &[(u32, f32)], k: usize) -> Vec<(u32, u32)> {
        let mut items = items.to_vec();
        items.sort_by(|a, b| {
            (a.1.is_nan().cmp(&b.1.is_nan()))
                .then(b.1.partial_cmp(&a.1).unwrap_or(std::cmp::Ordering::Equal))
                .then(a.0.cmp(&b.0))
        });
        items.dedup_by_key(|item| item.0);
        items.truncate(k);
        items.into_iter().map(bits).collect()
    }

    fn bits((item, score): (u32, f32)) -> (u32, u32) {
        (item, if score.is_nan() { f32::NAN.to_bits() } else { (score + 0.0).to_bits() })
    }

    proptest! {
        #[test]
        fn equals_a_full_sort(
            scores in prop::collection::vec(odd_score(), 0..300),
            k in prop_oneof![0usize..8, 0usize..400, Just(usize::MAX)],
            order in any::<u64>(),
            repeats in 1usize..4,
        ) {
            let mut items: Vec<(u32, f32)> =
                (0..).zip(scores).map(|(item, score)| (item * 7, score)).collect();
            let expected = reference(&items, k);
            items = items.repeat(repeats);
            teller_numeric::Stream::new(order, "test", 0).shuffle(&mut items);
            let mut top = TopK::new(k);
            for &(item, score) in &items {
                if top.admits(score) {
                    top.offer(item, score);
                }
            }
            let best: Vec<_> = top.finish().into_iter().map(bits).collect();
            prop_assert_eq!(best, expected);
        }
    }

    #[test]
    fn memory_follows_k_and_not_the_items() {
        let mut top = TopK::new(10);
        (0..100_000).for_each(|item| top.offer(item, item as f32));
        assert!(top.keys.capacity() <= 64);
        assert_eq!(top.finish()[0], (99_999, 99_999.0));
    }
}
