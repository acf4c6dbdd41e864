//! Whether what is made, rows or images, tells of single real ones.

use std::collections::HashSet;

use teller_numeric::{Control, Isa, Stream};

use super::distance::{Closest, closest};
use crate::Error;

/// Share of the rows that are nearest to a real one.
const NEAREST: f64 = 0.05;
/// The most that the attack may see of who was learned from: 0.5 is nothing, 1 all.
const MEMBERSHIP_LIMIT: f64 = 0.53;
/// Standard errors by which there may be more copies than among held-out rows, the distance ratio may
/// lie below 1, and of few rows the attack above 0.5: all are of two samples, so that rows that are
/// quite like held-out ones are on the wrong side half of the time.
const MARGIN: f64 = 2.0;
/// Samples of the bootstrap (Efron 1979).
const RESAMPLES: u64 = 200;

/// Rows or images as points of which the nearest are asked for, each set column by column.
pub(in crate::generative) struct Points {
    /// Learned from, and made.
    pub(in crate::generative) known: [Vec<Vec<f32>>; 2],
    /// Some that were learned from, made, and held out, whose closest ones are looked for.
    pub(in crate::generative) asked: [Vec<Vec<f32>>; 3],
}

/// Figures of single rows, or images. Held-out rows are real ones that were not learned from: what
/// synthetic rows show beyond what those show was learned by heart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Privacy {
    /// Share of the synthetic rows that are copies of rows learned from.
    pub copies: f64,
    /// The same of held-out rows.
    pub copies_held_out: f64,
    /// The standard error of their difference where both are of one kind.
    pub copies_error: f64,
    /// Distance to the closest row learned from, at the nearest 5 % of the synthetic rows, over
    /// that of the held-out ones; 1 where both are 0.
    pub distance_ratio: f64,
    /// The standard error of that ratio, by bootstrap.
    pub distance_ratio_error: f64,
    /// Mean over the synthetic rows of the distance to the closest row learned from over that to
    /// the next one.
    pub neighbor_ratio: f64,
    /// The same of held-out rows.
    pub neighbor_ratio_held_out: f64,
    /// How well the distance to the closest synthetic row tells rows learned from from held-out
    /// ones, as the area under the curve.
    pub membership_auc: f64,
    /// The standard error of that area where nothing is seen (Mann and Whitney 1947).
    pub membership_auc_error: f64,
}

impl Privacy {
    /// Of points, and the copies among made and held-out ones.
    pub(in crate::generative) fn new(
        points: &Points,
        copies: [Copied; 2],
        control: &dyn Control,
    ) -> Result<Self, Error> {
        let isa = Isa::detect();
        let Points { known: [learned, made], asked: [members, asked, others] } = points;
        let near = |from: &[Vec<f32>], among: &[Vec<f32>]| closest(isa, from, among, control);
        let from_made = near(asked, learned)?;
        let from_others = near(others, learned)?;
        let firsts = |of: &[Closest]| of.iter().map(|closest| closest.first).collect::<Vec<f32>>();
        let distances = [&from_made, &from_others].map(|of| firsts(of));
        let distance_ratio_error = ratio_error(&distances);
        let [members, others] = [near(members, made)?, near(others, made)?].map(|of| firsts(&of));
        Ok(Self {
            copies: copies[0].share(),
            copies_held_out: copies[1].share(),
            copies_error: Copied::error(copies),
            distance_ratio: ratio(distances),
            distance_ratio_error,
            neighbor_ratio: neighbor_ratio(&from_made),
            neighbor_ratio_held_out: neighbor_ratio(&from_others),
            membership_auc: lower_share(&members, &others),
            membership_auc_error: lower_share_error(members.len(), others.len()),
        })
    }

    /// The names of the figures that are beyond their limits.
    pub fn failures(&self) -> Vec<&'static str> {
        let seen = MEMBERSHIP_LIMIT.max(0.5 + MARGIN * self.membership_auc_error);
        let limits = [
            ("copies", self.copies <= self.copies_held_out + MARGIN * self.copies_error),
            ("distance_ratio", self.distance_ratio + MARGIN * self.distance_ratio_error >= 1.0),
            ("membership_auc", self.membership_auc <= seen),
        ];
        limits.into_iter().filter(|(_, holds)| !holds).map(|(name, _)| name).collect()
    }

    pub(in crate::generative) fn figures(&self) -> [(&'static str, f64); 10] {
        [
            ("copies", self.copies),
            ("copies_held_out", self.copies_held_out),
            ("copies_error", self.copies_error),
            ("distance_ratio", self.distance_ratio),
            ("distance_ratio_error", self.distance_ratio_error),
            ("neighbor_ratio", self.neighbor_ratio),
            ("neighbor_ratio_held_out", self.neighbor_ratio_held_out),
            ("membership_auc", self.membership_auc),
            ("membership_auc_error", self.membership_auc_error),
            ("private", f64::from(u8::from(self.failures().is_empty()))),
        ]
    }
}

