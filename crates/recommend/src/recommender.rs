//! A trained recommender, read in place from its stored parts. Parts are untrusted: everything
//! that an answer relies on is checked when they are loaded.

use std::collections::BTreeMap;

use teller_numeric::{Control, Isa};
use teller_payload::{Array, Payload, SharedBytes};

use crate::ids::StoredIds;
use crate::index::{Best, ItemIndex};
use crate::vectors::{dot, scores};
use crate::{Error, IdRef, IdsView, TopK};

/// Items scored between two looks at the threshold.
const BLOCK: usize = 256;
/// With more than one in so many of the items to choose, a search would look at most of them.
const SEARCHED_SHARE: usize = 32;
/// Numbers read between two questions whether to stop: well under a millisecond.
const POLL_NUMBERS: usize = 1 << 20;

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
    factors: Option<Factors>,
    /// Versions from before 0.4.0 and small ones have none.
    index: Option<ItemIndex>,
    seen: Seen,
    popularity: (Payload, Array<f32>),
}

#[derive(Debug)]
struct Factors {
    count: usize,
    users: (Payload, Array<f32>),
    items: (Payload, Array<f32>),
}

#[derive(Debug)]
struct Seen {
    payload: Payload,
    offsets: Array<u64>,
    items: Array<u32>,
}

impl Seen {
    fn row(&self, user: u32) -> &[u32] {
        let offsets = self.payload.get(self.offsets);
        let user = user as usize;
        match (offsets.get(user), offsets.get(user + 1)) {
            (Some(&start), Some(&end)) => {
                self.payload.get(self.items).get(start as usize..end as usize).unwrap_or_default()
            }
            _ => &[],
        }
    }
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
        let factors = match (parts.contains_key("user_factors"), parts.contains_key("item_factors"))
        {
            (false, false) => None,
            _ => Some(load_factors(bytes("user_factors")?, bytes("item_factors")?, n, m)?),
        };
        let index = match (&factors, parts.get("item_index")) {
            (Some(factors), Some(bytes)) => {
                let wrap = |source| Error::Payload { part: "item_index", source };
                Some(ItemIndex::load(bytes.clone(), m, factors.count).map_err(wrap)?)
            }
            _ => None,
        };
        let seen = load_seen(bytes("seen")?, n, m)?;
        let popularity = array_of("popularity", bytes("popularity")?, "popularity", &[m])?;
        Ok(Self { users, items, factors, index, seen, popularity })
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
        self.factors.as_ref().map(|factors| (get(&factors.users), factors.count))
    }

    /// Factors of all items, row-major, and how many factors an item has.
    pub fn item_factors(&self) -> Option<(&[f32], usize)> {
        self.factors.as_ref().map(|factors| (get(&factors.items), factors.count))
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
        match (&self.factors, request.user) {
            (Some(factors), Some(user)) if !seen.is_empty() => {
                let f = factors.count;
                let user = row(get(&factors.users), user, f);
                let items = get(&factors.items);
                match (request.candidates, &self.index) {
                    (Some(candidates), _) => choice.of(candidates, user, items, control)?,
                    (None, Some(index)) if request.k <= items.len() / f / SEARCHED_SHARE => {
                        let mut best = Scored { choice, user, items };
                        let found = index.search(user, &mut best, control)?;
                        choice = best.choice;
                        if !found {
                            choice.of_all(user, items, control)?;
                        }
                    }
                    (None, _) => choice.of_all(user, items, control)?,
                }
            }
            _ => choice.by_popularity(self.popularity(), request.candidates, control)?,
        }
        Ok(choice.top.finish())
    }
}

struct Choice<'a> {
    top: TopK,
    /// Ascending.
    excluded: &'a [u32],
}

