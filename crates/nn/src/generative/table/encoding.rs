//! A table's rows as a network reads and writes them: of each column but the label one number, or
//! one of several, or both.
//!
//! A column of at most [`FEW`] different values is one of them; NULL is one more. Numbers of more
//! different values become normal by rank. Where one of these values is far more frequent than the
//! others, such as an amount of 0, or where there are NULLs, the column is first a choice: a number,
//! one of the frequent ones, or NULL. Only of the first is there a number; else 0 stands there.

use std::ops::{Range, RangeInclusive};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use teller_numeric::{Control, Isa, Stream, math};

use super::numbers::{POWERS, normal_rank, power_of, round_to};
use super::{Column, NULL, Table, TableCell, TableError, Values};
use crate::Error;
use crate::floats::Floats;

/// Numbers of no more different values are taken as names.
const FEW: usize = 15;
/// A value among many is frequent if it holds this share of the rows, and so many times the rows
/// that a value holds on average.
const FREQUENT_SHARE: f64 = 0.01;
const FREQUENT_TIMES: f64 = 15.0;
/// Most values of a label: each has its own margins.
const MOST_LABELS: usize = 50;
/// Rows that one task encodes.
const TASK: usize = 256;

/// The values that a column has, NULL left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Domain {
    /// Ascending.
    Texts(Vec<String>),
    /// Ascending.
    Few(Vec<f64>),
    /// All between two, multiples of a power of ten if there is one; the `frequent` ones, which are
    /// chosen by themselves, ascend.
    Many { least: f64, greatest: f64, power: Option<i32>, frequent: Vec<f64> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ColumnCodec {
    pub(crate) name: String,
    pub(crate) domain: Domain,
    /// Whether there are NULLs.
    pub(crate) null: bool,
}

/// Where a column stands in an encoded row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    /// Number of the column in the table.
    pub(crate) column: usize,
    /// Of [`Domain::Many`], the normal number.
    pub(crate) number: Option<usize>,
    /// One number for each value to choose from; NULL is the last. Of [`Domain::Many`], the first
    /// one chooses the number.
    pub(crate) choice: Range<usize>,
}

impl Place {
    /// How much of a number there is in an encoded row: all or nothing where one is chosen,
    /// something between where choices are soft.
    pub(crate) fn numeric(&self, row: &[f32]) -> f32 {
        if self.choice.is_empty() { 1.0 } else { row[self.choice.start] }
    }
}

/// How rows are encoded.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TableEncoding {
    pub(crate) columns: Vec<ColumnCodec>,
    /// The column that everything depends on.
    pub(crate) label: Option<usize>,
    /// Of all columns but the label.
    pub(crate) places: Vec<Place>,
    /// Numbers of an encoded row.
    pub(crate) width: usize,
}

/// Encoded rows, with the place of each one's label among the label's values.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) values: Floats,
    pub(crate) labels: Vec<u32>,
}

impl Domain {
    fn of(column: &Column, rows: &[u32]) -> Self {
        match &column.values {
            Values::Categories { names, codes } => {
                let mut seen = vec![false; names.len()];
                for &row in rows {
                    if let Some(seen) = seen.get_mut(codes[row as usize] as usize) {
                        *seen = true;
                    }
                }
                let names = names.iter().zip(seen).filter(|(_, seen)| *seen);
                let mut names: Vec<String> = names.map(|(name, _)| name.clone()).collect();
                names.sort_unstable();
                Self::Texts(names)
            }
            Values::Numbers(numbers) => {
                let ascending = ascending(numbers, rows);
                let runs: Vec<&[f64]> = ascending.chunk_by(|a, b| a == b).collect();
                let different: Vec<f64> = runs.iter().map(|run| run[0]).collect();
                match different[..] {
                    [least, .., greatest] if different.len() > FEW => {
                        let usual = ascending.len() as f64 / different.len() as f64;
                        let enough =
                            (rows.len() as f64 * FREQUENT_SHARE).max(usual * FREQUENT_TIMES);
                        let frequent = runs.iter().filter(|run| run.len() as f64 >= enough);
                        let frequent = frequent.map(|run| run[0]).collect();
                        Self::Many { least, greatest, power: power_of(&different), frequent }
                    }
                    _ => Self::Few(different),
                }
            }
        }
    }

