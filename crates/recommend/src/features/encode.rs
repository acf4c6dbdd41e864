//! Columns as features of comparable size. Numbers are standardized; missing ones are the mean. A
//! text is one category where texts repeat, else its words; categories and words are weighed by
//! how rare they are (inverse document frequency: Sparck Jones 1972), and those of one item and
//! column together have the length 1, as a number has on average.

use std::collections::HashMap;

use teller_numeric::Control;

use super::ItemFeatures;
use super::columns::{Column, Texts, Values};
use super::words::words;
use crate::Error;
use crate::csr::Csr;

/// A column of at most so many distinct texts, each of which stands there twice on average, holds
/// categories.
const CATEGORIES: usize = 50;
/// Of a column at most so many categories or words are features: those of the most items.
pub(super) const VOCABULARY: usize = 1 << 15;
/// Standard deviations beyond which a number counts no more.
const FARTHEST: f64 = 8.0;
/// Rows between two questions whether to stop.
const POLL: usize = 1 << 12;

/// The features of all items.
pub(crate) struct Encoded {
    /// Items x features.
    pub(crate) matrix: Csr,
    /// What each feature is.
    pub(crate) names: Vec<String>,
    /// Columns that tell no item from another: constant, missing, or different for every item.
    pub(crate) dropped: u64,
    /// Values that are missing in the other columns.
    pub(crate) missing: u64,
}

/// Of each row features by their number among the column's, and what they are.
struct Block {
    names: Vec<String>,
    rows: Vec<Vec<(u32, f32)>>,
    missing: u64,
}

impl ItemFeatures {
    /// The features that tell items apart.
    ///
    /// # Errors
    /// [`Error::NoFeatures`] if there are none.
    pub(crate) fn encode(&self, control: &dyn Control) -> Result<Encoded, Error> {
        let mut encoded = Encoded {
            matrix: Csr { offsets: vec![0], columns: Vec::new(), values: Vec::new() },
            names: Vec::new(),
            dropped: 0,
            missing: 0,
        };
        let mut blocks = Vec::new();
        for column in &self.columns {
            let block = self.block(column, control)?;
            if block.names.is_empty() {
                encoded.dropped += 1;
                continue;
            }
            encoded.missing += block.missing;
            let first = encoded.names.len() as u32;
            encoded.names.extend(block.names);
            blocks.push((first, block.rows));
        }
        if self.columns.is_empty() {
            return Err(Error::NoRows("columns of features besides the items' ids"));
        }
        if encoded.names.is_empty() {
            return Err(Error::NoFeatures { columns: self.columns.len() });
        }
        let matrix = &mut encoded.matrix;
        for row in &self.rows {
            if let &Some(row) = row {
                for (first, rows) in &blocks {
                    for &(feature, value) in &rows[row as usize] {
                        matrix.columns.push(first + feature);
                        matrix.values.push(value);
                    }
                }
            }
            matrix.offsets.push(matrix.columns.len() as u64);
        }
        Ok(encoded)
    }

    fn block(&self, column: &Column, control: &dyn Control) -> Result<Block, Error> {
        control.check()?;
        match &column.values {
            Values::Numbers(numbers) => Ok(self.numbers(&column.name, numbers)),
            Values::Texts(texts) => self.texts(&column.name, texts, control),
        }
    }

    /// Rows in the order of their items: a sum in it does not depend on the order of arrival.
    fn in_order(&self) -> impl Iterator<Item = usize> {
        self.rows.iter().flatten().map(|&row| row as usize)
    }

    fn numbers(&self, name: &str, numbers: &[f64]) -> Block {
        let given = || self.in_order().map(|row| numbers[row]).filter(|number| !number.is_nan());
        // Divided by the greatest, no square overflows.
        let scale = given().map(f64::abs).fold(f64::MIN_POSITIVE, f64::max);
        let count = given().count();
        let mean = given().map(|number| number / scale).sum::<f64>() / count.max(1) as f64;
        let apart = |number: f64| number / scale - mean;
        let variance = given().map(|number| apart(number).powi(2)).sum::<f64>();
        let deviation = (variance / count.max(1) as f64).sqrt();
        // Equal numbers may differ from their mean by rounding.
        let names = if deviation > 1e-12 { vec![name.to_owned()] } else { Vec::new() };
        let standardized = |&number: &f64| {
            let value = (apart(number) / deviation).clamp(-FARTHEST, FARTHEST) as f32;
            if number.is_nan() || names.is_empty() { Vec::new() } else { vec![(0, value)] }
        };
        let rows = numbers.iter().map(standardized).collect();
        Block { names, rows, missing: (numbers.len() - count) as u64 }
    }

