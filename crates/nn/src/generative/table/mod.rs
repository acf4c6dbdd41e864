//! Tables of mixed columns, and what networks see of them.

mod encoding;
mod gaussian;
mod margins;
mod numbers;

pub(crate) use encoding::{ColumnCodec, Domain, Encoded, TableEncoding, ascending};
pub(crate) use gaussian::quantile;
pub(crate) use margins::{LabelMargins, Margins, Remap};
pub(crate) use numbers::Quantiles;
use teller_numeric::{Cancelled, Control};
use teller_payload::DataDigest;

use crate::Error;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// Finite numbers: also truth values as 0 and 1, money, dates and times as a count.
    Number,
    /// Texts of few different values.
    Category,
}

/// One value of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TableCell<'a> {
    /// SQL's NULL.
    Null,
    /// Of a [`ColumnKind::Number`].
    Number(f64),
    /// Of a [`ColumnKind::Category`].
    Text(&'a str),
}

/// Why a table cannot be learned from.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TableError {
    /// A number that is none.
    #[error("column \"{column}\" holds {got} in row {row}, expected a finite number")]
    NotFinite {
        /// The column's name.
        column: String,
        /// 1-based.
        row: u64,
        /// The number.
        got: String,
    },
    /// A cell of another kind than its column.
    #[error("a cell of column \"{column}\" is of another kind than the column")]
    Kind {
        /// The column's name.
        column: String,
    },
    /// Too many different values to tell them apart.
    #[error("column \"{column}\" has {got} different values, at most {limit} are possible")]
    Values {
        /// The column's name.
        column: String,
        /// How many there are.
        got: usize,
        /// The most that is possible.
        limit: usize,
    },
    /// The label has too many different values, or none.
    #[error(
        "the label column \"{label}\" has no or too many different values, expected 1 to {limit}"
    )]
    Labels {
        /// The column's name.
        label: String,
        /// The most that is possible.
        limit: usize,
    },
    /// The label column does not exist.
    #[error("there is no column \"{label}\", which is to be the label")]
    NoLabel {
        /// As asked for.
        label: String,
    },
    /// The label column has NULLs.
    #[error("the label column \"{label}\" holds NULL")]
    NullLabel {
        /// The column's name.
        label: String,
    },
    /// The columns are others than those that were learned from.
    #[error("the columns are not those that the generator makes, in their order")]
    Columns,
    /// What was stored is not what a training stores.
    #[error("the stored description of the table {0}")]
    Stored(&'static str),
    /// A value that is asked for and that no row learned from has.
    #[error("no row that was learned from has {got} in column \"{column}\"")]
    NoValue {
        /// The column's name.
        column: String,
        /// As asked for.
        got: String,
    },
    /// A column that is asked about and that the generator does not make.
    #[error("there is no column \"{column}\" among those that are made")]
    NoColumn {
        /// As asked for.
        column: String,
    },
    /// Hardly any row is as it is asked for.
    #[error("{met} of {drawn} drawn rows were as asked for, expected at least one in {expected}")]
    Rare {
        /// Rows as asked for.
        met: u64,
        /// Rows that were drawn.
        drawn: u64,
        /// The rarest that are drawn until there are enough.
        expected: u64,
    },
    /// Nothing but the label, or no column at all.
    #[error("the table has no column to generate")]
    NoColumns,
    /// Too few rows to hide any one of them.
    #[error("the table has {got} rows, expected at least {expected}")]
    FewRows {
        /// Rows that there are.
        got: usize,
        /// The fewest that are learned from.
        expected: usize,
    },
}

/// Marks NULL among the numbers of a category.
pub(crate) const NULL: u32 = u32::MAX;

#[derive(Clone, Debug)]
pub(crate) enum Values {
    /// NaN stands for NULL.
    Numbers(Vec<f64>),
    /// Each row's place among `names`, which stand in the order of their first row.
    Categories { names: Vec<String>, codes: Vec<u32> },
}

impl PartialEq for Values {
    /// NULLs are the same, unlike NaN and NaN.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Numbers(these), Self::Numbers(those)) => {
                these.iter().map(|x| x.to_bits()).eq(those.iter().map(|x| x.to_bits()))
            }
            (
                Self::Categories { names: these, codes },
                Self::Categories { names: those, codes: other },
            ) => these == those && codes == other,
            _ => false,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) values: Values,
}

/// Most different texts of a column; more are no categories but texts of their own.
pub(crate) const MOST_CATEGORIES: usize = 256;

/// Rows of mixed columns, kept column by column.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: usize,
}