    /// How many values there are to choose from.
    pub(crate) fn choices(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.len(),
            Self::Few(numbers) | Self::Many { frequent: numbers, .. } => numbers.len(),
        }
    }

    /// Which of the values to choose from a cell is.
    pub(crate) fn choice(&self, cell: TableCell<'_>) -> Option<usize> {
        match (self, cell) {
            (Self::Texts(texts), TableCell::Text(text)) => {
                texts.binary_search_by(|known| known.as_str().cmp(text)).ok()
            }
            (
                Self::Few(numbers) | Self::Many { frequent: numbers, .. },
                TableCell::Number(number),
            ) => numbers.binary_search_by(|known| known.total_cmp(&number)).ok(),
            _ => None,
        }
    }

    /// The number of a column as it is to be told.
    pub(crate) fn tell(&self, number: f64) -> f64 {
        match self {
            Self::Many { least, greatest, power, .. } => {
                let rounded = power.map_or(number, |power| round_to(power, number));
                rounded.clamp(*least, *greatest)
            }
            _ => number,
        }
    }

    /// The value to choose from at this place; NULL if there is none.
    pub(crate) fn chosen(&self, choice: usize) -> TableCell<'_> {
        let value = match self {
            Self::Texts(texts) => texts.get(choice).map(|text| TableCell::Text(text)),
            Self::Few(numbers) | Self::Many { frequent: numbers, .. } => {
                numbers.get(choice).map(|&number| TableCell::Number(number))
            }
        };
        value.unwrap_or(TableCell::Null)
    }

    /// Whether a column may hold a number of a range.
    pub(crate) fn reaches(&self, range: &RangeInclusive<f64>) -> bool {
        match self {
            Self::Texts(_) => false,
            Self::Few(numbers) => numbers.iter().any(|number| range.contains(number)),
            Self::Many { least, power, .. } => {
                let first = range.start().max(*least);
                let step = power.map_or(0.0, |power| libm::pow(10.0, power.into()));
                // Its multiple may lie before it, and the next one not.
                [first, first + step].iter().any(|&number| range.contains(&self.tell(number)))
            }
        }
    }

    /// Untrusted: whether a column can have it.
    fn is_possible(&self) -> bool {
        match self {
            Self::Texts(texts) => texts.is_sorted_by(|a, b| a < b),
            Self::Few(numbers) => {
                numbers.iter().all(|n| n.is_finite()) && numbers.is_sorted_by(|a, b| a < b)
            }
            Self::Many { least, greatest, power, frequent } => {
                let bounded = least.is_finite() && greatest.is_finite() && least < greatest;
                let between = frequent.iter().all(|n| (least..=greatest).contains(&n));
                let possible = power.is_none_or(|power| POWERS.contains(&power));
                bounded && between && possible && frequent.is_sorted_by(|a, b| a < b)
            }
        }
    }
}

/// The numbers of some rows in ascending order, without NULLs.
pub(crate) fn ascending(numbers: &[f64], rows: &[u32]) -> Vec<f64> {
    let numbers = rows.iter().map(|&row| numbers[row as usize]);
    let mut ascending: Vec<f64> = numbers.filter(|number| !number.is_nan()).collect();
    ascending.sort_unstable_by(f64::total_cmp);
    ascending
}

impl TableEncoding {
    /// Of a table as it is in `rows`.
    pub(crate) fn of(table: &Table, label: Option<usize>, rows: &[u32]) -> Result<Self, Error> {
        let columns: Vec<ColumnCodec> = table
            .columns
            .par_iter()
            .map(|column| ColumnCodec {
                name: column.name.clone(),
                domain: Domain::of(column, rows),
                null: rows.iter().any(|&row| column.cell(row as usize) == TableCell::Null),
            })
            .collect();
        if let Some(label) = label.map(|label| &columns[label]) {
            let name = label.name.clone();
            if label.null {
                return Err(TableError::NullLabel { label: name }.into());
            }
            if !is_label(&label.domain) {
                return Err(TableError::Labels { label: name, limit: MOST_LABELS }.into());
            }
        }
        Self::new(columns, label).ok_or_else(|| TableError::NoColumns.into())
    }

    /// Untrusted columns: `None` if no table has them.
    pub(crate) fn new(columns: Vec<ColumnCodec>, label: Option<usize>) -> Option<Self> {
        let possible = |codec: &ColumnCodec| {
            let values = codec.domain.choices() + usize::from(codec.null);
            let none = values == 0 && !matches!(codec.domain, Domain::Many { .. });
            codec.domain.is_possible() && !none
        };
        if !columns.iter().all(possible) {
            return None;
        }
        if let Some(label) = label {
            let codec = columns.get(label)?;
            if codec.null || !is_label(&codec.domain) {
                return None;
            }
        }
        let mut width = 0;
        let mut places = Vec::new();
        for (column, codec) in columns.iter().enumerate().filter(|(c, _)| Some(*c) != label) {
            let many = matches!(codec.domain, Domain::Many { .. });
            let number = many.then_some(width);
            width += usize::from(many);
            let mut choices = codec.domain.choices() + usize::from(codec.null);
            // One more chooses the number.
            choices += usize::from(many && choices > 0);
            places.push(Place { column, number, choice: width..width + choices });
            width += choices;
        }
        (width > 0).then_some(Self { columns, label, places, width })
    }

    /// How many labels there are; one where no column is the label.
    pub(crate) fn labels(&self) -> usize {
        self.label.map_or(1, |label| self.columns[label].domain.choices())
    }

