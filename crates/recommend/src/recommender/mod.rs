//! A trained recommender, read in place from its stored parts. Parts are untrusted: everything
//! that an answer relies on is checked when they are loaded.

mod blend;
mod choice;
mod content;
mod ease;
mod factors;
mod fold;
mod graph;
mod item_weights;
mod neighbors;
mod parts;
mod ratings;
mod reason;
mod seen;

use std::collections::BTreeMap;
use std::fmt::Debug;

use teller_numeric::Control;
use teller_payload::SharedBytes;

use crate::algorithm::weighting::Weighting;
use crate::ids::StoredIds;
use crate::{Error, IdRef, IdsView, Interactions, Part, TopK};
use choice::Choice;
use fold::{FOLDING, Histories, Joining};
use parts::{Parts, Stored, Whole, get};
use seen::Seen;

pub(crate) use blend::Blend;
pub use reason::{Because, Place, Reason};

/// What to recommend to whom.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Index of the user; `None` is an unknown one.
    pub user: Option<u32>,
    /// How many items.
    pub k: usize,
    /// Indexes of the items to choose from, in any order; `None` is all items.
    pub candidates: Option<&'a [u32]>,
    /// Whether items that the user has had may be among them.
    pub include_seen: bool,
}

/// A recommender ready to answer, from any number of threads.
#[derive(Debug)]
pub struct Recommender {
    users: StoredIds,
    items: StoredIds,
    /// Without, the popular items are for everybody.
    scoring: Option<Box<dyn Scoring>>,
    seen: Seen,
    popularity: Stored<f32>,
    /// The same where the latest users count most.
    recent: Option<Stored<f32>>,
    /// All that it was loaded from.
    parts: Whole,
}

/// The part of a recommender for which the latest users of an item count most.
pub(crate) const RECENT: &str = "recent_popularity";

/// What similar items ask of an algorithm.
const SIMILAR: &str = "find similar items";

/// What baskets ask of an algorithm.
const STRANGERS: &str = "serve whom it was not trained on";

/// What somebody had.
#[derive(Clone, Copy, Debug)]
struct History<'a> {
    /// Index of the user; `None` is somebody with these items whom the model was not trained on.
    user: Option<u32>,
    /// Indexes of the items, ascending.
    items: &'a [u32],
    /// What the items count; empty where this was not stored.
    weights: &'a [f32],
}

/// How an algorithm's numbers score items.
trait Scoring: Debug + Send + Sync {
    /// Whether it must be known what the items of a history count.
    fn needs_weights(&self) -> bool {
        false
    }

    /// What an amount of an item counts for, in a basket of somebody whom no training saw.
    fn weighting(&self) -> Result<Weighting, Error> {
        reason::unsupported(STRANGERS)
    }

    /// How what users take anew joins what they had, where users may come and change while the
    /// items' numbers stay.
    fn folds_in(&self) -> Result<Joining, Error> {
        reason::unsupported(FOLDING)
    }

    /// The numbers of the users, where there are any, when these are their histories, in which `data`
    /// is new.
    fn fold(
        &self,
        _histories: &Histories,
        _data: &Interactions,
        _control: &dyn Control,
    ) -> Result<Vec<Part>, Error> {
        Ok(Vec::new())
    }

    /// Bytes that its users' numbers may take beside those that there are, when `data` is folded in.
    fn fold_memory(&self, data: &Interactions) -> u64 {
        let users = data.users().len() as u64;
        self.factors().map_or(0, |[(_, count), _]| 4 * count as u64 * users)
    }

    /// The scores of all items for somebody with a history that is not empty.
    fn scores(&self, history: History<'_>, control: &dyn Control) -> Result<Vec<f32>, Error>;

    /// Offers the candidates, or at least all items that may be among the best `k`, with the same
    /// scores.
    fn choose<'c>(
        &self,
        history: History<'_>,
        candidates: Option<&[u32]>,
        _k: usize,
        choice: Choice<'c>,
        control: &dyn Control,
    ) -> Result<Choice<'c>, Error> {
        choice.by_scores(&self.scores(history, control)?, candidates, control)
    }

    /// What an item's score for somebody with a history that is not empty is made of: contributions
    /// that add up to it, the greatest first, ties by item; or of triples of a graph the
    /// probabilities of paths.
    fn explain(
        &self,
        _history: History<'_>,
        _item: u32,
        _control: &dyn Control,
    ) -> Result<Vec<Reason>, Error> {
        reason::unsupported("say why it recommends an item")
    }

    /// Offers the candidates, or at least all items that may be among the best `k`, with how
    /// similar they are to an item. `choice` leaves that item out; no score is NaN.
    fn similar<'c>(
        &self,
        _item: u32,
        _candidates: Option<&[u32]>,
        _k: usize,
        _choice: Choice<'c>,
        _control: &dyn Control,
    ) -> Result<Choice<'c>, Error> {
        reason::unsupported(SIMILAR)
    }

    /// The rating that a user, or an unknown one, would give an item, or an unknown one, where
    /// ratings are what scores stand for.
    fn rating(&self, _user: Option<u32>, _item: Option<u32>) -> Option<f32> {
        None
    }

    /// Row-major factors of all users and of all items, and how many each has, where there are any.
    fn factors(&self) -> Option<[(&[f32], usize); 2]> {
        None
    }
}

