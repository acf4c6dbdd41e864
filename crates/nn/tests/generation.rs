//! Generators of table rows: what comes out is a table of the same kind, for any columns.

#![allow(
    clippy::unwrap_used,
    clippy::result_large_err,
    reason = "a failed test panics, errors are rare"
)]

#[path = "common/credit.rs"]
mod credit;

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use serde_json::{Value, json};
use teller_nn::{
    ColumnKind, Condition, Error, FittedTable, GenerationParams, Table, TableCell, TableError,
    TableGenerator, fit_table,
};
use teller_numeric::{
    Cancelled, CheckpointBytes, Control, Isa, Moment, Options, Step, Stream, Uninterrupted,
};
use teller_payload::{AlignedBytes, Bytes};

const KINDS: [(&str, ColumnKind); 6] = [
    ("age", ColumnKind::Number),
    ("balance", ColumnKind::Number),
    ("active", ColumnKind::Number),
    ("opened", ColumnKind::Number),
    ("branch", ColumnKind::Category),
    ("default", ColumnKind::Category),
];

/// Customers: the balance is in cents and often missing, half of all balances are 0, those who
/// default are younger.
fn customers(rows: u64) -> Table {
    let mut table = Table::new(KINDS);
    for row in 0..rows {
        let mut stream = Stream::new(9, "customers", row);
        let defaults = stream.uniform() < 0.3;
        let age = if defaults { 20 + stream.below(20) } else { 30 + stream.below(50) };
        let balance = match stream.below(10) {
            0..2 => TableCell::Null,
            2..6 => TableCell::Number(0.0),
            _ => TableCell::Number(f64::from(stream.below(1_000_000)) / 100.0),
        };
        let branch = match stream.below(10) {
            0 => TableCell::Null,
            1..7 => TableCell::Text("Graz"),
            _ => TableCell::Text("Linz"),
        };
        table
            .push(&[
                TableCell::Number(age.into()),
                balance,
                TableCell::Number(f64::from(stream.below(4).min(1))),
                TableCell::Number(f64::from(18_000 + stream.below(2000))),
                branch,
                TableCell::Text(if defaults { "yes" } else { "no" }),
            ])
            .unwrap();
    }
    table
}

fn params(algorithm: &str, options: Value) -> GenerationParams {
    let mut all = json!({"epochs": 4, "hidden": 32, "batch_size": 64});
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    let mut options = Options::new(algorithm, &all).unwrap();
    let params = match algorithm {
        "tabular_vae" => GenerationParams::read_vae(&mut options),
        _ => GenerationParams::read_gan(&mut options),
    };
    let params = params.unwrap();
    options.finish().unwrap();
    params
}

const ALGORITHMS: [&str; 2] = ["tabular_vae", "tabular_gan"];

fn fit(algorithm: &str, table: &Table) -> FittedTable {
    fit_table(&params(algorithm, json!({})), table, Some("default"), None, &Uninterrupted).unwrap()
}

fn rows(table: &Table) -> Vec<Vec<TableCell<'_>>> {
    (0..table.rows()).map(|row| table.row(row).collect()).collect()
}