    /// How many columns are normal numbers.
    pub(crate) fn numbers(&self) -> usize {
        self.places.iter().filter(|place| place.number.is_some()).count()
    }

    /// Numbers by which a network is told the label.
    pub(crate) fn condition(&self) -> usize {
        self.label.map_or(0, |_| self.labels())
    }

    /// The label's place of each row of a table.
    pub(crate) fn labels_of(&self, table: &Table, rows: &[u32]) -> Vec<u32> {
        let Some(label) = self.label else { return vec![0; rows.len()] };
        let (codec, column) = (&self.columns[label], &table.columns[label]);
        let place = |&row: &u32| codec.domain.choice(column.cell(row as usize)).unwrap_or(0) as u32;
        rows.iter().map(place).collect()
    }

    /// Encodes the rows that the encoding was made of; equal numbers take ranks by `seed`.
    pub(crate) fn encode(
        &self,
        table: &Table,
        rows: &[u32],
        seed: u64,
        control: &dyn Control,
    ) -> Result<Encoded, Error> {
        let mut values = Floats::zeros(rows.len().saturating_mul(self.width))?;
        let sorted: Vec<Vec<f64>> = self
            .places
            .par_iter()
            .map(|place| match &table.columns[place.column].values {
                Values::Numbers(numbers) if place.number.is_some() => {
                    self.numbers_of(place, numbers, rows)
                }
                _ => Vec::new(),
            })
            .collect();
        let tasks = values.par_chunks_mut(TASK * self.width).zip(rows.par_chunks(TASK));
        tasks.try_for_each(|(values, rows)| {
            control.check()?;
            for (to, &row) in values.chunks_exact_mut(self.width).zip(rows) {
                let mut stream = Stream::new(seed, "ranks of ties", row.into());
                for (place, sorted) in self.places.iter().zip(&sorted) {
                    let cell = table.columns[place.column].cell(row as usize);
                    let chosen = self.columns[place.column].domain.choice(cell);
                    if let (Some(number), TableCell::Number(value), None) =
                        (place.number, cell, chosen)
                    {
                        to[number] = normal_rank(sorted, value, &mut stream);
                    }
                    if !place.choice.is_empty() {
                        let first = usize::from(place.number.is_some());
                        let chosen = match (cell, chosen) {
                            (_, Some(chosen)) => first + chosen,
                            (TableCell::Number(_), None) if first > 0 => 0,
                            _ => place.choice.len() - 1,
                        };
                        to[place.choice.start + chosen] = 1.0;
                    }
                }
            }
            Ok::<_, Error>(())
        })?;
        Ok(Encoded { values, labels: self.labels_of(table, rows) })
    }

    /// The logits of each choice of a row become probabilities; numbers stay. `scratch` is as long
    /// as the row.
    pub(crate) fn soften(&self, isa: Isa, row: &mut [f32], scratch: &mut [f32]) {
        scratch.fill(0.0);
        for place in &self.places {
            let choice = &row[place.choice.clone()];
            let greatest = choice.iter().fold(f32::NEG_INFINITY, |g, &x| if g > x { g } else { x });
            let to = scratch[place.choice.clone()].iter_mut();
            to.zip(choice).for_each(|(to, x)| *to = x - greatest);
        }
        isa.vectorize(exponentials, &mut *scratch);
        for place in &self.places {
            let powers = &scratch[place.choice.clone()];
            let share = 1.0 / powers.iter().sum::<f32>();
            let to = row[place.choice.clone()].iter_mut();
            to.zip(powers).for_each(|(to, power)| *to = power * share);
        }
    }

    /// The numbers of a column in some rows in ascending order, without those that are chosen by
    /// themselves.
    pub(crate) fn numbers_of(&self, place: &Place, numbers: &[f64], rows: &[u32]) -> Vec<f64> {
        let domain = &self.columns[place.column].domain;
        let mut ascending = ascending(numbers, rows);
        ascending.retain(|&number| domain.choice(TableCell::Number(number)).is_none());
        ascending
    }

    /// Columns of this table, to be filled with `rows` rows.
    pub(crate) fn empty_columns(&self, rows: usize) -> Vec<Column> {
        let columns = self.columns.iter().map(|codec| {
            let values = match &codec.domain {
                Domain::Texts(names) => {
                    Values::Categories { names: names.clone(), codes: vec![NULL; rows] }
                }
                _ => Values::Numbers(vec![f64::NAN; rows]),
            };
            Column { name: codec.name.clone(), values }
        });
        columns.collect()
    }
}

#[inline(always)]
fn exponentials(numbers: &mut [f32]) {
    for x in numbers {
        *x = math::exp(*x);
    }
}

/// Whether there is a value, and not too many, for a label.
fn is_label(domain: &Domain) -> bool {
    let many = matches!(domain, Domain::Many { .. });
    !many && (1..=MOST_LABELS).contains(&domain.choices())
}
