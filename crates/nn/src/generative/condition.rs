//! What is asked of the rows that are to be made.

use super::generator::TableGenerator;
use super::table::{Table, TableCell, TableError};
use crate::Error;

/// Values that columns of the rows to be made are to have. That of the label is drawn as it is
/// asked for; rows that have others in other columns are drawn again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Condition {
    /// The label's place among its values.
    pub(super) label: Option<u32>,
    /// Of any other column, its number and the value that a row is to have there.
    others: Vec<(usize, Wanted)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Wanted {
    Null,
    Number(f64),
    Text(String),
}

impl Wanted {
    fn is(&self, cell: TableCell<'_>) -> bool {
        match (self, cell) {
            (Self::Null, TableCell::Null) => true,
            (Self::Number(wanted), TableCell::Number(number)) => *wanted == number,
            (Self::Text(wanted), TableCell::Text(text)) => wanted == text,
            _ => false,
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
        let number = generator.columns().position(|name| name == column);
        let column = column.to_owned();
        let Some(number) = number else { return Err(TableError::NoColumn { column }.into()) };
        let codec = &generator.encoding.columns[number];
        let (possible, wanted) = match cell {
            TableCell::Null => (codec.null, Wanted::Null),
            TableCell::Number(number) => (codec.domain.holds(cell), Wanted::Number(number)),
            TableCell::Text(text) => (codec.domain.holds(cell), Wanted::Text(text.to_owned())),
        };
        if !possible {
            let got = match wanted {
                Wanted::Null => "NULL".to_owned(),
                Wanted::Number(number) => number.to_string(),
                Wanted::Text(text) => format!("\"{text}\""),
            };
            return Err(TableError::NoValue { column, got }.into());
        }
        if generator.encoding.label == Some(number) {
            self.label = codec.domain.choice(cell).map(|choice| choice as u32);
        } else {
            self.others.push((number, wanted));
        }
        Ok(())
    }

    /// Whether a row of a table is as asked for, the label aside.
    pub(super) fn is_met(&self, table: &Table, row: usize) -> bool {
        self.others.iter().all(|(column, wanted)| wanted.is(table.columns[*column].cell(row)))
    }
}
