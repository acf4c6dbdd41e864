//! Whole-number dot products of one query with many vectors of bytes, 16 of them side by side, as
//! a filter: which of them reach a threshold. Whole numbers have no order of sums, so that every
//! path gives the same.

use super::Isa;
#[cfg(target_arch = "x86_64")]
use super::Token;

/// Vectors that lie side by side in a group.
pub const GROUP: usize = 16;
/// Components of one vector that lie together.
const TOGETHER: usize = 4;
/// What is added to a code, so that it is a byte without a sign.
const ZERO: i32 = 128;

/// Vectors of `width` whole numbers from -127 to 127, in groups of 16, a byte a number: the first
/// four numbers of each of the 16, then the next four of each, and so on.
#[derive(Clone, Copy, Debug)]
pub struct Codes<'a> {
    width: usize,
    bytes: &'a [u8],
}

/// Bytes of one group of vectors of `width` numbers.
pub fn group_bytes(width: usize) -> usize {
    width.next_multiple_of(TOGETHER) * GROUP
}

/// Writes vector `lane` of a group, which begins as zeros; what is missing of the width stays 0.
///
/// # Panics
/// If the group is shorter than the vector needs, or `lane` is 16 or more.
pub fn encode(group: &mut [u8], lane: usize, vector: impl Iterator<Item = i8>) {
    assert!(lane < GROUP, "a group has {GROUP} lanes, not {lane}");
    for (index, number) in vector.enumerate() {
        let at = index / TOGETHER * GROUP * TOGETHER + lane * TOGETHER + index % TOGETHER;
        group[at] = (i32::from(number) + ZERO) as u8;
    }
}

/// A group of zeros.
pub fn empty_group(width: usize) -> Vec<u8> {
    vec![ZERO as u8; group_bytes(width)]
}

/// The vector that is multiplied with others.
#[derive(Clone, Debug)]
pub struct CodeQuery {
    numbers: Vec<[i8; TOGETHER]>,
    /// What the sums begin with, since the codes have `ZERO` too much in each number.
    start: i32,
}

impl CodeQuery {
    /// Of numbers from -127 to 127.
    pub fn new(numbers: impl Iterator<Item = i8>) -> Self {
        let mut chunks = Vec::new();
        let mut sum = 0;
        for (index, number) in numbers.enumerate() {
            if index % TOGETHER == 0 {
                chunks.push([0; TOGETHER]);
            }
            if let Some(last) = chunks.last_mut() {
                last[index % TOGETHER] = number;
            }
            sum += i32::from(number);
        }
        Self { numbers: chunks, start: -ZERO * sum }
    }
}

impl<'a> Codes<'a> {
    /// `None` if `bytes` are not whole groups.
    pub fn new(width: usize, bytes: &'a [u8]) -> Option<Self> {
        let group = group_bytes(width);
        (group > 0 && bytes.len().is_multiple_of(group)).then_some(Self { width, bytes })
    }

    /// For each group from `first` on, as many as there are `thresholds`, a bit for each of its
    /// vectors, the lowest for the first: whether its product with `query` is at least the group's
    /// threshold.
    ///
    /// # Panics
    /// If the query is not of this width, or there are fewer groups or masks.
    pub fn reach(
        &self,
        isa: Isa,
        query: &CodeQuery,
        first: usize,
        thresholds: &[i32],
        masks: &mut [u16],
    ) {
        let group = group_bytes(self.width);
        assert_eq!(query.numbers.len(), self.width.div_ceil(TOGETHER), "another width");
        assert!(masks.len() >= thresholds.len(), "fewer masks than thresholds");
        let bytes = &self.bytes[first * group..(first + thresholds.len()) * group];
        #[cfg(target_arch = "x86_64")]
        if matches!(isa.0, Token::Avx512(_)) && is_x86_feature_detected!("avx512vnni") {
            // SAFETY: the processor has both; the bytes are as many groups as there are
            // thresholds, each as wide as the query.
            return unsafe { reach_vnni(query, bytes, thresholds, masks) };
        }
        isa.vectorize(reach, (query, bytes, thresholds, masks));
    }
}