fn share(table: &Table, column: usize, is: impl Fn(TableCell<'_>) -> bool) -> f64 {
    let count = rows(table).iter().filter(|row| is(row[column])).count();
    count as f64 / table.rows() as f64
}

fn bytes(generator: &TableGenerator) -> Vec<u8> {
    generator.payload().to_vec()
}

#[test]
fn columns_come_back_as_they_were() {
    let real = customers(1500);
    for algorithm in ALGORITHMS {
        let generator = fit(algorithm, &real).generator;
        let made = generator.rows(0, 3000, 5, &Condition::default(), &Uninterrupted).unwrap();
        assert_eq!(made.names().collect::<Vec<_>>(), KINDS.map(|(name, _)| name));
        for row in rows(&made) {
            let [age, balance, active, opened, branch, default] = row[..] else { panic!() };
            let whole = |cell, range: std::ops::RangeInclusive<f64>| match cell {
                TableCell::Number(x) => range.contains(&x) && x.fract() == 0.0,
                _ => false,
            };
            assert!(whole(age, 20.0..=79.0) && whole(active, 0.0..=1.0), "{row:?}");
            assert!(whole(opened, 18_000.0..=19_999.0), "{row:?}");
            if let TableCell::Number(x) = balance {
                assert!((0.0..10_000.0).contains(&x) && (x * 100.0).round() / 100.0 == x, "{x}");
            }
            assert!(
                [TableCell::Null, TableCell::Text("Graz"), TableCell::Text("Linz")]
                    .contains(&branch)
            );
            assert!([TableCell::Text("yes"), TableCell::Text("no")].contains(&default));
        }
        let near = |column, is: &dyn Fn(TableCell<'_>) -> bool| {
            let (real, made) = (share(&real, column, is), share(&made, column, is));
            assert!((real - made).abs() < 0.04, "{algorithm}, {column}: {real} {made}");
        };
        near(1, &|cell| cell == TableCell::Null);
        near(1, &|cell| cell == TableCell::Number(0.0));
        near(2, &|cell| cell == TableCell::Number(1.0));
        near(4, &|cell| cell == TableCell::Null);
        near(4, &|cell| cell == TableCell::Text("Graz"));
        near(5, &|cell| cell == TableCell::Text("yes"));
        near(0, &|cell| matches!(cell, TableCell::Number(x) if x < 35.0));
    }
}

#[test]
fn a_label_governs_its_rows() {
    let made = fit("tabular_vae", &customers(1500)).generator;
    let made = made.rows(0, 3000, 5, &Condition::default(), &Uninterrupted).unwrap();
    for row in rows(&made) {
        let [TableCell::Number(age), .., TableCell::Text(default)] = row[..] else {
            panic!("{row:?}")
        };
        assert!(if default == "yes" { age < 40.0 } else { age >= 30.0 }, "{row:?}");
    }
}

fn asked(generator: &TableGenerator, cells: &[(&str, TableCell<'_>)]) -> Condition {
    let mut condition = Condition::default();
    for &(column, cell) in cells {
        condition.add(generator, column, cell).unwrap();
    }
    condition
}

#[test]
fn rows_are_as_they_are_asked_for() {
    let real = customers(800);
    for algorithm in ALGORITHMS {
        let generator = fit(algorithm, &real).generator;
        let make = |first, count, condition: &Condition| {
            generator.rows(first, count, 5, condition, &Uninterrupted).unwrap()
        };
        for cells in [
            &[("default", TableCell::Text("yes"))][..],
            &[("branch", TableCell::Null)],
            &[("balance", TableCell::Number(0.0)), ("active", TableCell::Number(0.0))],
            &[("default", TableCell::Text("no")), ("balance", TableCell::Null)],
        ] {
            let condition = asked(&generator, cells);
            let made = make(0, 1300, &condition);
            assert_eq!(made.rows(), 1300);
            for &(name, cell) in cells {
                let column = made.names().position(|known| known == name).unwrap();
                assert!(rows(&made).iter().all(|row| row[column] == cell), "{algorithm} {name}");
            }
            assert_eq!(rows(&make(1100, 150, &condition)), rows(&made)[1100..1250]);
        }
        // A row that is as asked for without being asked is the same.
        let (free, asked) = (
            make(0, 300, &Condition::default()),
            make(0, 300, &asked(&generator, &[("active", TableCell::Number(1.0))])),
        );
        let both = rows(&free).into_iter().zip(rows(&asked));
        let met: Vec<_> = both.filter(|(free, _)| free[2] == TableCell::Number(1.0)).collect();
        assert!(met.len() > 20 && met.iter().all(|(free, asked)| free == asked));
    }
}

#[test]
fn rows_lie_in_the_ranges_that_are_asked_for() {
    let real = customers(800);
    for algorithm in ALGORITHMS {
        let generator = fit(algorithm, &real).generator;
        let mut condition = asked(&generator, &[("default", TableCell::Text("no"))]);
        let ranges = [
            (0, "age", 34.5..=45.0),
            (1, "balance", f64::NEG_INFINITY..=950.0),
            (2, "active", 1.0..=5.0),
        ];
        for (_, column, range) in &ranges {
            condition.add_range(&generator, column, range.clone()).unwrap();
        }
        let make = |count| generator.rows(0, count, 5, &condition, &Uninterrupted).unwrap();
        let made = make(700);
        for row in rows(&made) {
            for (column, name, range) in &ranges {
                let TableCell::Number(number) = row[*column] else { panic!("{name}: {row:?}") };
                assert!(range.contains(&number), "{algorithm}, {name}: {number}");
            }
            assert_eq!(row[5], TableCell::Text("no"));
        }
        assert_eq!(rows(&make(90)), rows(&made)[..90]);
    }
}

#[test]
fn labels_of_a_range_are_drawn_as_often_as_their_rows() {
    let mut table = Table::new([("x", ColumnKind::Number), ("year", ColumnKind::Number)]);
    for row in 0..600 {
        let year = [2015, 2017, 2017, 2017, 2018, 2019][row as usize % 6];
        table
            .push(&[TableCell::Number((row % 70).into()), TableCell::Number(year.into())])
            .unwrap();
    }
    let params = params("tabular_vae", json!({"epochs": 1}));
    let generator =
        fit_table(&params, &table, Some("year"), None, &Uninterrupted).unwrap().generator;
    let make =
        |condition: &Condition| generator.rows(0, 2000, 5, condition, &Uninterrupted).unwrap();
    let free = make(&Condition::default());
    let mut condition = Condition::default();
    condition.add_range(&generator, "year", 2016.0..=2018.5).unwrap();
    let made = make(&condition);
    let of_2017 = share(&made, 1, |cell| cell == TableCell::Number(2017.0));
    let of_2018 = share(&made, 1, |cell| cell == TableCell::Number(2018.0));
    assert!((of_2017 - 0.75).abs() < 0.04 && of_2017 + of_2018 == 1.0, "{of_2017} {of_2018}");
    // A row whose label is as asked for without being asked is the same.
    for (free, made) in rows(&free).into_iter().zip(rows(&made)) {
        let met = matches!(free[1], TableCell::Number(year) if (2016.0..2018.5).contains(&year));
        assert!(!met || free == made, "{free:?} {made:?}");
    }
}

#[test]
fn what_hardly_any_row_is_cannot_be_asked_for() {
    // One row of 500 has a branch of its own.
    let mut table = Table::new([("x", ColumnKind::Number), ("branch", ColumnKind::Category)]);
    for row in 0..500 {
        let branch = if row == 77 { "Wien" } else { "Graz" };
        table.push(&[TableCell::Number(f64::from(row % 70)), TableCell::Text(branch)]).unwrap();
    }
    let fitted =
        fit_table(&params("tabular_vae", json!({})), &table, None, None, &Uninterrupted).unwrap();
    let generator = fitted.generator;
    let both = [("x", TableCell::Number(33.0)), ("branch", TableCell::Text("Wien"))];
    let rare = generator.rows(0, 5, 1, &asked(&generator, &both), &Uninterrupted);
    let Err(Error::Table(TableError::Rare { met, drawn, expected })) = rare else { panic!() };
    assert!(met * expected < drawn && drawn < 30_000, "{met} of {drawn}");
    let add = |column, cell| Condition::default().add(&generator, column, cell);
    for (column, cell) in [
        ("branch", TableCell::Text("Linz")),
        ("branch", TableCell::Null),
        ("branch", TableCell::Number(1.0)),
        ("x", TableCell::Number(70.0)),
        ("x", TableCell::Number(3.5)),
        ("x", TableCell::Number(f64::NAN)),
    ] {
        let refused = add(column, cell);
        assert!(matches!(refused, Err(Error::Table(TableError::NoValue { .. }))), "{cell:?}");
    }
    let within = |column, from: f64, to: f64| {
        Condition::default().add_range(&generator, column, RangeInclusive::new(from, to))
    };
    for (column, from, to) in [
        ("branch", f64::NEG_INFINITY, f64::INFINITY),
        ("x", 69.5, 80.0),
        ("x", -7.0, -0.5),
        ("x", 3.2, 3.8),
        ("x", 9.0, 8.0),
        ("x", f64::NAN, f64::NAN),
    ] {
        let refused = within(column, from, to);
        assert!(matches!(refused, Err(Error::Table(TableError::NoValue { .. }))), "{from} {to}");
    }
    for (from, to) in [(68.5, 100.0), (-7.0, 0.0), (3.2, 4.0), (f64::NEG_INFINITY, f64::INFINITY)] {
        within("x", from, to).unwrap();
    }
    let refused = add("y", TableCell::Null);
    assert!(matches!(refused, Err(Error::Table(TableError::NoColumn { .. }))));
}

#[test]
fn the_same_seed_gives_the_same_rows_on_any_threads_and_processor() {
    let real = customers(400);
    for algorithm in ALGORITHMS {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let generator = fit(algorithm, &real).generator;
                let made =
                    generator.rows(0, 1500, 5, &Condition::default(), &Uninterrupted).unwrap();
                (bytes(&generator), made)
            })
        };
        let (weights, made) = run(1);
        assert!(run(3) == (weights.clone(), made.clone()), "{algorithm}");
        for isa in Isa::available().into_iter().skip(1) {
            Isa::force(Some(isa));
            let other = run(2);
            Isa::force(None);
            assert!(other == (weights.clone(), made.clone()), "{algorithm} on {}", isa.name());
        }
        let generator = fit(algorithm, &real).generator;
        let later = generator.rows(1200, 300, 5, &Condition::default(), &Uninterrupted).unwrap();
        assert_eq!(rows(&later), rows(&made)[1200..]);
        assert_ne!(
            generator.rows(0, 1500, 6, &Condition::default(), &Uninterrupted).unwrap(),
            made
        );
        assert_eq!(
            generator.rows(0, 0, 6, &Condition::default(), &Uninterrupted).unwrap().rows(),
            0
        );
    }
}

