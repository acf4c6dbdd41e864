//! Trains a generator of table rows on a TSV file of numbers with a header and writes synthetic
//! rows: `cargo run --release -p teller-nn --example tables -- table.tsv label tabular_vae 2
//! '{"epochs": 60}' rows synthetic.tsv`. A column "id" is left out.

#![allow(clippy::unwrap_used, reason = "an example")]

use std::fmt::Write;
use std::time::Instant;

use teller_nn::{ColumnKind, Condition, GenerationParams, Table, TableCell, fit_table};
use teller_numeric::{Cancelled, Control, Options, Step, Uninterrupted};

struct Printing;

impl Control for Printing {
    fn check(&self) -> Result<(), Cancelled> {
        Ok(())
    }

    fn report(&self, step: Step) {
        let Step { step, of, loss, elapsed, .. } = step;
        println!("epoch {step} of {of}: loss {loss:.5}, {elapsed:.1?}");
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, label, algorithm, threads, options, rows, output] = &arguments[..] else {
        println!("expected: file label algorithm threads options rows output");
        return;
    };
    let text = std::fs::read_to_string(file).unwrap();
    let mut lines = text.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let taken: Vec<usize> = (0..header.len()).filter(|&i| header[i] != "id").collect();
    let mut table = Table::new(taken.iter().map(|&i| (header[i], ColumnKind::Number)));
    for line in lines {
        let cell = |&i: &usize| line[i].parse().map_or(TableCell::Null, TableCell::Number);
        let cells: Vec<TableCell<'_>> = taken.iter().map(cell).collect();
        table.push(&cells).unwrap();
    }
    let options = serde_json::from_str(options).unwrap();
    let mut options = Options::new(algorithm, &options).unwrap();
    let params = match algorithm.as_str() {
        "tabular_vae" => GenerationParams::read_vae(&mut options),
        _ => GenerationParams::read_gan(&mut options),
    };
    let params = params.unwrap();
    options.finish().unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.parse().unwrap()).build();
    pool.unwrap().install(|| {
        let begun = Instant::now();
        let fitted = fit_table(&params, &table, Some(label), None, &Printing).unwrap();
        println!("{:.1?}: {:?}", begun.elapsed(), fitted.report);
        let begun = Instant::now();
        let made = fitted
            .generator
            .rows(0, rows.parse().unwrap(), 1, &Condition::default(), &Uninterrupted)
            .unwrap();
        println!("{rows} rows in {:.1?}", begun.elapsed());
        let mut text = made.names().collect::<Vec<_>>().join("\t");
        for row in 0..made.rows() {
            for (column, cell) in made.row(row).enumerate() {
                text.push(if column == 0 { '\n' } else { '\t' });
                match cell {
                    TableCell::Null => {}
                    TableCell::Number(number) => write!(text, "{number}").unwrap(),
                    TableCell::Text(name) => text.push_str(name),
                }
            }
        }
        std::fs::write(output, text).unwrap();
    });
}