/// How many of some rows are copies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::generative) struct Copied {
    pub(in crate::generative) copies: usize,
    pub(in crate::generative) of: usize,
}

impl Copied {
    /// Of `rows` those that are among the `known` ones, all as digests.
    pub(in crate::generative) fn count(
        known: &HashSet<u64>,
        rows: impl ExactSizeIterator<Item = u64>,
    ) -> Self {
        Self { of: rows.len(), copies: rows.filter(|row| known.contains(row)).count() }
    }

    fn share(self) -> f64 {
        self.copies as f64 / self.of.max(1) as f64
    }

    /// The standard error of the difference of two shares that are one and the same, estimated from
    /// both.
    fn error(both: [Self; 2]) -> f64 {
        let [first, second] = both.map(|copied| copied.of.max(1) as f64);
        let copies = both.iter().map(|copied| copied.copies as f64).sum::<f64>();
        let share = copies / (first + second);
        libm::sqrt(share * (1.0 - share) * (1.0 / first + 1.0 / second))
    }
}

fn quantile(mut distances: Vec<f32>) -> f32 {
    distances.sort_unstable_by(f32::total_cmp);
    let place = (distances.len() as f64 * NEAREST) as usize;
    distances.get(place).copied().unwrap_or(0.0)
}

/// Of the nearest of two kinds of rows, the first over the second.
fn ratio(distances: [Vec<f32>; 2]) -> f64 {
    match distances.map(quantile) {
        [near, held_out] if near == held_out => 1.0,
        [near, held_out] => f64::from(near) / f64::from(held_out).max(1e-9),
    }
}

/// How far the ratio is off, as it is when rows are drawn from these again.
fn ratio_error(distances: &[Vec<f32>; 2]) -> f64 {
    let resampled =
        |number| {
            let mut stream = Stream::new(0, "resampled distances", number);
            ratio(distances.each_ref().map(|of| {
                (0..of.len()).map(|_| of[stream.below(of.len() as u32) as usize]).collect()
            }))
        };
    let ratios: Vec<f64> = (0..RESAMPLES).map(resampled).collect();
    let mean = ratios.iter().sum::<f64>() / RESAMPLES as f64;
    let squares = ratios.iter().map(|ratio| (ratio - mean) * (ratio - mean)).sum::<f64>();
    libm::sqrt(squares / (RESAMPLES - 1) as f64)
}

fn neighbor_ratio(of: &[Closest]) -> f64 {
    let ratio = |closest: &Closest| {
        // Two copies are as near as each other.
        if closest.second > 0.0 {
            f64::from(closest.first) / f64::from(closest.second)
        } else {
            1.0
        }
    };
    of.iter().map(ratio).sum::<f64>() / of.len().max(1) as f64
}

/// Share of the pairs in which the one of `members` is the lower, equal ones counting half.
fn lower_share(members: &[f32], others: &[f32]) -> f64 {
    let mut others = others.to_vec();
    others.sort_unstable_by(f32::total_cmp);
    let higher = |member: &f32| {
        let past = others.partition_point(|other| other <= member);
        let before = others.partition_point(|other| other < member);
        (others.len() - past) as f64 + 0.5 * (past - before) as f64
    };
    let pairs = (members.len() * others.len()).max(1) as f64;
    members.iter().map(higher).sum::<f64>() / pairs
}

/// The standard error of [`lower_share`] of so many members and others that are of one kind.
fn lower_share_error(members: usize, others: usize) -> f64 {
    let (members, others) = (members as f64, others as f64);
    libm::sqrt((members + others + 1.0) / (12.0 * members * others).max(1.0))
}

#[cfg(test)]
mod tests {
    use teller_numeric::Uninterrupted;

    use super::*;

    #[test]
    fn the_attack_sees_what_is_near() {
        assert_eq!(lower_share(&[0.1, 0.2], &[0.3, 0.4]), 1.0);
        assert_eq!(lower_share(&[0.3, 0.4], &[0.1, 0.2]), 0.0);
        assert_eq!(lower_share(&[0.1, 0.3], &[0.2, 0.3]), 0.625);
        let mut stream = Stream::new(6, "distances", 0);
        let mut drawn = |count| (0..count).map(|_| stream.uniform()).collect::<Vec<f32>>();
        let squares = (0..400).map(|_| {
            let off = lower_share(&drawn(40), &drawn(90)) - 0.5;
            off * off
        });
        let spread = (squares.sum::<f64>() / 400.0).sqrt();
        let error = lower_share_error(40, 90);
        assert!((spread / error - 1.0).abs() < 0.15, "{spread} {error}");
    }

