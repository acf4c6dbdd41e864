//! What the tests of whole recommenders share.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(unreachable_pub, reason = "a module of several test binaries")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

use serde_json::Value;
use teller_numeric::{Options, Uninterrupted};
use teller_payload::SharedBytes;
use teller_recommend::{
    Algorithm, Dataset, DatasetBuilder, FeatureKind, FittedRecommender, GraphBuilder, IdRef,
    InteractionsBuilder, ItemFeaturesBuilder, Recommender, read_algorithm, read_training,
};

/// A row as a cursor gives it.
pub type Row = (i64, i64, f32);

/// Head, relation and tail.
pub type Triple = (i64, String, i64);

pub fn dataset(rows: impl IntoIterator<Item = Row>) -> Dataset {
    let mut builder = InteractionsBuilder::new(1 << 30);
    let mut items = Vec::new();
    for (user, item, weight) in rows {
        builder.push(IdRef::Integer(user), IdRef::Integer(item), weight).unwrap();
        items.push(IdRef::Integer(item));
    }
    described(builder, &items)
}

/// The data with features and a graph of the items, for the algorithms that learn from them: each
/// item has a colour, which most of its features tell, and a maker.
pub fn described(mut interactions: InteractionsBuilder, items: &[IdRef<'_>]) -> Dataset {
    let columns = [
        ("colour", FeatureKind::Text),
        ("description", FeatureKind::Text),
        ("tags", FeatureKind::Texts),
        ("shade", FeatureKind::Number),
    ];
    let mut features = ItemFeaturesBuilder::new(columns, 1 << 30);
    let mut graph = GraphBuilder::new(1 << 30);
    let mut known = HashSet::new();
    for &item in items.iter().filter(|item| known.insert(item.to_string())) {
        let number = match item {
            IdRef::Integer(id) => id.rem_euclid(1 << 40) as u64,
            IdRef::Text(id) => xxhash_rust::xxh3::xxh3_64(id.as_bytes()) >> 8,
        };
        let (dark, maker) = (number.is_multiple_of(2), number % 7);
        let (colour, shade) = if dark { ("black", 0.9) } else { ("white", 0.1) };
        features.item(item, &mut interactions).unwrap();
        features.text(0, colour).unwrap();
        features.text(1, &format!("A {colour} thing, number {number}.")).unwrap();
        for tag in 0..6 {
            features.text(2, &format!("{colour} {tag}")).unwrap();
        }
        features.text(2, &format!("maker {maker}")).unwrap();
        if !number.is_multiple_of(5) {
            features.number(3, shade);
        }
        let [colour, maker] = [colour.to_owned(), format!("maker {maker}")];
        graph.push(item, "has colour", IdRef::Text(&colour)).unwrap();
        graph.push(item, "made by", IdRef::Text(&maker)).unwrap();
    }
    let (features, graph) = (Some(features), Some(graph));
    DatasetBuilder { interactions, features, graph }.finish(&Uninterrupted).unwrap()
}

/// Without a validation unless there is a word of it.
pub fn algorithm(given: &Value) -> Box<dyn Algorithm> {
    let mut options = Options::new("recommendation", given).unwrap();
    let algorithm = match given.get("validation") {
        Some(_) => read_training(&mut options).unwrap(),
        None => read_algorithm(&mut options).unwrap(),
    };
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

/// A file of the data folder; `None`, said aloud, where it is absent.
pub fn lines(file: &str) -> Option<String> {
    let folder = std::env::var_os("TELLER_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let text = std::fs::read_to_string(folder.join(file)).ok();
    if text.is_none() {
        println!("skipped: {file} is not in {}", folder.display());
    }
    text
}

/// Rows of a tab-separated file of the data folder.
pub fn real_rows(file: &str) -> Option<Vec<Row>> {
    let text = lines(file)?;
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

/// Triples of Last.FM, by the entities of its artists, and of each artist that has one his entity.
pub fn last_fm_graph() -> Option<(Vec<Triple>, HashMap<i64, i64>)> {
    let number = |field: &str| field.parse::<i64>().unwrap();
    let text = lines("lastfm_item_entity.tsv")?;
    let pairs = text.lines().skip(1).map(|line| line.split_once('\t').unwrap());
    let entities = pairs.map(|(artist, entity)| (number(artist), number(entity))).collect();
    let text = lines("lastfm_graph.tsv")?;
    let triples = text.lines().skip(1).map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        (number(fields[0]), fields[1].to_owned(), number(fields[2]))
    });
    Some((triples.collect(), entities))
}

/// Parts rows by a hash of user, item and `salt`: about four fifths, one fifth.
pub fn split(rows: &[Row], salt: u64) -> (Vec<Row>, Vec<Row>) {
    rows.iter().partition(|&&(user, item, _)| {
        let key = [user.to_le_bytes(), item.to_le_bytes()].concat();
        !xxhash_rust::xxh3::xxh3_64_with_seed(&key, salt).is_multiple_of(5)
    })
}
