//! How much each of several recommenders should count, by what users took that none of them has
//! seen: forward selection with replacement, which takes the one that helps most, again and again,
//! for several halves of the users, of which the mean is less by chance than one selection for all
//! (Caruana et al., "Ensemble Selection from Libraries of Models", ICML 2004).

use rayon::prelude::*;
use teller_numeric::{Control, Stream};

use super::validated::K;
use crate::metrics::ndcg_at_k;
use crate::recommender::Blend;
use crate::{Error, Interactions, Recommender, Size, TopK};

/// Halves of the users, and what they are drawn by.
const BAGS: u64 = 8;
const SEED: u64 = 42;
/// How often one is taken.
const ROUNDS: usize = 16;
/// Of each recommender this many of its best items can come to the top.
const BEST: usize = 50;

/// What each recommender says of a user's likeliest items.
struct Judged {
    /// By item: one score of each recommender.
    scores: Vec<f32>,
    /// Whether the user took the item.
    took: Vec<bool>,
    /// How many items he took in all.
    relevant: usize,
}

/// Weights of `members` that add up to 1, and the mean NDCG with them.
pub(crate) fn learn(
    members: &[Recommender],
    held_out: &Interactions,
    control: &dyn Control,
) -> Result<(Vec<f32>, f64), Error> {
    let users = (0..held_out.users().len() as u32)
        .into_par_iter()
        .map(|user| judge(members, held_out, user, control))
        .collect::<Result<Vec<_>, Error>>()?;
    let users: Vec<Judged> = users.into_iter().flatten().collect();
    let mut weights = vec![0.0; members.len()];
    for bag in 0..BAGS {
        let mut some: Vec<&Judged> = users.iter().collect();
        Stream::new(SEED, "bag of users", bag).shuffle(&mut some);
        some.truncate(users.len().div_ceil(2));
        for (sum, weight) in weights.iter_mut().zip(select(&some, members.len(), control)?) {
            *sum += weight / BAGS as f64;
        }
    }
    let all: Vec<&Judged> = users.iter().collect();
    let ndcg = mean_ndcg(&all, &weights, control)?;
    Ok((weights.into_iter().map(|weight| weight as f32).collect(), ndcg))
}

/// The weights that are best for these users.
fn select(users: &[&Judged], members: usize, control: &dyn Control) -> Result<Vec<f64>, Error> {
    let mut counts = vec![0.0; members];
    let mut best = (vec![1.0 / members.max(1) as f64; members], f64::NEG_INFINITY);
    for round in 1..=ROUNDS {
        let mut round_best: Option<(f64, usize)> = None;
        for member in 0..members {
            control.check()?;
            counts[member] += 1.0;
            let ndcg = mean_ndcg(users, &counts, control)?;
            counts[member] -= 1.0;
            if round_best.is_none_or(|(best, _)| ndcg > best) {
                round_best = Some((ndcg, member));
            }
        }
        let Some((ndcg, member)) = round_best else { break };
        counts[member] += 1.0;
        if ndcg > best.1 {
            best = (counts.iter().map(|count| count / round as f64).collect(), ndcg);
        }
    }
    Ok(best.0)
}

/// Nothing for a user whom the recommenders do not know, as they are of one mind there.
fn judge(
    members: &[Recommender],
    held_out: &Interactions,
    user: u32,
    control: &dyn Control,
) -> Result<Option<Judged>, Error> {
    let Some(first) = members.first() else { return Ok(None) };
    let Some(known) = held_out.users().get(user).and_then(|id| first.user_index(id)) else {
        return Ok(None);
    };
    let seen = first.seen(known);
    let (items, _) = held_out.by_user().row(user as usize);
    let took: Vec<Option<u32>> = items
        .iter()
        .map(|&item| held_out.items().get(item).and_then(|id| first.item_index(id)))
        .collect();
    let mut all = Vec::with_capacity(members.len());
    let mut likeliest = Vec::new();
    for member in members {
        let scores = Blend::standardized(member, known, control)?;
        let mut top = TopK::new(BEST);
        for (item, &score) in (0..).zip(&scores) {
            if top.admits(score) && seen.binary_search(&item).is_err() {
                top.offer(item, score);
            }
        }
        likeliest.extend(top.finish().into_iter().map(|(item, _)| item));
        all.push(scores);
    }
    likeliest.sort_unstable();
    likeliest.dedup();
    let scores = likeliest.iter().flat_map(|&item| all.iter().map(move |all| all[item as usize]));
    Ok(Some(Judged {
        scores: scores.collect(),
        took: likeliest.iter().map(|&item| took.contains(&Some(item))).collect(),
        relevant: took.len(),
    }))
}

fn mean_ndcg(users: &[&Judged], weights: &[f64], control: &dyn Control) -> Result<f64, Error> {
    let each = users
        .par_iter()
        .map(|user| {
            control.check()?;
            let mut top = TopK::new(K);
            for (at, scores) in (0..).zip(user.scores.chunks_exact(weights.len())) {
                let sum: f64 = scores.iter().zip(weights).map(|(&x, n)| f64::from(x) * n).sum();
                top.offer(at, sum as f32);
            }
            let hits: Vec<bool> =
                top.finish().iter().map(|&(at, _)| user.took[at as usize]).collect();
            Ok(ndcg_at_k(&hits, user.relevant, K))
        })
        .collect::<Result<Vec<f64>, Error>>()?;
    Ok(each.iter().sum::<f64>() / users.len().max(1) as f64)
}

/// Bytes that it takes, besides the recommenders.
pub(crate) fn memory(members: u64, users: u64, size: &Size) -> u64 {
    let judged = members.saturating_mul(BEST as u64).saturating_mul(4 * members + 5);
    // As many users as a split asks for, about, and all scores of those that are judged at once.
    (users.min(11_000).saturating_mul(judged))
        .saturating_add(size.items.saturating_mul(4 * (members + 2)).saturating_mul(size.threads))
}
