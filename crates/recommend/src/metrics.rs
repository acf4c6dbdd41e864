//! How good a ranking is, against what the user really took.

use rayon::prelude::*;
use teller_numeric::Control;

use crate::{Error, Interactions, Recommender, Request};

/// Normalized discounted cumulative gain (Jarvelin and Kekalainen 2002) with binary relevance.
/// `hits` says for each rank, best first, whether the item there is relevant; `relevant` is how
/// many relevant items there are in all. Between 0 and 1.
pub fn ndcg_at_k(hits: &[bool], relevant: usize, k: usize) -> f64 {
    let gain = |rank: usize| 1.0 / libm::log2(rank as f64 + 2.0);
    let ideal: f64 = (0..relevant.min(k)).map(gain).sum();
    let got: f64 = ranks(hits, k).map(gain).sum();
    if ideal > 0.0 { got / ideal } else { 0.0 }
}

/// The share of the relevant items that are among the first `k`.
pub fn recall_at_k(hits: &[bool], relevant: usize, k: usize) -> f64 {
    if relevant == 0 { 0.0 } else { ranks(hits, k).count() as f64 / relevant as f64 }
}

/// Average precision: the mean, over as many relevant items as `k` can hold, of the precision at
/// the rank of each that was found. Its mean over users is MAP.
pub fn map_at_k(hits: &[bool], relevant: usize, k: usize) -> f64 {
    let sum: f64 = ranks(hits, k)
        .enumerate()
        .map(|(found, rank)| (found + 1) as f64 / (rank + 1) as f64)
        .sum();
    if relevant == 0 || k == 0 { 0.0 } else { sum / relevant.min(k) as f64 }
}

/// One over the rank of the first relevant item, 0 where there is none.
pub fn mrr(hits: &[bool], k: usize) -> f64 {
    ranks(hits, k).next().map_or(0.0, |rank| 1.0 / (rank + 1) as f64)
}

/// How unevenly the items are shown: 0 where all are shown as often, near 1 where a few are all that
/// is shown (the Gini index of `exposures`, how often each item was).
pub fn gini(mut exposures: Vec<u64>) -> f64 {
    let total: u64 = exposures.iter().sum();
    if total == 0 {
        return 0.0;
    }
    exposures.sort_unstable();
    let items = exposures.len() as f64;
    let sum: f64 = (1..)
        .zip(&exposures)
        .map(|(rank, &exposure)| (2.0 * f64::from(rank) - items - 1.0) * exposure as f64)
        .sum();
    sum / (items * total as f64)
}

/// 0-based ranks below `k` of the relevant items.
fn ranks(hits: &[bool], k: usize) -> impl Iterator<Item = usize> {
    hits.iter().take(k).enumerate().filter(|&(_, &hit)| hit).map(|(rank, _)| rank)
}

/// NDCG, recall, MAP and MRR at `k` of `recommender` on interactions that it was not trained on;
/// then what it shows those users: the share of all items that anybody is shown (`coverage`), how
/// surprising they are (`novelty`: the mean, over what is shown, of the bits -log2 of the share of
/// users that had it; Vargas and Castells, RecSys 2011) and how unevenly they are shown ([`gini`]).
///
/// Averaged over all users with held-out items, also over users that the model does not know
/// (they get the popular items). Held-out items that the model does not know count as relevant
/// and cannot be found. What a user had in training is neither recommended nor relevant; a user
/// with nothing left is not counted.
///
/// # Errors
/// [`Error::NoRows`] if no user is left.
pub fn evaluate(
    recommender: &Recommender,
    held_out: &Interactions,
    k: usize,
    control: &dyn Control,
) -> Result<Vec<(String, f64)>, Error> {
    let items = (0..held_out.items().len() as u32)
        .map(|item| held_out.items().get(item).and_then(|id| recommender.item_index(id)))
        .collect::<Vec<Option<u32>>>();
    let by_user = (0..held_out.users().len() as u32)
        .into_par_iter()
        .map(|user| {
            let known = held_out.users().get(user).and_then(|id| recommender.user_index(id));
            let seen = known.map_or(&[][..], |user| recommender.seen(user));
            // Both sides' ids are sorted, so known items ascend as their held-out indexes do.
            let relevant: Vec<Option<u32>> = held_out
                .by_user()
                .row(user as usize)
                .0
                .iter()
                .map(|&item| items[item as usize])
                .filter(|item| item.is_none_or(|item| seen.binary_search(&item).is_err()))
                .collect();
            if relevant.is_empty() {
                return Ok(None);
            }
            let request = Request { user: known, k, candidates: None, include_seen: false };
            let best = recommender.recommend(&request, control)?;
            let hits: Vec<bool> =
                best.iter().map(|&(item, _)| relevant.contains(&Some(item))).collect();
            let relevant = relevant.len();
            let figures = [
                ndcg_at_k(&hits, relevant, k),
                recall_at_k(&hits, relevant, k),
                map_at_k(&hits, relevant, k),
                mrr(&hits, k),
            ];
            Ok(Some((figures, best)))
        })
        .collect::<Result<Vec<_>, Error>>()?;
    // Summed in the users' order: the same bits for any number of threads.
    let mut sums = [0f64; 4];
    let mut users = 0u64;
    let mut exposures = vec![0u64; recommender.items().len()];
    for (metrics, best) in by_user.into_iter().flatten() {
        users += 1;
        sums.iter_mut().zip(metrics).for_each(|(sum, metric)| *sum += metric);
        best.iter().for_each(|&(item, _)| exposures[item as usize] += 1);
    }
    if users == 0 {
        return Err(Error::NoRows("interactions beyond those that the model was trained on"));
    }
    let names = ["ndcg", "recall", "map", "mrr"];
    let mut metrics: Vec<(String, f64)> = names
        .iter()
        .zip(sums)
        .map(|(name, sum)| (format!("{name}@{k}"), sum / users as f64))
        .collect();
    let count = exposures.len() as f64;
    let shown = exposures.iter().filter(|&&exposure| exposure > 0).count() as f64;
    metrics.push((format!("coverage@{k}"), shown / count));
    metrics.push((format!("novelty@{k}"), novelty(recommender, &exposures)));
    metrics.push((format!("gini@{k}"), gini(exposures)));
    if let Some(rmse) = rmse(recommender, held_out, &items, control)? {
        metrics.push(("rmse".to_owned(), rmse));
    }
    metrics.push(("users".to_owned(), users as f64));
    Ok(metrics)
}