    /// Rows of the same kind are seldom found too near, rows that are nearer nearly always.
    #[test]
    fn the_margin_is_that_of_the_samples() {
        let far_enough = |scale: f32, trial: u64| {
            let mut stream = Stream::new(5, "distances", trial);
            let mut draw = |scale: f32| -> Vec<f32> {
                (0..600).map(|_| scale * (1.0 + stream.normal() as f32).abs()).collect()
            };
            let distances = [draw(scale), draw(1.0)];
            let error = ratio_error(&distances);
            ratio(distances) + MARGIN * error >= 1.0
        };
        let passed = |scale| (0..60).filter(|&trial| far_enough(scale, trial)).count();
        assert!(passed(1.0) >= 55, "{}", passed(1.0));
        assert!(passed(0.4) <= 6, "{}", passed(0.4));
    }

    /// Of rows like those learned from some samples are unlucky.
    #[test]
    fn what_was_learned_by_heart_is_seen() {
        let failures = |trial: u64| {
            let mut stream = Stream::new(7, "points", trial);
            let mut drawn = |rows: usize| -> Vec<Vec<f32>> {
                (0..6).map(|_| (0..rows).map(|_| stream.uniform()).collect()).collect()
            };
            let (learned, held_out, fresh) = (drawn(600), drawn(300), drawn(600));
            let beside = |column: &Vec<f32>| column.iter().map(|x| x + 0.001).collect();
            let by_heart = learned.iter().map(beside).collect();
            [by_heart, fresh].map(|made: Vec<Vec<f32>>| {
                let asked = [learned.clone(), made.clone(), held_out.clone()];
                let points = Points { known: [learned.clone(), made], asked };
                Privacy::new(&points, [Copied { copies: 0, of: 600 }; 2], &Uninterrupted)
                    .unwrap()
                    .failures()
            })
        };
        let trials: Vec<_> = (0..20).map(failures).collect();
        let seen = |by_heart: &Vec<&str>| *by_heart == ["distance_ratio", "membership_auc"];
        assert!(trials.iter().all(|[by_heart, _]| seen(by_heart)), "{trials:?}");
        let passed = trials.iter().filter(|[_, fresh]| fresh.is_empty()).count();
        assert!(passed >= 17, "{trials:?}");
    }

    #[test]
    fn the_error_of_a_difference_of_shares_is_its_spread() {
        let mut stream = Stream::new(4, "copies", 0);
        let mut drawn =
            |of| Copied { of, copies: (0..of).filter(|_| stream.below(20) == 0).count() };
        let (mut squares, mut errors) = (0.0, 0.0);
        for _ in 0..1000 {
            let both = [drawn(300), drawn(120)];
            let off = both[0].share() - both[1].share();
            squares += off * off / 1000.0;
            errors += Copied::error(both) / 1000.0;
        }
        assert!((f64::sqrt(squares) / errors - 1.0).abs() < 0.1, "{squares} {errors}");
        assert_eq!(Copied::error([Copied { copies: 0, of: 0 }; 2]), 0.0);
    }

    #[test]
    fn what_is_beyond_its_limit_is_named() {
        let fine = Privacy {
            copies: 0.001,
            copies_held_out: 0.002,
            copies_error: 0.0004,
            distance_ratio: 1.1,
            distance_ratio_error: 0.06,
            neighbor_ratio: 0.8,
            neighbor_ratio_held_out: 0.8,
            membership_auc: 0.51,
            membership_auc_error: 0.009,
        };
        assert!(fine.failures().is_empty());
        let copied = Privacy { copies: 0.003, ..fine };
        assert_eq!(copied.failures(), ["copies"]);
        assert!(Privacy { copies_error: 0.0006, ..copied }.failures().is_empty());
        assert!(Privacy { distance_ratio: 0.9, ..fine }.failures().is_empty());
        let known = Privacy { distance_ratio: 0.87, membership_auc: 0.6, ..fine };
        assert_eq!(known.failures(), ["distance_ratio", "membership_auc"]);
        let seen = Privacy { membership_auc: 0.54, ..fine };
        assert_eq!(seen.failures(), ["membership_auc"]);
        assert!(Privacy { membership_auc_error: 0.021, ..seen }.failures().is_empty());
    }
}