/// Opens an algorithm's parts, if they are among these.
type Load = fn(&Parts<'_>) -> Result<Option<Box<dyn Scoring>>, Error>;

const SCORINGS: [Load; 8] = [
    factors::load,
    neighbors::load,
    ease::load,
    item_weights::load,
    content::load,
    graph::load,
    ratings::load,
    blend::load,
];

/// Opens what was just trained.
pub(crate) fn load_fitted(parts: &[Part]) -> Result<Recommender, Error> {
    let share = |(name, bytes): &Part| (name.clone().into_owned(), bytes.clone() as SharedBytes);
    Recommender::load(&parts.iter().map(share).collect())
}

impl Recommender {
    /// Checks and opens the parts that [`crate::FittedRecommender::parts`] made. Parts of other
    /// names are ignored.
    pub fn load(parts: &BTreeMap<String, SharedBytes>) -> Result<Self, Error> {
        let whole = parts;
        let parts = |users, items| Parts { parts: whole, users, items };
        let users = StoredIds::load("user_ids", parts(0, 0).required("user_ids")?)?;
        let items = StoredIds::load("item_ids", parts(0, 0).required("item_ids")?)?;
        let parts = parts(users.view().len(), items.view().len());
        let seen = Seen::load(&parts, "seen")?;
        let popularity = parts.array("popularity", "popularity", &[parts.items])?;
        let recent = (parts.has(RECENT))
            .then(|| parts.array(RECENT, "popularity", &[parts.items]))
            .transpose()?;
        let mut scoring: Option<Box<dyn Scoring>> = None;
        for load in SCORINGS {
            if let Some(other) = load(&parts)?
                && scoring.replace(other).is_some()
            {
                let what = "there are numbers of several algorithms";
                return Err(Error::Inconsistent(what.to_owned()));
            }
        }
        let needed = scoring.as_ref().is_some_and(|scoring| scoring.needs_weights());
        if needed != seen.has_weights() {
            let what = "the seen items and the numbers are of different algorithms";
            return Err(Error::Inconsistent(what.to_owned()));
        }
        Ok(Self { users, items, scoring, seen, popularity, recent, parts: Whole(whole.clone()) })
    }

    /// Ids of the users, by index.
    pub fn users(&self) -> IdsView<'_> {
        self.users.view()
    }

    /// Ids of the items, by index.
    pub fn items(&self) -> IdsView<'_> {
        self.items.view()
    }

    /// The index of a user, if the model knows him.
    pub fn user_index(&self, id: IdRef<'_>) -> Option<u32> {
        self.users().index(id)
    }

    /// The index of an item, if the model knows it.
    pub fn item_index(&self, id: IdRef<'_>) -> Option<u32> {
        self.items().index(id)
    }

    /// The id of the user at `index`.
    pub fn user_id(&self, index: u32) -> Option<IdRef<'_>> {
        self.users().get(index)
    }

    /// The id of the item at `index`.
    pub fn item_id(&self, index: u32) -> Option<IdRef<'_>> {
        self.items().get(index)
    }

    /// Factors of all users, row-major, and how many factors a user has.
    pub fn user_factors(&self) -> Option<(&[f32], usize)> {
        self.scoring.as_ref()?.factors().map(|[users, _]| users)
    }

    /// Factors of all items, row-major, and how many factors an item has.
    pub fn item_factors(&self) -> Option<(&[f32], usize)> {
        self.scoring.as_ref()?.factors().map(|[_, items]| items)
    }

    /// For each item how many users had it.
    pub fn popularity(&self) -> &[f32] {
        get(&self.popularity)
    }

    /// What items are ranked by for users without history, and by `popular` for all.
    fn ranking(&self) -> &[f32] {
        get(self.recent.as_ref().unwrap_or(&self.popularity))
    }

    /// Indexes, ascending, of the items that the user at `index` had.
    pub fn seen(&self, index: u32) -> &[u32] {
        self.seen.row(index)
    }

    /// Names and bytes of all that it was loaded from.
    pub fn parts(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.parts.iter()
    }

    /// Bytes that this holds beside the parts that it was loaded from.
    pub fn memory(&self) -> usize {
        // Directories of six payloads: a few names and shapes each.
        size_of::<Self>() + 6 * 512
    }

    /// The best items for a user, best first, with their scores: item indexes, greater scores
    /// first, ties by item, NaN last. Candidates are cut before the choice, so that `k` items
    /// are returned whenever `k` remain. A user without history gets the popular items, scored
    /// by how many users had them.
    pub fn recommend(
        &self,
        request: &Request<'_>,
        control: &dyn Control,
    ) -> Result<Vec<(u32, f32)>, Error> {
        let seen = request.user.map_or(&[][..], |user| self.seen(user));
        let excluded = if request.include_seen { &[][..] } else { seen };
        let choice = Choice { top: TopK::new(request.k), excluded };
        let candidates = request.candidates;
        let choice = match (&self.scoring, request.user.and_then(|user| self.history(user))) {
            (Some(scoring), Some(history)) => {
                scoring.choose(history, candidates, request.k, choice, control)?
            }
            _ => choice.by_scores(self.ranking(), candidates, control)?,
        };
        Ok(choice.top.finish())
    }

    /// The best items for somebody whom the model does not know and who has a basket of items, as
    /// [`Self::recommend`] gives them. An item counts as often as it is in the basket; the user of
    /// the request is not looked at. Without any item that the model knows, the popular items come.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the algorithm knows its users alone, [`Error::Older`] where the
    /// stored numbers do not tell how others are served.
    pub fn recommend_from(
        &self,
        basket: &[u32],
        request: &Request<'_>,
        control: &dyn Control,
    ) -> Result<Vec<(u32, f32)>, Error> {
        let known = |item: &u32| (*item as usize) < self.items().len();
        let mut basket: Vec<u32> = basket.iter().copied().filter(known).collect();
        basket.sort_unstable();
        let (items, amounts): (Vec<u32>, Vec<f32>) =
            basket.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as f32)).unzip();
        let excluded = if request.include_seen { &[][..] } else { &items };
        let choice = Choice { top: TopK::new(request.k), excluded };
        let candidates = request.candidates;
        let choice = match &self.scoring {
            Some(scoring) if !items.is_empty() => {
                let weighting = scoring.weighting()?;
                let weights: Vec<f32> = amounts.iter().map(|&n| weighting.count(n)).collect();
                let history = History { user: None, items: &items, weights: &weights };
                scoring.choose(history, candidates, request.k, choice, control)?
            }
            _ => choice.by_scores(self.ranking(), candidates, control)?,
        };
        Ok(choice.top.finish())
    }

    /// What the score that [`Self::recommend`] gives an item for a user is made of: reasons whose
    /// contributions add up to it, or paths of a graph's triples, whose contributions are
    /// probabilities. A user without history is recommended what is popular, and that is the reason
    /// then.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the algorithm's scores come with no reasons, and [`Error::Older`]
    /// where the stored numbers do not tell them. No reasons for an item that does not exist.
    pub fn explain(
        &self,
        user: Option<u32>,
        item: u32,
        control: &dyn Control,
    ) -> Result<Vec<Reason>, Error> {
        control.check()?;
        let Some(&popularity) = self.ranking().get(item as usize) else {
            return Ok(Vec::new());
        };
        match (&self.scoring, user.and_then(|user| self.history(user))) {
            (Some(scoring), Some(history)) => scoring.explain(history, item, control),
            _ => Ok(vec![Reason::text("popularity", popularity)]),
        }
    }

    /// The `k` items most similar to an item, which is not among them: the most similar first, with
    /// how similar they are, ties by item. Candidates are cut before the choice.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the algorithm knows of no similarity. Nothing is similar to an
    /// item that does not exist.
    pub fn similar_items(
        &self,
        item: u32,
        k: usize,
        candidates: Option<&[u32]>,
        control: &dyn Control,
    ) -> Result<Vec<(u32, f32)>, Error> {
        let Some(scoring) = &self.scoring else { return reason::unsupported(SIMILAR) };
        if item as usize >= self.items().len() {
            return Ok(Vec::new());
        }
        let choice = Choice { top: TopK::new(k), excluded: &[item] };
        Ok(scoring.similar(item, candidates, k, choice, control)?.top.finish())
    }

    /// The rating that a user would give an item, within the range of those that there were. For an
    /// unknown user it is the mean of the item's ratings, shrunk; for an unknown item that of the
    /// user's; of both unknown the mean of all.
    ///
    /// # Errors
    /// [`Error::Unsupported`] of an algorithm that does not predict ratings.
    pub fn predict_rating(&self, user: Option<u32>, item: Option<u32>) -> Result<f32, Error> {
        let rating = self.scoring.as_ref().and_then(|scoring| scoring.rating(user, item));
        rating.ok_or(Error::Unsupported("predict ratings"))
    }

    /// What a user had, if that is anything.
    fn history(&self, user: u32) -> Option<History<'_>> {
        let items = self.seen(user);
        let weights = self.seen.weights(user);
        (!items.is_empty()).then_some(History { user: Some(user), items, weights })
    }
}