    fn texts(&self, name: &str, texts: &Texts, control: &dyn Control) -> Result<Block, Error> {
        let (sorted, ranks) = texts.sorted();
        let rows = 0..texts.rows() as u32;
        let missing = rows.clone().filter(|&row| texts.row(row).is_empty()).count();
        let given = rows.len() - missing;
        let categories = texts.several || (sorted.len() <= CATEGORIES && 2 * sorted.len() <= given);
        // The terms of each distinct text, then those of the rows.
        let mut terms: Vec<String> = Vec::new();
        let mut terms_of: Vec<Vec<u32>> = Vec::with_capacity(sorted.len());
        if categories {
            terms.extend(sorted.iter().map(|&text| text.to_owned()));
            terms_of.extend((0..sorted.len() as u32).map(|term| vec![term]));
        } else {
            let mut known: HashMap<String, u32> = HashMap::new();
            for (index, text) in sorted.iter().enumerate() {
                if index.is_multiple_of(POLL) {
                    control.check()?;
                }
                let terms = words(text).map(|word| {
                    let next = known.len() as u32;
                    *known.entry(word).or_insert_with_key(|word| {
                        terms.push(word.clone());
                        next
                    })
                });
                terms_of.push(terms.collect());
            }
        }
        let count = |row: u32| {
            let mut found: Vec<u32> = Vec::new();
            for &text in texts.row(row) {
                found.extend(&terms_of[ranks[text as usize] as usize]);
            }
            found.sort_unstable();
            let counts = found.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as f32));
            counts.collect::<Vec<_>>()
        };
        let mut rows: Vec<Vec<(u32, f32)>> = rows.map(count).collect();
        control.check()?;
        let mut frequencies = vec![0u32; terms.len()];
        rows.iter().flatten().for_each(|&(term, _)| frequencies[term as usize] += 1);
        let kept = vocabulary(&terms, &frequencies, rows.len());
        let mut place = vec![None; terms.len()];
        for (at, &term) in (0u32..).zip(&kept) {
            let rarity = libm::log(rows.len() as f64 / f64::from(frequencies[term as usize]));
            place[term as usize] = Some((at, rarity as f32));
        }
        for row in &mut rows {
            let weigh = |&(term, count): &(u32, f32)| {
                let (at, rarity) = place[term as usize]?;
                // More of a word counts less and less.
                Some((at, (1.0 + libm::log(f64::from(count)) as f32) * rarity))
            };
            *row = row.iter().filter_map(weigh).collect();
            row.sort_unstable_by_key(|&(feature, _)| feature);
            let square: f64 = row.iter().map(|&(_, x)| f64::from(x) * f64::from(x)).sum();
            row.iter_mut().for_each(|(_, x)| *x = (f64::from(*x) / square.sqrt()) as f32);
        }
        let separator = if categories { " = " } else { ": " };
        let full_name = |&term: &u32| format!("{name}{separator}{}", terms[term as usize]);
        Ok(Block { names: kept.iter().map(full_name).collect(), rows, missing: missing as u64 })
    }
}

/// The terms that say something, in their order: not those of one row, which tell of no likeness,
/// nor those of all.
fn vocabulary(terms: &[String], frequencies: &[u32], rows: usize) -> Vec<u32> {
    let frequency = |term: u32| frequencies[term as usize];
    let text = |term: u32| &terms[term as usize];
    let says = |&term: &u32| frequency(term) > 1 && (frequency(term) as usize) < rows;
    let mut kept: Vec<u32> = (0..terms.len() as u32).filter(says).collect();
    kept.sort_unstable_by(|&a, &b| {
        frequency(b).cmp(&frequency(a)).then_with(|| text(a).cmp(text(b)))
    });
    kept.truncate(VOCABULARY);
    kept.sort_unstable_by(|&a, &b| text(a).cmp(text(b)));
    kept
}

#[cfg(test)]
mod tests {
    use teller_numeric::Uninterrupted;

    use super::*;
    use crate::{DatasetBuilder, FeatureKind, IdRef, InteractionsBuilder, ItemFeaturesBuilder};

