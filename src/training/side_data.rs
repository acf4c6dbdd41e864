//! What a recommender learns from besides the interactions: rows of the options `items` and `graph`.

use serde_json::Value;
use teller_numeric::Options;
use teller_recommend::{
    Algorithm, Dataset, DatasetBuilder, GraphBuilder, InteractionsBuilder, ItemColumns,
    ItemFeaturesBuilder,
};

use crate::bridge::interrupts::StatementControl;
use crate::catalog::data::{self, Column, Kind, Query, RowsRead};
use crate::catalog::feature::FeatureValue;
use crate::error::Error;
use crate::training::recommendation::gather_interactions;

const ITEM_COLUMNS: [Column; 1] = [Column { name: "item_id", kind: Kind::Id, required: true }];

const GRAPH_COLUMNS: [Column; 3] = [
    Column { name: "head", kind: Kind::Id, required: true },
    Column { name: "relation", kind: Kind::Label, required: true },
    Column { name: "tail", kind: Kind::Id, required: true },
];

/// The options whose values are SELECTs, which run in the name of whom the data's does.
pub const ITEMS: &str = "items";
pub const GRAPH: &str = "graph";

/// The SELECTs that an algorithm learns from besides that of the data.
pub struct SideData {
    items: Option<(String, ItemColumns)>,
    graph: Option<String>,
    /// Whether the algorithm asks when the interactions were.
    times: bool,
}

impl SideData {
    /// Reads `items` and `graph` for an algorithm that takes them.
    pub fn read(options: &mut Options, algorithm: &dyn Algorithm) -> Result<Self, Error> {
        let takes = algorithm.takes();
        let mut items = None;
        if let Some(columns) = takes.items {
            items = options.text(ITEMS)?.map(|text| (text.to_owned(), columns));
            if items.is_none() && columns == ItemColumns::Features {
                let expected = "a SELECT of item_id and features of the items".to_owned();
                return Err(options.invalid(ITEMS, &Value::Null, expected).into());
            }
        }
        let mut graph = None;
        if takes.graph {
            graph = options.text(GRAPH)?.map(str::to_owned);
            if graph.is_none() {
                let expected = "a SELECT of head, relation and tail".to_owned();
                return Err(options.invalid(GRAPH, &Value::Null, expected).into());
            }
        }
        Ok(Self { items, graph, times: takes.times })
    }

    /// Reads the interactions of `query`, and then the rest in the same name, into one data set of
    /// at most `limit` bytes.
    pub fn dataset(&self, query: Query, limit: u64) -> Result<(Dataset, RowsRead), Error> {
        let (mut interactions, mut read) = gather_interactions(query, self.times, limit)?;
        let mut left = limit.saturating_sub(interactions.bytes());
        let reader = query.reader;
        let mut features = None;
        if let Some((text, columns)) = &self.items {
            let query = Query { text, reader };
            let (items, more) = match columns {
                ItemColumns::Features => read_features(query, &mut interactions, left)?,
                ItemColumns::Ids => read_items(query, &mut interactions, left)?,
            };
            left = left.saturating_sub(items.bytes());
            read = read.and(&more);
            features = Some(items);
        }
        let mut graph = None;
        if let Some(text) = &self.graph {
            let (triples, more) = read_graph(Query { text, reader }, left)?;
            read = read.and(&more);
            graph = Some(triples);
        }
        let data = DatasetBuilder { interactions, features, graph };
        Ok((data.finish(&StatementControl)?, read))
    }
}

/// Reads ids and features of items.
fn read_features(
    query: Query,
    interactions: &mut InteractionsBuilder,
    limit: u64,
) -> Result<(ItemFeaturesBuilder, RowsRead), Error> {
    data::read_with_features(
        query,
        &ITEM_COLUMNS,
        |features| {
            let columns = features.iter().map(|feature| (&*feature.name, feature.kind));
            Ok(ItemFeaturesBuilder::new(columns, limit))
        },
        |items, row| {
            row.id(0, |item| items.item(item, interactions))??;
            for column in 0..items.columns() {
                row.feature(column, &mut |value| {
                    match value {
                        FeatureValue::Number(number) => items.number(column, number),
                        FeatureValue::Text(text) => items.text(column, text)?,
                    }
                    Ok(())
                })?;
            }
            Ok(())
        },
    )
}

/// Reads ids of items.
fn read_items(
    query: Query,
    interactions: &mut InteractionsBuilder,
    limit: u64,
) -> Result<(ItemFeaturesBuilder, RowsRead), Error> {
    let mut items = ItemFeaturesBuilder::new([], limit);
    let read = data::read(query, &ITEM_COLUMNS, |row| {
        Ok(row.id(0, |item| items.item(item, interactions))??)
    })?;
    Ok((items, read))
}

/// Reads triples.
fn read_graph(query: Query, limit: u64) -> Result<(GraphBuilder, RowsRead), Error> {
    let mut graph = GraphBuilder::new(limit);
    let read = data::read(query, &GRAPH_COLUMNS, |row| {
        row.id(0, |head| {
            row.text(1, |relation| row.id(2, |tail| graph.push(head, relation, tail)))
        })????;
        Ok(())
    })?;
    Ok((graph, read))
}