#[inline(always)]
fn reach((query, bytes, thresholds, masks): (&CodeQuery, &[u8], &[i32], &mut [u16])) {
    let group = query.numbers.len() * GROUP * TOGETHER;
    let groups = bytes.chunks_exact(group).zip(thresholds).zip(masks);
    for ((bytes, &threshold), mask) in groups {
        let mut sums = [query.start; GROUP];
        let (steps, _) = bytes.as_chunks::<{ GROUP * TOGETHER }>();
        for (step, numbers) in steps.iter().zip(&query.numbers) {
            let numbers = numbers.map(i32::from);
            for (lane, sum) in sums.iter_mut().enumerate() {
                for (at, number) in numbers.iter().enumerate() {
                    *sum += i32::from(step[lane * TOGETHER + at]) * number;
                }
            }
        }
        *mask = 0;
        for (lane, &sum) in sums.iter().enumerate() {
            *mask |= u16::from(sum >= threshold) << lane;
        }
    }
}

/// # Safety
/// The processor must have AVX-512F and VNNI; `bytes` must be as many groups as there are
/// thresholds, and no more than there are masks, each of the query's length.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn reach_vnni(query: &CodeQuery, bytes: &[u8], thresholds: &[i32], masks: &mut [u16]) {
    use std::arch::x86_64::*;
    let group = query.numbers.len() * GROUP * TOGETHER;
    let groups = bytes.chunks_exact(group).zip(thresholds).zip(masks);
    for ((bytes, &threshold), mask) in groups {
        let mut even = _mm512_set1_epi32(query.start);
        let mut odd = _mm512_setzero_si512();
        let (pairs, last) = query.numbers.as_chunks::<2>();
        let mut from = bytes.as_ptr();
        for [first, second] in pairs {
            // SAFETY: a group has 64 bytes for each four numbers of the query.
            unsafe {
                let codes = _mm512_loadu_si512(from.cast());
                even = _mm512_dpbusd_epi32(even, codes, splat(*first));
                let codes = _mm512_loadu_si512(from.add(64).cast());
                odd = _mm512_dpbusd_epi32(odd, codes, splat(*second));
                from = from.add(128);
            }
        }
        for numbers in last {
            // SAFETY: as above.
            let codes = unsafe { _mm512_loadu_si512(from.cast()) };
            even = _mm512_dpbusd_epi32(even, codes, splat(*numbers));
        }
        let sums = _mm512_add_epi32(even, odd);
        *mask = _mm512_cmpge_epi32_mask(sums, _mm512_set1_epi32(threshold));
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn splat(numbers: [i8; TOGETHER]) -> __m512i {
        _mm512_set1_epi32(i32::from_ne_bytes(numbers.map(|number| number as u8)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_path_finds_what_the_long_way_finds(
            width in 1usize..140,
            groups in 1usize..5,
            seed in any::<u64>(),
            middle in -40_000i32..40_000,
        ) {
            let mut stream = crate::Stream::new(seed, "codes", 0);
            let mut number = || stream.below(255) as i32 as i16 as i8;
            let mut number = || match number() { i8::MIN => 127, other => other };
            let query: Vec<i8> = (0..width).map(|_| number()).collect();
            let vectors: Vec<Vec<i8>> =
                (0..groups * GROUP).map(|_| (0..width).map(|_| number()).collect()).collect();
            let mut bytes = Vec::new();
            for vectors in vectors.chunks(GROUP) {
                let mut group = empty_group(width);
                for (lane, vector) in vectors.iter().enumerate() {
                    encode(&mut group, lane, vector.iter().copied());
                }
                bytes.extend(group);
            }
            let codes = Codes::new(width, &bytes).unwrap();
            let thresholds: Vec<i32> = (0..groups as i32).map(|g| middle + g * 1000).collect();
            let product = |vector: &Vec<i8>| -> i32 {
                vector.iter().zip(&query).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum()
            };
            let expected: Vec<u16> = vectors
                .chunks(GROUP)
                .zip(&thresholds)
                .map(|(vectors, &threshold)| {
                    let bit = |(lane, vector)| u16::from(product(vector) >= threshold) << lane;
                    vectors.iter().enumerate().map(bit).sum()
                })
                .collect();
            let query = CodeQuery::new(query.iter().copied());
            for isa in Isa::available() {
                let mut masks = vec![0xaaaa; groups];
                codes.reach(isa, &query, 0, &thresholds, &mut masks);
                prop_assert_eq!(&masks, &expected, "{}", isa.name());
                codes.reach(isa, &query, groups - 1, &thresholds[groups - 1..], &mut masks);
                prop_assert_eq!(masks[0], expected[groups - 1]);
            }
        }
    }

    #[test]
    fn half_a_group_is_none() {
        assert!(Codes::new(5, &[0; 100]).is_none());
        assert!(Codes::new(0, &[]).is_none());
    }
}