#[test]
fn what_is_stored_makes_the_same_rows() {
    for algorithm in ALGORITHMS {
        let generator = fit(algorithm, &customers(400)).generator;
        let stored = Arc::new(generator.payload());
        let loaded = TableGenerator::load(&generator.description(), stored).unwrap();
        let [before, after] = [&generator, &loaded]
            .map(|it| it.rows(0, 100, 1, &Condition::default(), &Uninterrupted).unwrap());
        assert_eq!(before, after);
        assert_eq!(loaded.description(), generator.description());
    }
}

/// Passes for bytes whose checksum is right.
struct Known(AlignedBytes);

impl AsRef<[u8]> for Known {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Bytes for Known {
    fn checksum_known(&self) -> bool {
        true
    }
}

#[test]
fn forged_models_are_refused_or_survived() {
    for algorithm in ALGORITHMS {
        let generator = fit(algorithm, &customers(200)).generator;
        let (description, payload) = (generator.description(), bytes(&generator));
        let load = |description: &Value, bytes: &[u8]| {
            TableGenerator::load(description, Arc::new(AlignedBytes::from(bytes)))
        };
        for (path, value) in [
            ("/network", json!({"tabular_vae": {"hidden": 1u64 << 40, "latent": 24}})),
            ("/network", json!({"tabular_gan": {"hidden": 0, "noise": 64}})),
            ("/network", json!("none")),
            ("/label", json!(99)),
            ("/label", json!(0)),
            ("/label", Value::Null),
            ("/columns", json!([])),
            (
                "/columns/0/domain",
                json!({"many": {"least": 5, "greatest": 1, "power": 0, "frequent": []}}),
            ),
            (
                "/columns/0/domain",
                json!({"many": {"least": 1, "greatest": 2, "power": 99, "frequent": []}}),
            ),
            ("/columns/1/domain/many/frequent", json!([5.0, 0.0])),
            ("/columns/1/domain/many/frequent", json!([-1e9])),
            ("/columns/1/domain/many/frequent", json!([])),
            ("/columns/2/domain", json!({"few": [1.0, 0.0]})),
            ("/columns/4/domain", json!({"texts": ["b", "a"]})),
            ("/columns/4/null", json!(false)),
        ] {
            let mut forged = description.clone();
            *forged.pointer_mut(path).unwrap() = value.clone();
            assert!(load(&forged, &payload).is_err(), "{path} {value}");
        }
        // Whatever numbers stand in a payload of the right shape, rows come out or an error.
        let mut stream = Stream::new(1, "forgery", 0);
        for _ in 0..60 {
            let mut forged = payload.clone();
            for _ in 0..1 + stream.below(40) {
                let at = 32 + stream.below(forged.len() as u32 - 32) as usize;
                forged[at] = [0, 255, 127, stream.next_u32() as u8][stream.below(4) as usize];
            }
            let forged = Arc::new(Known(AlignedBytes::from(&*forged)));
            if let Ok(generator) = TableGenerator::load(&description, forged) {
                assert_eq!(
                    generator.rows(0, 20, 1, &Condition::default(), &Uninterrupted).unwrap().rows(),
                    20
                );
            }
        }
    }
}

/// Ends a training after so many checkpoints, which it keeps.
struct Listener {
    most: usize,
    checkpoints: Mutex<Vec<Vec<u8>>>,
}

impl Control for Listener {
    fn check(&self) -> Result<(), Cancelled> {
        let heard = self.checkpoints.lock().unwrap().len();
        if heard < self.most { Ok(()) } else { Err(Cancelled) }
    }