/// The root of the mean squared error of predicted ratings, where the model predicts any, over what
/// users had not had in training. `items` are the model's indexes of the held-out items.
fn rmse(
    recommender: &Recommender,
    held_out: &Interactions,
    items: &[Option<u32>],
    control: &dyn Control,
) -> Result<Option<f64>, Error> {
    if recommender.predict_rating(None, None).is_err() {
        return Ok(None);
    }
    let ratings = held_out.ratings();
    let (mut sum, mut count) = (0f64, 0u64);
    for user in 0..ratings.rows() {
        control.check()?;
        let known = held_out.users().get(user as u32).and_then(|id| recommender.user_index(id));
        let seen = known.map_or(&[][..], |user| recommender.seen(user));
        let (columns, values) = ratings.row(user);
        for (&item, &rating) in columns.iter().zip(values) {
            let item = items[item as usize];
            if item.is_none_or(|item| seen.binary_search(&item).is_err()) {
                let error = f64::from(recommender.predict_rating(known, item)?) - f64::from(rating);
                sum += error * error;
                count += 1;
            }
        }
    }
    Ok((count > 0).then(|| (sum / count as f64).sqrt()))
}

/// Mean bits of what was shown.
fn novelty(recommender: &Recommender, exposures: &[u64]) -> f64 {
    let users = recommender.users().len() as f64;
    let total: u64 = exposures.iter().sum();
    let bits = exposures.iter().zip(recommender.popularity()).map(|(&exposure, &had)| {
        let share = f64::from(had).clamp(1.0, users) / users;
        exposure as f64 * -libm::log2(share)
    });
    bits.sum::<f64>() / total.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    #[test]
    fn worked_examples() {
        let hits = [false, true, true, false];
        let log2 = f64::log2;
        let ideal = 1.0 + 1.0 / log2(3.0) + 1.0 / log2(4.0);
        let got = 1.0 / log2(3.0) + 1.0 / log2(4.0);
        assert!(close(ndcg_at_k(&hits, 3, 4), got / ideal));
        assert!(close(ndcg_at_k(&hits, 3, 2), (1.0 / log2(3.0)) / (1.0 + 1.0 / log2(3.0))));
        assert!(close(recall_at_k(&hits, 5, 4), 0.4));
        assert!(close(map_at_k(&hits, 3, 4), (1.0 / 2.0 + 2.0 / 3.0) / 3.0));
        assert!(close(mrr(&hits, 4), 0.5));
        assert!(close(ndcg_at_k(&[true; 4], 9, 4), 1.0));
        assert!(close(map_at_k(&[true; 4], 9, 4), 1.0));
    }

    #[test]
    fn the_gini_index_of_shares() {
        assert!(close(gini(vec![5, 5, 5, 5]), 0.0));
        assert!(close(gini(vec![0, 0, 0, 8]), 0.75));
        // Of 1, 2 and 3 by the mean difference: (1 + 2 + 1) x 2 / (2 x 9 x 2).
        assert!(close(gini(vec![3, 1, 2]), 8.0 / 36.0));
        assert!(close(gini(vec![0, 0]), 0.0));
    }

    #[test]
    fn nothing_relevant_is_no_division_by_zero() {
        assert_eq!(ndcg_at_k(&[], 0, 10), 0.0);
        assert_eq!(recall_at_k(&[false], 0, 10), 0.0);
        assert_eq!(map_at_k(&[true], 1, 0), 0.0);
        assert_eq!(mrr(&[false], 10), 0.0);
    }
}
