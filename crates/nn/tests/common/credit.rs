//! The credit defaults as a table of numbers.

#![allow(dead_code, reason = "each test reads its own")]

use std::path::PathBuf;

use teller_nn::{ColumnKind, Table, TableCell};

/// The lines of the file with its header; `None`, with a word why, where it is absent.
pub(crate) fn lines() -> Option<Vec<String>> {
    let folder = std::env::var_os("TELLER_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")),
        PathBuf::from,
    );
    let path = folder.join("credit_default.tsv");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: no {}", path.display());
        return None;
    };
    Some(text.lines().map(str::to_owned).collect())
}

/// All columns but the first, which numbers the rows.
pub(crate) fn table(header: &str, lines: &[String]) -> Table {
    let names = header.split('\t').skip(1);
    let mut table = Table::new(names.map(|name| (name, ColumnKind::Number)));
    for line in lines {
        let numbers = line.split('\t').skip(1).map(|number| number.parse().unwrap());
        let cells: Vec<TableCell<'_>> = numbers.map(TableCell::Number).collect();
        table.push(&cells).unwrap();
    }
    table
}