    fn report(&self, _step: Step) {}

    fn checkpoint(&self, _moment: Moment, state: &dyn Fn() -> Option<CheckpointBytes>) {
        self.checkpoints.lock().unwrap().push((*state().unwrap()).as_ref().to_vec());
    }
}

#[test]
fn a_training_goes_on_from_any_checkpoint() {
    let real = customers(300);
    for algorithm in ALGORITHMS {
        let whole = bytes(&fit(algorithm, &real).generator);
        let listener = Listener { most: 11, checkpoints: Mutex::default() };
        let params = params(algorithm, json!({}));
        let cut = fit_table(&params, &real, Some("default"), None, &listener);
        assert!(matches!(cut, Err(Error::Cancelled(_))));
        let checkpoints = listener.checkpoints.into_inner().unwrap();
        for checkpoint in [&checkpoints[0], &checkpoints[10]] {
            let resume = |label| {
                let checkpoint = Arc::new(AlignedBytes::from(&**checkpoint));
                fit_table(&params, &real, label, Some(checkpoint), &Uninterrupted)
            };
            assert!(bytes(&resume(Some("default")).unwrap().generator) == whole, "{algorithm}");
            assert!(matches!(resume(None), Err(Error::Checkpoint(_))));
        }
    }
}

#[test]
fn a_diverging_training_is_told() {
    let options = json!({"learning_rate": 10, "optimizer": "sgd"});
    for algorithm in ALGORITHMS {
        let params = params(algorithm, options.clone());
        let diverged = fit_table(&params, &customers(300), None, None, &Uninterrupted);
        assert!(matches!(diverged, Err(Error::Diverged { .. })), "{algorithm}");
    }
}

#[test]
fn tables_that_cannot_be_learned_from_say_why() {
    let params = params("tabular_vae", json!({}));
    let refused = |table: &Table, label: Option<&str>| match fit_table(
        &params,
        table,
        label,
        None,
        &Uninterrupted,
    ) {
        Err(Error::Table(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(refused(&customers(99), None), TableError::FewRows { got: 99, .. }));
    let table = customers(200);
    assert!(matches!(refused(&table, Some("defaults")), TableError::NoLabel { .. }));
    assert!(matches!(refused(&table, Some("branch")), TableError::NullLabel { .. }));
    assert!(matches!(refused(&table, Some("age")), TableError::Labels { .. }));
    let mut lone = Table::new([("default", ColumnKind::Number)]);
    (0..200).for_each(|row| lone.push(&[TableCell::Number(f64::from(row % 2))]).unwrap());
    assert_eq!(refused(&lone, Some("default")), TableError::NoColumns);

    let mut table = Table::new([("x", ColumnKind::Number), ("t", ColumnKind::Category)]);
    let nan = table.push(&[TableCell::Number(f64::NAN), TableCell::Null]);
    assert!(matches!(nan, Err(TableError::NotFinite { row: 1, .. })));
    let mut table = Table::new([("t", ColumnKind::Category)]);
    assert!(matches!(table.push(&[TableCell::Number(1.0)]), Err(TableError::Kind { .. })));
    let many: Result<(), TableError> =
        (0..300).try_for_each(|row| table.push(&[TableCell::Text(&row.to_string())]));
    assert!(matches!(many, Err(TableError::Values { got: 257, limit: 256, .. })));
}

#[derive(Clone, Debug)]
enum AnyColumn {
    Constant,
    Nothing,
    Whole(u32),
    Real,
    Names(u32),
}

fn any_column() -> impl Strategy<Value = (AnyColumn, u32)> {
    let kind = prop_oneof![
        Just(AnyColumn::Constant),
        Just(AnyColumn::Nothing),
        (1..100u32).prop_map(AnyColumn::Whole),
        Just(AnyColumn::Real),
        (1..30u32).prop_map(AnyColumn::Names),
    ];
    (kind, 0..100u32)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn any_table_gives_rows_of_its_kind(
        columns in prop::collection::vec(any_column(), 1..6),
        gan: bool,
        seed: u64,
    ) {
        let names: Vec<String> = (0..columns.len()).map(|column| format!("c{column}")).collect();
        let kinds = columns.iter().map(|(kind, _)| match kind {
            AnyColumn::Names(_) => ColumnKind::Category,
            _ => ColumnKind::Number,
        });
        let mut table = Table::new(names.iter().map(String::as_str).zip(kinds));
        for row in 0..150 {
            let mut stream = Stream::new(seed, "any", row);
            let texts: Vec<String> = columns
                .iter()
                .map(|(kind, _)| match kind {
                    AnyColumn::Names(names) => format!("n{}", stream.below(*names)),
                    _ => String::new(),
                })
                .collect();
            let cells: Vec<TableCell<'_>> = columns
                .iter()
                .zip(&texts)
                .map(|((kind, nulls), text)| match kind {
                    AnyColumn::Nothing => TableCell::Null,
                    _ if stream.below(100) < *nulls => TableCell::Null,
                    AnyColumn::Constant => TableCell::Number(7.0),
                    AnyColumn::Whole(most) => TableCell::Number(stream.below(*most).into()),
                    AnyColumn::Real => TableCell::Number(stream.normal()),
                    AnyColumn::Names(_) => TableCell::Text(text),
                })
                .collect();
            table.push(&cells).unwrap();
        }
        let options = json!({"epochs": 1, "hidden": 8});
        let params = params(ALGORITHMS[usize::from(gan)], options);
        let fitted = fit_table(&params, &table, None, None, &Uninterrupted).unwrap();
        let made = fitted.generator.rows(0, 200, seed, &Condition::default(), &Uninterrupted).unwrap();
        for column in 0..columns.len() {
            let real: Vec<TableCell<'_>> = rows(&table).iter().map(|row| row[column]).collect();
            let numbers = real.iter().filter_map(|cell| match cell {
                TableCell::Number(x) => Some(*x),
                _ => None,
            });
            let least = numbers.clone().fold(f64::INFINITY, f64::min);
            let greatest = numbers.fold(f64::NEG_INFINITY, f64::max);
            for row in rows(&made) {
                match row[column] {
                    TableCell::Number(x) => prop_assert!((least..=greatest).contains(&x)),
                    cell => prop_assert!(real.contains(&cell), "{:?}", cell),
                }
            }
        }
        let figures = fitted.report.metrics();
        prop_assert!(figures.iter().all(|(_, figure)| figure.is_finite()), "{:?}", figures);
    }
}

/// A tenth of the rows and of the epochs: the bounds are those of a training that has begun well.
#[test]
fn rows_of_the_credit_defaults_are_soon_like_the_real_ones() {
    let Some(mut lines) = credit::lines() else { return };
    let header = lines.remove(0);
    Stream::new(1, "credit parts", 0).shuffle(&mut lines);
    let table = credit::table(&header, &lines[..3000]);
    for (algorithm, epochs) in [("tabular_vae", 30), ("tabular_gan", 20)] {
        let options = json!({"epochs": epochs, "hidden": 128, "validation_fraction": 0.3});
        let params = params(algorithm, options);
        let fitted = fit_table(&params, &table, Some("def_pay"), None, &Uninterrupted).unwrap();
        let report = fitted.report;
        println!("{algorithm}: {report:?}");
        assert!(report.quality.column_variation < 0.05, "{algorithm}");
        assert!(report.quality.correlation_difference < 0.08, "{algorithm}");
        assert!(report.privacy.unwrap().failures().is_empty(), "{algorithm}");
    }
}
