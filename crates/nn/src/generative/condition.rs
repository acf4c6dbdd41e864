//! What is asked of the rows that are to be made.

use std::ops::RangeInclusive;

use teller_numeric::Stream;

use super::generator::TableGenerator;
use super::sampler::draw_label;
use super::table::{Table, TableCell, TableError};
use crate::Error;

/// Values, or ranges of numbers, that columns of the rows to be made are to have. The label is drawn
/// as it is asked for; rows that have others in other columns are drawn again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Condition {
    /// If the label is asked for.
    label: Option<Labels>,
    /// Of any other column, its number and what a row is to have there.
    others: Vec<(usize, Wanted)>,
}

/// Some of the labels.
#[derive(Clone, Debug, PartialEq)]
struct Labels {
    /// Their places among all, ascending.
    places: Vec<u32>,
    /// How many rows that were learned from had each.
    rows: Vec<u64>,
}

#[derive(Clone, Debug, PartialEq)]
enum Wanted {
    Null,
    Number(RangeInclusive<f64>),
    Text(String),
}

impl Wanted {
    fn is(&self, cell: TableCell<'_>) -> bool {
        match (self, cell) {
            (Self::Null, TableCell::Null) => true,
            (Self::Number(range), TableCell::Number(number)) => range.contains(&number),
            (Self::Text(wanted), TableCell::Text(text)) => wanted == text,
            _ => false,
        }
    }

    /// As errors tell it.
    fn told(&self) -> String {
        match self {
            Self::Null => "NULL".to_owned(),
            Self::Number(range) if range.start() == range.end() => range.start().to_string(),
            Self::Number(range) => format!("a number from {} to {}", range.start(), range.end()),
            Self::Text(text) => format!("\"{text}\""),
        }
    }
}

impl Condition {
    /// One more column is to have this value, which at least a row that was learned from must
    /// have had, or of many different numbers one on either side.
    pub fn add(
        &mut self,
        generator: &TableGenerator,
        column: &str,
        cell: TableCell<'_>,
    ) -> Result<(), Error> {
        let wanted = match cell {
            TableCell::Null => Wanted::Null,
            TableCell::Number(number) => Wanted::Number(number..=number),
            TableCell::Text(text) => Wanted::Text(text.to_owned()),
        };
        self.want(generator, column, wanted)
    }

    /// One more column is to have a number in this range, in which there must be one that
    /// [`Self::add`] takes. NULL is in no range.
    pub fn add_range(
        &mut self,
        generator: &TableGenerator,
        column: &str,
        range: RangeInclusive<f64>,
    ) -> Result<(), Error> {
        self.want(generator, column, Wanted::Number(range))
    }

    fn want(
        &mut self,
        generator: &TableGenerator,
        column: &str,
        wanted: Wanted,
    ) -> Result<(), Error> {
        let number = generator.columns().position(|name| name == column);
        let column = column.to_owned();
        let Some(number) = number else { return Err(TableError::NoColumn { column }.into()) };
        let codec = &generator.encoding.columns[number];
        let possible = match &wanted {
            Wanted::Null => codec.null,
            Wanted::Number(range) => codec.domain.reaches(range),
            Wanted::Text(text) => codec.domain.choice(TableCell::Text(text)).is_some(),
        };
        if !possible {
            return Err(TableError::NoValue { column, got: wanted.told() }.into());
        }
        if generator.encoding.label == Some(number) {
            let counts = (0..).zip(&generator.margins.counts);
            let wanted = counts.filter(|&(place, _)| wanted.is(codec.domain.chosen(place)));
            let (places, rows) = wanted.map(|(place, &rows)| (place as u32, rows)).unzip();
            self.label = Some(Labels { places, rows });
        } else {
            self.others.push((number, wanted));
        }
        Ok(())
    }

    /// A label as asked for, as often among those as its `rows` among all: the one that is drawn
    /// without a condition, if it is one of them.
    pub(super) fn draw_label(&self, rows: &[u64], stream: &mut Stream) -> u32 {
        let drawn = draw_label(rows, stream);
        match &self.label {
            Some(Labels { places, rows }) if places.binary_search(&drawn).is_err() => {
                places[draw_label(rows, stream) as usize]
            }
            _ => drawn,
        }
    }

    /// Whether a row of a table is as asked for, the label aside.
    pub(super) fn is_met(&self, table: &Table, row: usize) -> bool {
        self.others.iter().all(|(column, wanted)| wanted.is(table.columns[*column].cell(row)))
    }
}
