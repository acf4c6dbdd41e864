//! Who took what, how much: gathered row by row from a cursor, then a sparse matrix that does
//! not depend on the order of the rows.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::Hash;

use teller_numeric::{Cancelled, Control};
use teller_payload::{AlignedBytes, DataDigest};

use crate::csr::{Csr, POLL, accumulate};
use crate::{Error, IdRef, Ids, IdsView};

/// Indexes are below this, so that a count fits an index too.
const MAX_IDS: usize = u32::MAX as usize - 1;
const ROWS_PER_CHUNK: usize = 1 << 16;
/// 12 for the row as it came, 8 for its entry of the matrix: both exist while it is built.
const BYTES_PER_ROW: u64 = 20;
/// As it came, while growing; with its user and item; of its pair.
const BYTES_PER_TIME: u64 = 40;

#[derive(Clone, Copy)]
struct Row {
    user: u32,
    item: u32,
    weight: f32,
}

/// Gathers rows of user, item and weight; counts memory as it grows.
pub struct InteractionsBuilder {
    users: Column,
    items: Column,
    chunks: Vec<Vec<Row>>,
    /// When each row was, where that is known.
    times: Vec<f64>,
    rows: u64,
    max_bytes: u64,
}

impl InteractionsBuilder {
    /// A builder that takes at most about `max_bytes` of memory, [`Self::finish`] included.
    pub fn new(max_bytes: u64) -> Self {
        Self {
            users: Column::new("user", "users"),
            items: Column::new("item", "items"),
            chunks: Vec::new(),
            times: Vec::new(),
            rows: 0,
            max_bytes,
        }
    }

    /// Adds a row. `weight` says how much the user wants the item: finite and greater than 0.
    pub fn push(&mut self, user: IdRef<'_>, item: IdRef<'_>, weight: f32) -> Result<(), Error> {
        let row = self.rows + 1;
        if !(weight.is_finite() && weight > 0.0) {
            return Err(Error::Weight { row, value: weight });
        }
        let user = self.users.index(user, row)?;
        let item = self.items.index(item, row)?;
        self.rows = row;
        self.check_bytes()?;
        // Chunks rather than one growing vector: no moment with two copies of the rows.
        match self.chunks.last_mut().filter(|chunk| chunk.len() < ROWS_PER_CHUNK) {
            Some(chunk) => chunk.push(Row { user, item, weight }),
            None => {
                let mut chunk = Vec::with_capacity(ROWS_PER_CHUNK.min(1 << (row.min(16))));
                chunk.push(Row { user, item, weight });
                self.chunks.push(chunk);
            }
        }
        Ok(())
    }