impl Choice<'_> {
    #[inline]
    fn offer(&mut self, item: u32, score: f32) {
        // The threshold first: few items pass it, so few are looked up.
        if self.top.admits(score) && self.excluded.binary_search(&item).is_err() {
            self.top.offer(item, score);
        }
    }

    fn of(
        &mut self,
        candidates: &[u32],
        user: &[f32],
        items: &[f32],
        control: &dyn Control,
    ) -> Result<(), Error> {
        for candidates in candidates.chunks((POLL_NUMBERS / user.len().max(1)).max(1)) {
            control.check()?;
            for &item in candidates {
                let row = row(items, item, user.len());
                if !row.is_empty() {
                    self.offer(item, dot(user, row));
                }
            }
        }
        Ok(())
    }

    fn of_all(&mut self, user: &[f32], items: &[f32], control: &dyn Control) -> Result<(), Error> {
        let f = user.len().max(1);
        let between_polls = (POLL_NUMBERS / f).next_multiple_of(BLOCK);
        let isa = Isa::detect();
        let mut block_scores = [0f32; BLOCK];
        let mut item = 0u32;
        for items in items.chunks(between_polls * f) {
            control.check()?;
            for block in items.chunks(BLOCK * f) {
                let block_scores = &mut block_scores[..block.len() / f];
                scores(isa, user, block, block_scores);
                for &score in &*block_scores {
                    self.offer(item, score);
                    item += 1;
                }
            }
        }
        Ok(())
    }

    fn by_popularity(
        &mut self,
        popularity: &[f32],
        candidates: Option<&[u32]>,
        control: &dyn Control,
    ) -> Result<(), Error> {
        match candidates {
            Some(candidates) => {
                for candidates in candidates.chunks(POLL_NUMBERS) {
                    control.check()?;
                    for &item in candidates {
                        if let Some(&score) = popularity.get(item as usize) {
                            self.offer(item, score);
                        }
                    }
                }
            }
            None => {
                let mut item = 0u32;
                for popularity in popularity.chunks(POLL_NUMBERS) {
                    control.check()?;
                    for &score in popularity {
                        self.offer(item, score);
                        item += 1;
                    }
                }
            }
        }
        Ok(())
    }
}

/// What a search finds, scored by the factors themselves.
struct Scored<'a> {
    choice: Choice<'a>,
    user: &'a [f32],
    items: &'a [f32],
}

impl Best for Scored<'_> {
    fn floor(&self) -> f32 {
        self.choice.top.floor()
    }

    fn consider(&mut self, item: u32) {
        let row = row(self.items, item, self.user.len());
        if !row.is_empty() {
            self.choice.offer(item, dot(self.user, row));
        }
    }
}

fn get(array: &(Payload, Array<f32>)) -> &[f32] {
    array.0.get(array.1)
}

fn row(factors: &[f32], index: u32, count: usize) -> &[f32] {
    let start = index as usize * count;
    factors.get(start..start + count).unwrap_or_default()
}

fn array_of(
    part: &'static str,
    bytes: SharedBytes,
    name: &str,
    shape: &[usize],
) -> Result<(Payload, Array<f32>), Error> {
    let wrap = |source| Error::Payload { part, source };
    let payload = Payload::parse(bytes).map_err(wrap)?;
    let array = payload.array_of(name, shape).map_err(wrap)?;
    Ok((payload, array))
}

fn load_factors(
    users: SharedBytes,
    items: SharedBytes,
    n: usize,
    m: usize,
) -> Result<Factors, Error> {
    let part = "item_factors";
    let wrap = |source| Error::Payload { part, source };
    let payload = Payload::parse(items).map_err(wrap)?;
    let (_, shape) = payload.array::<f32>("factors").map_err(wrap)?;
    let count = shape.last().copied().unwrap_or_default();
    if count == 0 {
        return Err(Error::Inconsistent("items have no factors".to_owned()));
    }
    let array = payload.array_of("factors", &[m, count]).map_err(wrap)?;
    let users = array_of("user_factors", users, "factors", &[n, count])?;
    Ok(Factors { count, users, items: (payload, array) })
}

fn load_seen(bytes: SharedBytes, n: usize, m: usize) -> Result<Seen, Error> {
    let part = "seen";
    let wrap = |source| Error::Payload { part, source };
    let payload = Payload::parse(bytes).map_err(wrap)?;
    let offsets = payload.array_of::<u64>("offsets", &[n + 1]).map_err(wrap)?;
    let (items, shape) = payload.array::<u32>("items").map_err(wrap)?;
    let inconsistent = |what: &str| Error::Inconsistent(format!("the seen items {what}"));
    let count: usize = shape.iter().product();
    let bounds = payload.get(offsets);
    if bounds.first() != Some(&0) || bounds.last() != Some(&(count as u64)) {
        return Err(inconsistent("are not covered by their offsets"));
    }
    if !bounds.is_sorted() {
        return Err(inconsistent("have offsets that run backwards"));
    }
    let seen = Seen { payload, offsets, items };
    for user in 0..n as u32 {
        let row = seen.row(user);
        if !row.is_sorted_by(|a, b| a < b) {
            return Err(inconsistent("of a user are not sorted or not unique"));
        }
        if row.last().is_some_and(|&item| item as usize >= m) {
            return Err(inconsistent("include one that does not exist"));
        }
    }
    Ok(seen)
}