impl Table {
    /// Without rows.
    pub fn new<'n>(columns: impl IntoIterator<Item = (&'n str, ColumnKind)>) -> Self {
        let columns = columns.into_iter().map(|(name, kind)| Column {
            name: name.to_owned(),
            values: match kind {
                ColumnKind::Number => Values::Numbers(Vec::new()),
                ColumnKind::Category => Values::Categories { names: Vec::new(), codes: Vec::new() },
            },
        });
        Self { columns: columns.collect(), rows: 0 }
    }

    /// Adds a row, one cell a column. After an error the table is not to be used.
    ///
    /// # Panics
    /// If there are more or fewer cells than columns: a programming error of the caller.
    pub fn push(&mut self, cells: &[TableCell<'_>]) -> Result<(), TableError> {
        assert_eq!(cells.len(), self.columns.len(), "cells of a row");
        self.rows += 1;
        for (column, &cell) in self.columns.iter_mut().zip(cells) {
            match (&mut column.values, cell) {
                (Values::Numbers(numbers), TableCell::Null) => numbers.push(f64::NAN),
                (Values::Numbers(numbers), TableCell::Number(number)) if number.is_finite() => {
                    // Minus zero is the same value as zero.
                    numbers.push(number + 0.0);
                }
                (Values::Numbers(_), TableCell::Number(number)) => {
                    return Err(TableError::NotFinite {
                        column: column.name.clone(),
                        row: self.rows as u64,
                        got: number.to_string(),
                    });
                }
                (Values::Categories { codes, .. }, TableCell::Null) => codes.push(NULL),
                (Values::Categories { names, codes }, TableCell::Text(text)) => {
                    let known = names.iter().position(|name| name == text);
                    let code = known.unwrap_or(names.len());
                    if code == MOST_CATEGORIES {
                        let column = column.name.clone();
                        let (got, limit) = (code + 1, MOST_CATEGORIES);
                        return Err(TableError::Values { column, got, limit });
                    }
                    if known.is_none() {
                        names.push(text.to_owned());
                    }
                    codes.push(code as u32);
                }
                _ => return Err(TableError::Kind { column: column.name.clone() }),
            }
        }
        Ok(())
    }

    /// Bytes that it holds.
    pub fn memory(&self) -> u64 {
        let bytes = self.columns.iter().map(|column| match &column.values {
            Values::Numbers(numbers) => size_of_val(&**numbers),
            Values::Categories { codes, .. } => size_of_val(&**codes),
        });
        // Vectors grow by doubling.
        2 * bytes.sum::<usize>() as u64
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The names of the columns, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| &*column.name)
    }

    /// The cells of one row.
    pub fn row(&self, row: usize) -> impl Iterator<Item = TableCell<'_>> {
        self.columns.iter().map(move |column| column.cell(row))
    }

    /// Adds the rows of a table of the same columns, whose texts are known in the same order.
    pub(crate) fn append(&mut self, other: Self) {
        self.rows += other.rows;
        for (column, other) in self.columns.iter_mut().zip(other.columns) {
            match (&mut column.values, other.values) {
                (Values::Numbers(to), Values::Numbers(from)) => to.extend(from),
                (Values::Categories { codes: to, .. }, Values::Categories { codes, .. }) => {
                    to.extend(codes);
                }
                _ => {}
            }
        }
    }

    /// The rows at these places, in this order.
    pub(crate) fn select(&self, rows: &[usize]) -> Self {
        let columns = self.columns.iter().map(|column| {
            let values = match &column.values {
                Values::Numbers(numbers) => {
                    Values::Numbers(rows.iter().map(|&row| numbers[row]).collect())
                }
                Values::Categories { names, codes } => Values::Categories {
                    names: names.clone(),
                    codes: rows.iter().map(|&row| codes[row]).collect(),
                },
            };
            Column { name: column.name.clone(), values }
        });
        Self { columns: columns.collect(), rows: rows.len() }
    }

    pub(crate) fn digest(&self, control: &dyn Control) -> Result<DataDigest, Cancelled> {
        let mut digest = DataDigest::new();
        for column in &self.columns {
            control.check()?;
            digest.update(column.name.as_bytes());
            match &column.values {
                Values::Numbers(numbers) => digest.update(numbers),
                Values::Categories { names, codes } => {
                    names.iter().for_each(|name| digest.update(name.as_bytes()));
                    digest.update(codes);
                }
            }
        }
        Ok(digest)
    }

    /// The number of the column that is to be the label.
    pub(crate) fn label(&self, label: Option<&str>) -> Result<Option<usize>, Error> {
        let Some(label) = label else { return Ok(None) };
        let found = self.names().position(|name| name == label);
        let label = label.to_owned();
        found.map(Some).ok_or_else(|| TableError::NoLabel { label }.into())
    }
}

impl Column {
    pub(crate) fn cell(&self, row: usize) -> TableCell<'_> {
        match &self.values {
            Values::Numbers(numbers) if numbers[row].is_nan() => TableCell::Null,
            Values::Numbers(numbers) => TableCell::Number(numbers[row]),
            Values::Categories { codes, .. } if codes[row] == NULL => TableCell::Null,
            Values::Categories { names, codes } => TableCell::Text(&names[codes[row] as usize]),
        }
    }
}