    /// As [`Self::push`], at a finite time, in days since any moment. All rows have one or none.
    pub fn push_at(
        &mut self,
        user: IdRef<'_>,
        item: IdRef<'_>,
        weight: f32,
        time: f64,
    ) -> Result<(), Error> {
        if !time.is_finite() {
            return Err(Error::Time { row: self.rows + 1 });
        }
        self.push(user, item, weight)?;
        self.times.push(time);
        Ok(())
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// About how many bytes [`Self::finish`] needs for what there is so far.
    pub fn bytes(&self) -> u64 {
        let times = self.times.len() as u64 * BYTES_PER_TIME;
        self.rows * BYTES_PER_ROW + times + self.users.bytes + self.items.bytes
    }

    /// Makes an item one of the model's, whether anybody took it or not. Its provisional index;
    /// `row` is told if its id is of another type.
    pub(crate) fn add_item(&mut self, item: IdRef<'_>, row: u64) -> Result<u32, Error> {
        let index = self.items.index(item, row)?;
        self.check_bytes()?;
        Ok(index)
    }

    fn check_bytes(&self) -> Result<(), Error> {
        let needed = self.bytes();
        if needed > self.max_bytes {
            let what = "the interactions";
            return Err(Error::TooLarge { what, needed, limit: self.max_bytes });
        }
        Ok(())
    }

    /// The rows as a matrix: rows of the same user and item are summed.
    pub fn finish(self, control: &dyn Control) -> Result<Interactions, Error> {
        Ok(self.finish_ranked(control)?.0)
    }

    /// [`Self::finish`], and of each provisional index of an item its place among all.
    pub(crate) fn finish_ranked(
        self,
        control: &dyn Control,
    ) -> Result<(Interactions, Vec<u32>), Error> {
        if self.rows == 0 {
            return Err(Error::NoRows("interactions"));
        }
        let (users, user_ranks) = self.users.finish(control)?;
        let (items, item_ranks) = self.items.finish(control)?;
        let latest = (!self.times.is_empty())
            .then(|| latest(&self.chunks, self.times, &user_ranks, &item_ranks));
        let mut offsets = vec![0u64; user_ranks.len() + 1];
        for chunk in &self.chunks {
            control.check()?;
            chunk.iter().for_each(|row| offsets[user_ranks[row.user as usize] as usize + 1] += 1);
        }
        accumulate(&mut offsets);
        let mut entries = vec![(0u32, 0f32); self.rows as usize];
        let mut next = offsets.clone();
        for chunk in self.chunks {
            control.check()?;
            for row in chunk {
                let next = &mut next[user_ranks[row.user as usize] as usize];
                entries[*next as usize] = (item_ranks[row.item as usize], row.weight);
                *next += 1;
            }
        }
        drop((next, user_ranks));
        let (by_user, repeated) = merge(offsets, entries, control)?;
        let duplicates = self.rows - by_user.columns.len() as u64;
        Ok((Interactions { users, items, by_user, repeated, duplicates, latest }, item_ranks))
    }
}

/// The last time of each pair of user and item, in the order of the matrix.
fn latest(
    chunks: &[Vec<Row>],
    times: Vec<f64>,
    user_ranks: &[u32],
    item_ranks: &[u32],
) -> Vec<f64> {
    let mut rows: Vec<(u32, u32, f64)> = (chunks.iter().flatten().zip(times))
        .map(|(row, time)| (user_ranks[row.user as usize], item_ranks[row.item as usize], time))
        .collect();
    rows.sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(b.2.total_cmp(&a.2)));
    rows.dedup_by_key(|row| (row.0, row.1));
    rows.into_iter().map(|(_, _, time)| time).collect()
}

/// Sorts each row by item and sums equal items; tells which entries are sums, and of how many.
fn merge(
    mut offsets: Vec<u64>,
    mut entries: Vec<(u32, f32)>,
    control: &dyn Control,
) -> Result<(Csr, Vec<(u64, u32)>), Error> {
    let mut repeated = Vec::new();
    let mut columns = Vec::with_capacity(entries.len());
    let mut values = Vec::with_capacity(entries.len());
    let mut start = 0;
    let mut until_poll = 0;
    for offset in offsets.iter_mut().skip(1) {
        let end = *offset as usize;
        let row_entries = &mut entries[start..end];
        if until_poll <= row_entries.len() {
            control.check()?;
            until_poll = POLL;
        }
        until_poll = until_poll.saturating_sub(row_entries.len() + 1);
        // Weights are sorted too: the sum of duplicates must not depend on the order of rows.
        row_entries.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        for same in row_entries.chunk_by(|a, b| a.0 == b.0) {
            let sum: f64 = same.iter().map(|&(_, weight)| f64::from(weight)).sum();
            if same.len() > 1 {
                repeated.push((columns.len() as u64, same.len() as u32));
            }
            columns.push(same[0].0);
            values.push((sum as f32).min(f32::MAX));
        }
        *offset = columns.len() as u64;
        start = end;
    }
    Ok((Csr { offsets, columns, values }, repeated))
}

/// The interactions of users with items.
#[derive(Clone, Debug, PartialEq)]
pub struct Interactions {
    users: Ids,
    items: Ids,
    by_user: Csr,
    /// Entries of the matrix, ascending, that are sums, and of how many rows.
    repeated: Vec<(u64, u32)>,
    duplicates: u64,
    /// Of each entry the last time, in days, where times are known.
    latest: Option<Vec<f64>>,
}