    /// Encodes a column of one value an item, in order or backwards.
    fn encode(kind: FeatureKind, values: &[&str], backwards: bool) -> Result<Encoded, Error> {
        let mut interactions = InteractionsBuilder::new(1 << 20);
        interactions.push(IdRef::Integer(0), IdRef::Integer(0), 1.0).unwrap();
        let mut items = ItemFeaturesBuilder::new([("x", kind)], 1 << 20);
        let mut rows: Vec<(i64, &&str)> = (0..).zip(values).collect();
        if backwards {
            rows.reverse();
        }
        for (item, value) in rows {
            items.item(IdRef::Integer(item), &mut interactions).unwrap();
            match kind {
                FeatureKind::Number => value.parse().iter().for_each(|&x| items.number(0, x)),
                FeatureKind::Text if value.is_empty() => {}
                FeatureKind::Text => items.text(0, value).unwrap(),
                FeatureKind::Texts => {
                    value.split_whitespace().for_each(|text| items.text(0, text).unwrap());
                }
            }
        }
        let builder = DatasetBuilder { interactions, features: Some(items), graph: None };
        builder.finish(&Uninterrupted).unwrap().features.unwrap().encode(&Uninterrupted)
    }

    fn row(encoded: &Encoded, item: usize) -> Vec<(&str, f32)> {
        let (features, values) = encoded.matrix.row(item);
        let name = |&feature: &u32| &*encoded.names[feature as usize];
        features.iter().map(name).zip(values.iter().copied()).collect()
    }

    #[test]
    fn numbers_are_standardized_and_missing_ones_nothing() {
        let encoded = encode(FeatureKind::Number, &["1", "3", "", "inf", "1", "3"], false).unwrap();
        assert_eq!(encoded.missing, 2);
        assert_eq!(row(&encoded, 0), [("x", -1.0)]);
        assert_eq!(row(&encoded, 1), [("x", 1.0)]);
        assert!(row(&encoded, 2).is_empty() && row(&encoded, 3).is_empty());
        let huge = encode(FeatureKind::Number, &["1e308", "-1e308", "1e-320"], false).unwrap();
        assert!(huge.matrix.values.iter().all(|x| x.is_finite()));
    }

    #[test]
    fn texts_that_repeat_are_categories_and_others_words() {
        let values =
            ["credit card", "car loan", "credit card", "car loan", "credit card", "safe", ""];
        let encoded = encode(FeatureKind::Text, &values, false).unwrap();
        assert_eq!(encoded.missing, 1);
        assert_eq!(row(&encoded, 0), [("x = credit card", 1.0)]);
        // Only one item has it.
        assert!(row(&encoded, 5).is_empty());
        let values = ["Gold credit card", "Silver credit-card", "Loan", "A LOAN (long)"];
        let encoded = encode(FeatureKind::Text, &values, false).unwrap();
        assert_eq!(encoded.names, ["x: card", "x: credit", "x: loan"]);
        let half = 0.5f32.sqrt();
        assert_eq!(row(&encoded, 1), [("x: card", half), ("x: credit", half)]);
        let lists = encode(FeatureKind::Texts, &["a b", "b", "a", "c"], false).unwrap();
        assert_eq!(row(&lists, 0), [("x = a", half), ("x = b", half)]);
    }

    #[test]
    fn what_tells_no_item_from_another_is_no_feature() {
        for (kind, values) in [
            (FeatureKind::Number, ["0.1", "0.1", "0.1"]),
            (FeatureKind::Number, ["", "7", ""]),
            (FeatureKind::Text, ["a", "a", "a"]),
            (FeatureKind::Text, ["a", "b", "c"]),
            (FeatureKind::Texts, ["", "", ""]),
        ] {
            let error = encode(kind, &values, false).err();
            assert_eq!(error, Some(Error::NoFeatures { columns: 1 }), "{values:?}");
        }
    }

    #[test]
    fn the_order_of_rows_changes_nothing() {
        let values = ["0.1 red", "0.7 red cat", "0.3 blue cat", "9.9 red", "0.2 blue", "5.5 cat"];
        for kind in [FeatureKind::Text, FeatureKind::Texts] {
            let [one, other] = [false, true].map(|back| encode(kind, &values, back).unwrap());
            assert_eq!((one.matrix, one.names), (other.matrix, other.names));
        }
        let numbers = values.map(|value| &value[..3]);
        let [one, other] =
            [false, true].map(|back| encode(FeatureKind::Number, &numbers, back).unwrap());
        assert_eq!(one.matrix, other.matrix);
    }
}
