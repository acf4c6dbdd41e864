//! What the tests of whole recommenders share.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(unreachable_pub, reason = "a module of several test binaries")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;
use teller_numeric::{Options, Uninterrupted};
use teller_payload::SharedBytes;
use teller_recommend::{
    Algorithm, Dataset, FittedRecommender, IdRef, InteractionsBuilder, Recommender, read_algorithm,
};

/// A row as a cursor gives it.
pub type Row = (i64, i64, f32);

pub fn dataset(rows: impl IntoIterator<Item = Row>) -> Dataset {
    let mut builder = InteractionsBuilder::new(1 << 30);
    for (user, item, weight) in rows {
        builder.push(IdRef::Integer(user), IdRef::Integer(item), weight).unwrap();
    }
    Dataset { interactions: builder.finish(&Uninterrupted).unwrap() }
}

pub fn algorithm(given: &Value) -> Box<dyn Algorithm> {
    let mut options = Options::new("recommendation", given).unwrap();
    let algorithm = read_algorithm(&mut options).unwrap();
    options.finish().unwrap();
    algorithm
}

pub fn on_threads<T: Send>(threads: usize, run: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(run)
}

pub fn train(given: &Value, data: &Dataset) -> FittedRecommender {
    on_threads(2, || algorithm(given).fit(data, None, &Uninterrupted).unwrap())
}

pub fn parts(fitted: &FittedRecommender) -> BTreeMap<String, SharedBytes> {
    fitted
        .parts
        .iter()
        .map(|(name, bytes)| (name.clone().into_owned(), bytes.clone() as SharedBytes))
        .collect()
}

pub fn load(fitted: &FittedRecommender) -> Recommender {
    Recommender::load(&parts(fitted)).unwrap()
}

/// Rows of a tab-separated file of the data folder; `None`, said aloud, where it is absent.
pub fn real_rows(file: &str) -> Option<Vec<Row>> {
    let folder = std::env::var_os("TELLER_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let Ok(text) = std::fs::read_to_string(folder.join(file)) else {
        println!("skipped: {file} is not in {}", folder.display());
        return None;
    };
    let number = |field: Option<&str>| field.unwrap().parse::<i64>().unwrap();
    Some(
        text.lines()
            .skip(1)
            .map(|line| {
                let mut fields = line.split('\t');
                (number(fields.next()), number(fields.next()), number(fields.next()) as f32)
            })
            .collect(),
    )
}

/// Parts rows by a hash of user, item and `salt`: about four fifths, one fifth.
pub fn split(rows: &[Row], salt: u64) -> (Vec<Row>, Vec<Row>) {
    rows.iter().partition(|&&(user, item, _)| {
        let key = [user.to_le_bytes(), item.to_le_bytes()].concat();
        !xxhash_rust::xxh3::xxh3_64_with_seed(&key, salt).is_multiple_of(5)
    })
}