impl Interactions {
    /// Ids of the users; user `u` is row `u`.
    pub fn users(&self) -> IdsView<'_> {
        self.users.view()
    }

    /// Ids of the items; item `i` is column `i`.
    pub fn items(&self) -> IdsView<'_> {
        self.items.view()
    }

    /// Weights, users x items.
    pub fn by_user(&self) -> &Csr {
        &self.by_user
    }

    /// Weights as ratings, users x items: of rows of the same user and item the mean.
    pub fn ratings(&self) -> Cow<'_, Csr> {
        let mut ratings = Cow::Borrowed(&self.by_user);
        if !self.repeated.is_empty() {
            let values = &mut ratings.to_mut().values;
            self.repeated.iter().for_each(|&(at, rows)| values[at as usize] /= rows as f32);
        }
        ratings
    }

    /// Weights, items x users.
    pub fn by_item(&self, control: &dyn Control) -> Result<Csr, Error> {
        Ok(self.by_user.transpose(self.items().len(), control)?)
    }

    /// Distinct pairs of user and item.
    pub fn len(&self) -> usize {
        self.by_user.columns.len()
    }

    /// Never: without rows there are no interactions to make.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows that were summed into another one.
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Distinct users of each item.
    pub fn popularity(&self) -> Vec<f32> {
        let mut counts = vec![0u32; self.items().len()];
        self.by_user.columns.iter().for_each(|&item| counts[item as usize] += 1);
        counts.into_iter().map(|count| count as f32).collect()
    }

    /// What the users of each item count for, where one counts half as much for each `half_life` days
    /// that the last of all interactions is later than his.
    pub(crate) fn recent_popularity(&self, half_life: f64) -> Option<Vec<f32>> {
        let times = self.latest.as_ref()?;
        let last = times.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut sums = vec![0f64; self.items().len()];
        for (&item, time) in self.by_user.columns.iter().zip(times) {
            sums[item as usize] += libm::exp2((time - last) / half_life);
        }
        Some(sums.into_iter().map(|sum| sum as f32).collect())
    }

    /// The pairs of user and item for which `keep` says so, with the users and items that have
    /// any (with `all_items`, all items); nothing if there are none.
    pub(crate) fn subset(
        &self,
        keep: impl Fn(u32, u32) -> bool,
        all_items: bool,
        control: &dyn Control,
    ) -> Result<Option<Self>, Cancelled> {
        let mut kept = Csr { offsets: vec![0], columns: Vec::new(), values: Vec::new() };
        let mut users = Vec::new();
        let mut repeated = Vec::new();
        let mut latest = self.latest.as_ref().map(|_| Vec::new());
        let mut of_pairs = self.repeated.iter().peekable();
        let mut ranks = vec![if all_items { 0 } else { u32::MAX }; self.items().len()];
        let mut until_poll = 0;
        for user in 0..self.by_user.rows() {
            let (items, weights) = self.by_user.row(user);
            if until_poll <= items.len() {
                control.check()?;
                until_poll = POLL;
            }
            until_poll = until_poll.saturating_sub(items.len() + 1);
            let before = kept.columns.len();
            for (pair, (&item, &weight)) in
                (self.by_user.offsets[user]..).zip(items.iter().zip(weights))
            {
                let rows = of_pairs.next_if(|(at, _)| *at == pair);
                if keep(user as u32, item) {
                    repeated.extend(rows.map(|&(_, rows)| (kept.columns.len() as u64, rows)));
                    kept.columns.push(item);
                    kept.values.push(weight);
                    if let (Some(kept), Some(times)) = (&mut latest, &self.latest) {
                        kept.push(times[pair as usize]);
                    }
                    ranks[item as usize] = 0;
                }
            }
            if kept.columns.len() > before {
                users.push(user as u32);
                kept.offsets.push(kept.columns.len() as u64);
            }
        }
        if users.is_empty() {
            return Ok(None);
        }
        let items: Vec<u32> =
            (0..).zip(&ranks).filter(|&(_, &rank)| rank == 0).map(|(item, _)| item).collect();
        (0..).zip(&items).for_each(|(rank, &item)| ranks[item as usize] = rank);
        for columns in kept.columns.chunks_mut(POLL) {
            control.check()?;
            columns.iter_mut().for_each(|column| *column = ranks[*column as usize]);
        }
        let (users, items) = (self.users.select(&users), self.items.select(&items));
        Ok(Some(Self { users, items, by_user: kept, repeated, duplicates: 0, latest }))
    }

    /// A digest of the matrix; factors do not depend on the ids of its rows and columns.
    pub(crate) fn digest(&self, control: &dyn Control) -> Result<DataDigest, Cancelled> {
        const POLL: usize = 1 << 22;
        let mut digest = DataDigest::new();
        digest.update(&[self.items().len() as u64]);
        for offsets in self.by_user.offsets.chunks(POLL) {
            control.check()?;
            digest.update(offsets);
        }
        for (columns, values) in
            self.by_user.columns.chunks(POLL).zip(self.by_user.values.chunks(POLL))
        {
            control.check()?;
            digest.update(columns);
            digest.update(values);
        }
        for &(at, rows) in &self.repeated {
            digest.update(&[at, u64::from(rows)]);
        }
        for times in self.latest.iter().flat_map(|times| times.chunks(POLL)) {
            control.check()?;
            let bits: Vec<u64> = times.iter().map(|time| time.to_bits()).collect();
            digest.update(&bits);
        }
        Ok(digest)
    }

    /// The ids of users and of items as they are stored.
    pub(crate) fn ids_payloads(&self) -> (AlignedBytes, AlignedBytes) {
        (self.users.payload(), self.items.payload())
    }
}

