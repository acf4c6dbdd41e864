//! A trained recommender, read in place from its stored parts. Parts are untrusted: everything
//! that an answer relies on is checked when they are loaded.

mod choice;
mod factors;
mod neighbors;
mod seen;

use std::collections::BTreeMap;

use teller_numeric::Control;
use teller_payload::{Array, Element, Payload, SharedBytes};

use crate::ids::StoredIds;
use crate::{Error, IdRef, IdsView, TopK};
use choice::Choice;
use factors::Factors;
use neighbors::Neighbors;
use seen::Seen;

/// An array and where it is read from.
type Stored<T> = (Payload, Array<T>);

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
    scoring: Scoring,
    seen: Seen,
    popularity: Stored<f32>,
}

/// What the scores of a user with a history are.
#[derive(Debug)]
enum Scoring {
    Popularity,
    Factors(Factors),
    Neighbors(Neighbors),
}

impl Recommender {
    /// Checks and opens the parts that [`crate::FittedRecommender::parts`] made. Parts of other
    /// names are ignored.
    pub fn load(parts: &BTreeMap<String, SharedBytes>) -> Result<Self, Error> {
        let bytes = |part: &'static str| {
            parts
                .get(part)
                .cloned()
                .ok_or_else(|| Error::Inconsistent(format!("the part \"{part}\" is missing")))
        };
        let users = StoredIds::load("user_ids", bytes("user_ids")?)?;
        let items = StoredIds::load("item_ids", bytes("item_ids")?)?;
        let (n, m) = (users.view().len(), items.view().len());
        let has = |part| parts.contains_key(part);
        let scoring = if has("neighbors") {
            let wrap = |source| Error::Payload { part: "neighbors", source };
            Scoring::Neighbors(Neighbors::load(bytes("neighbors")?, m).map_err(wrap)?)
        } else if has("user_factors") || has("item_factors") {
            let (users, items) = (bytes("user_factors")?, bytes("item_factors")?);
            let index = parts.get("item_index").cloned();
            Scoring::Factors(Factors::load(users, items, index, [n, m])?)
        } else {
            Scoring::Popularity
        };
        let seen = Seen::load(bytes("seen")?, n, m)?;
        if seen.has_weights() != matches!(scoring, Scoring::Neighbors(_)) {
            let what = "the seen items and the numbers are of different algorithms";
            return Err(Error::Inconsistent(what.to_owned()));
        }
        let popularity = array_of("popularity", bytes("popularity")?, "popularity", &[m])?;
        Ok(Self { users, items, scoring, seen, popularity })
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
        self.factors().map(Factors::users)
    }

    /// Factors of all items, row-major, and how many factors an item has.
    pub fn item_factors(&self) -> Option<(&[f32], usize)> {
        self.factors().map(Factors::items)
    }

    fn factors(&self) -> Option<&Factors> {
        match &self.scoring {
            Scoring::Factors(factors) => Some(factors),
            Scoring::Neighbors(_) | Scoring::Popularity => None,
        }
    }

    /// For each item how many users had it.
    pub fn popularity(&self) -> &[f32] {
        get(&self.popularity)
    }

    /// Indexes, ascending, of the items that the user at `index` had.
    pub fn seen(&self, index: u32) -> &[u32] {
        self.seen.row(index)
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
        let mut choice = Choice { top: TopK::new(request.k), excluded };
        let candidates = request.candidates;
        match (&self.scoring, request.user) {
            (Scoring::Factors(factors), Some(user)) if !seen.is_empty() => {
                choice = factors.choose(user, candidates, request.k, choice, control)?;
            }
            (Scoring::Neighbors(neighbors), Some(user)) if !seen.is_empty() => {
                let weights = self.seen.weights(user);
                let scores = neighbors.scores(seen, weights, self.items().len(), control)?;
                choice.by_scores(&scores, candidates, control)?;
            }
            _ => choice.by_scores(self.popularity(), candidates, control)?,
        }
        Ok(choice.top.finish())
    }
}

fn get<T: Element>(array: &Stored<T>) -> &[T] {
    array.0.get(array.1)
}

fn array_of<T: Element>(
    part: &'static str,
    bytes: SharedBytes,
    name: &str,
    shape: &[usize],
) -> Result<Stored<T>, Error> {
    let wrap = |source| Error::Payload { part, source };
    let payload = Payload::parse(bytes).map_err(wrap)?;
    let array = payload.array_of(name, shape).map_err(wrap)?;
    Ok((payload, array))
}