/// Gives each distinct id of a column a provisional index in the order of arrival.
struct Column {
    name: &'static str,
    plural: &'static str,
    indexes: Indexes,
    bytes: u64,
}

enum Indexes {
    None,
    Integers(HashMap<i64, u32>),
    Texts(HashMap<Box<str>, u32>),
}

impl Column {
    fn new(name: &'static str, plural: &'static str) -> Self {
        Self { name, plural, indexes: Indexes::None, bytes: 0 }
    }

    fn index(&mut self, id: IdRef<'_>, row: u64) -> Result<u32, Error> {
        if matches!(self.indexes, Indexes::None) {
            self.indexes = match id {
                IdRef::Integer(_) => Indexes::Integers(HashMap::new()),
                IdRef::Text(_) => Indexes::Texts(HashMap::new()),
            };
        }
        let mixed = |expected| Error::MixedIds { column: self.name, row, got: id.kind(), expected };
        let (known, count) = match (&self.indexes, id) {
            (Indexes::Integers(map), IdRef::Integer(id)) => (map.get(&id).copied(), map.len()),
            (Indexes::Texts(map), IdRef::Text(id)) => (map.get(id).copied(), map.len()),
            (Indexes::Integers(_), IdRef::Text(_)) => return Err(mixed("integers")),
            _ => return Err(mixed("texts")),
        };
        if let Some(index) = known {
            return Ok(index);
        }
        if count >= MAX_IDS {
            return Err(Error::TooMany { what: self.plural, limit: MAX_IDS as u64 });
        }
        let index = count as u32;
        // Estimates of a growing table's slots, the sorted ids, the ranks and the offsets.
        match (&mut self.indexes, id) {
            (Indexes::Integers(map), IdRef::Integer(id)) => {
                map.insert(id, index);
                self.bytes += 80;
            }
            (Indexes::Texts(map), IdRef::Text(id)) => {
                map.insert(id.into(), index);
                self.bytes += 136 + 2 * id.len() as u64;
            }
            _ => {}
        }
        Ok(index)
    }

    /// The sorted ids, and for each provisional index its place among them.
    fn finish(self, control: &dyn Control) -> Result<(Ids, Vec<u32>), Error> {
        match self.indexes {
            Indexes::None => Ok((Ids::Integers(Vec::new()), Vec::new())),
            Indexes::Integers(map) => {
                let (ids, ranks) = sorted(map);
                control.check()?;
                Ok((Ids::Integers(ids), ranks))
            }
            Indexes::Texts(map) => {
                let (ids, ranks) = sorted(map);
                control.check()?;
                let mut offsets = Vec::with_capacity(ids.len() + 1);
                let mut bytes = Vec::with_capacity(ids.iter().map(|id| id.len()).sum());
                offsets.push(0);
                for id in ids {
                    bytes.extend_from_slice(id.as_bytes());
                    offsets.push(bytes.len() as u64);
                }
                Ok((Ids::Texts { offsets, bytes }, ranks))
            }
        }
    }
}

fn sorted<T: Ord + Hash>(map: HashMap<T, u32>) -> (Vec<T>, Vec<u32>) {
    let mut pairs: Vec<(T, u32)> = map.into_iter().collect();
    pairs.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let mut ranks = vec![0; pairs.len()];
    for (rank, &(_, provisional)) in pairs.iter().enumerate() {
        ranks[provisional as usize] = rank as u32;
    }
    (pairs.into_iter().map(|(id, _)| id).collect(), ranks)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use teller_numeric::Uninterrupted;

    use super::*;

    fn build(rows: &[(i64, String, f32)]) -> Result<Interactions, Error> {
        let mut builder = InteractionsBuilder::new(1 << 20);
        for (user, item, weight) in rows {
            builder.push(IdRef::Integer(*user), IdRef::Text(item), *weight)?;
        }
        builder.finish(&Uninterrupted)
    }

    proptest! {
        #[test]
        fn equals_a_map_in_any_order(
            rows in prop::collection::vec((-5i64..5, "[ab]{1,2}", 0.1f32..9.0), 1..80),
            seed in any::<u64>(),
        ) {
            let data = build(&rows).unwrap();
            let mut map = BTreeMap::<_, Vec<f32>>::new();
            for (user, item, weight) in &rows {
                map.entry((*user, item.clone())).or_default().push(*weight);
            }
            prop_assert_eq!(data.len(), map.len());
            prop_assert_eq!(data.duplicates(), (rows.len() - map.len()) as u64);
            for ((user, item), weights) in &map {
                let user = data.users().index(IdRef::Integer(*user)).unwrap();
                let item = data.items().index(IdRef::Text(item)).unwrap();
                let (columns, values) = data.by_user().row(user as usize);
                let at = columns.binary_search(&item).unwrap();
                let sum: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
                prop_assert!((f64::from(values[at]) - sum).abs() < 1e-4);
                let mean = data.ratings().row(user as usize).1[at];
                prop_assert!((f64::from(mean) - sum / weights.len() as f64).abs() < 1e-4);
            }
            let mut shuffled = rows.clone();
            teller_numeric::Stream::new(seed, "test", 0).shuffle(&mut shuffled);
            prop_assert_eq!(build(&shuffled).unwrap(), data);
        }

        #[test]
        fn transposing_twice_changes_nothing(
            rows in prop::collection::vec((0i64..9, "[abcd]", 0.1f32..9.0), 1..50),
        ) {
            let data = build(&rows).unwrap();
            let by_item = data.by_item(&Uninterrupted).unwrap();
            let back = by_item.transpose(data.users().len(), &Uninterrupted).unwrap();
            prop_assert_eq!(&back, data.by_user());
            let degrees: Vec<f32> =
                (0..by_item.rows()).map(|item| by_item.degree(item) as f32).collect();
            prop_assert_eq!(degrees, data.popularity());
        }
    }

    #[test]
    fn bad_rows_are_named() {
        for value in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let error = build(&[(1, "a".into(), 1.0), (1, "b".into(), value)]).unwrap_err();
            assert!(matches!(error, Error::Weight { row: 2, .. }), "{error}");
        }
        let mut builder = InteractionsBuilder::new(1 << 20);
        builder.push(IdRef::Integer(1), IdRef::Integer(2), 1.0).unwrap();
        let error = builder.push(IdRef::Integer(1), IdRef::Text("2"), 1.0).unwrap_err();
        let expected = "the item id of row 2 is a text, but those before it are integers";
        assert_eq!(error.to_string(), expected);
        let empty = InteractionsBuilder::new(1 << 20).finish(&Uninterrupted);
        assert_eq!(empty.unwrap_err(), Error::NoRows("interactions"));
    }

    #[test]
    fn memory_is_limited() {
        let mut builder = InteractionsBuilder::new(10_000);
        let error = (0..1000)
            .find_map(|id| builder.push(IdRef::Integer(id), IdRef::Integer(0), 1.0).err())
            .unwrap();
        assert!(matches!(error, Error::TooLarge { needed: 10_001.., limit: 10_000, .. }));
    }

    #[test]
    fn a_sum_beyond_the_range_stays_finite() {
        let rows = vec![(1, "a".to_owned(), f32::MAX); 2];
        assert_eq!(build(&rows).unwrap().by_user().values, [f32::MAX]);
    }
}
