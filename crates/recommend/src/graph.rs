//! A knowledge graph: triples of head, relation and tail. A head or tail that is the id of an item
//! is that item; all others are entities.

use std::collections::HashMap;

use teller_numeric::Control;
use teller_payload::{AlignedBytes, PayloadWriter};

use crate::algorithm::knowledge_graph::embedding::TripleModel;
use crate::csr::accumulate;
use crate::ids::IdsView;
use crate::{Error, IdRef};

/// Estimate of a name's slot in a growing table, and of its place in the sorted list.
const NAME_BYTES: u64 = 136;
/// A triple as it came, sorted, and its two edges.
const TRIPLE_BYTES: u64 = 40;
/// Triples between two questions whether to stop.
const POLL: usize = 1 << 16;

/// Gathers triples; counts memory as it grows.
pub struct GraphBuilder {
    nodes: Names,
    relations: Names,
    triples: Vec<[u32; 3]>,
    max_bytes: u64,
}

#[derive(Default)]
struct Names {
    indexes: HashMap<Box<str>, u32>,
    bytes: u64,
}

impl GraphBuilder {
    /// A builder that takes at most about `max_bytes`.
    pub fn new(max_bytes: u64) -> Self {
        let (nodes, relations) = (Names::default(), Names::default());
        Self { nodes, relations, triples: Vec::new(), max_bytes }
    }

    /// Adds a triple. Ids of nodes are compared as texts: 7 is '7'.
    pub fn push(&mut self, head: IdRef<'_>, relation: &str, tail: IdRef<'_>) -> Result<(), Error> {
        let head = self.nodes.index_of(head)?;
        let relation = self.relations.index(relation)?;
        let tail = self.nodes.index_of(tail)?;
        self.triples.push([head, relation, tail]);
        let names = self.nodes.bytes + self.relations.bytes;
        let needed = self.triples.len() as u64 * TRIPLE_BYTES + names;
        if needed > self.max_bytes {
            return Err(Error::TooLarge { what: "the triples", needed, limit: self.max_bytes });
        }
        Ok(())
    }

    /// The graph, with the items of a model as its first nodes.
    pub(crate) fn finish(self, items: IdsView<'_>, control: &dyn Control) -> Result<Graph, Error> {
        if self.triples.is_empty() {
            return Err(Error::NoRows("triples"));
        }
        let names = self.nodes.bytes + self.relations.bytes;
        let nodes = self.nodes.sorted();
        let mut place = vec![0u32; nodes.len()];
        let mut entities = Vec::new();
        let mut linked_items = 0;
        for (name, index) in &nodes {
            place[*index as usize] = match item(items, name) {
                Some(item) => {
                    linked_items += 1;
                    item
                }
                None => {
                    entities.push(name.to_string());
                    let entity = items.len() + entities.len() - 1;
                    let limit = u64::from(u32::MAX);
                    let what = "items and entities";
                    u32::try_from(entity).map_err(|_| Error::TooMany { what, limit })?
                }
            };
        }
        if linked_items == 0 {
            return Err(Error::NoItemInGraph { nodes: nodes.len() });
        }
        control.check()?;
        let relations = self.relations.sorted();
        let mut relation_place = vec![0u32; relations.len()];
        for (place, (_, index)) in (0..).zip(&relations) {
            relation_place[*index as usize] = place;
        }
        let mut triples = self.triples;
        for triples in triples.chunks_mut(POLL) {
            control.check()?;
            for [head, relation, tail] in triples {
                *head = place[*head as usize];
                *relation = relation_place[*relation as usize];
                *tail = place[*tail as usize];
            }
        }
        triples.sort_unstable();
        triples.dedup();
        control.check()?;
        let relations = relations.into_iter().map(|(name, _)| name.into()).collect();
        let bytes = triples.len() as u64 * TRIPLE_BYTES + names;
        Ok(Graph { items: items.len(), linked_items, entities, relations, triples, bytes })
    }
}

/// The item of a node's name.
fn item(items: IdsView<'_>, name: &str) -> Option<u32> {
    match items.are_integers() {
        true => items.index(IdRef::Integer(name.parse().ok()?)),
        false => items.index(IdRef::Text(name)),
    }
}

impl Names {
    fn index_of(&mut self, id: IdRef<'_>) -> Result<u32, Error> {
        match id {
            IdRef::Integer(id) => self.index(&id.to_string()),
            IdRef::Text(id) => self.index(id),
        }
    }

    fn index(&mut self, name: &str) -> Result<u32, Error> {
        if let Some(&index) = self.indexes.get(name) {
            return Ok(index);
        }
        let limit = u64::from(u32::MAX) - 1;
        let what = "heads and tails";
        let next = u32::try_from(self.indexes.len()).map_err(|_| Error::TooMany { what, limit })?;
        self.indexes.insert(name.into(), next);
        self.bytes += NAME_BYTES + 2 * name.len() as u64;
        Ok(next)
    }

    fn sorted(self) -> Vec<(Box<str>, u32)> {
        let mut names: Vec<(Box<str>, u32)> = self.indexes.into_iter().collect();
        names.sort_unstable();
        names
    }
}

/// A knowledge graph over the items of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    items: usize,
    linked_items: usize,
    /// Names, in order, of the nodes that are no items: node `items + e` is entity `e`.
    pub(crate) entities: Vec<String>,
    /// Names, in order.
    pub(crate) relations: Vec<String>,
    /// Head, relation and tail: sorted and distinct.
    pub(crate) triples: Vec<[u32; 3]>,
    bytes: u64,
}

impl Graph {
    /// Items and entities.
    pub(crate) fn nodes(&self) -> usize {
        self.items + self.entities.len()
    }

    /// What explanations need: the edges of each item, with the numbers of every node, which it
    /// gives its neighbors, or which a model of triples goes by, with those of the relations.
    pub(crate) fn payload(
        &self,
        nodes: &[f32],
        width: usize,
        triples: Option<(TripleModel, &[f32])>,
    ) -> AlignedBytes {
        let items = self.items as u32;
        // An item, a relation, the other node, and whether this is the head.
        let mut edges: Vec<[u32; 4]> = Vec::new();
        for &[head, relation, tail] in self.triples.iter().filter(|[head, _, tail]| head != tail) {
            edges.extend([[head, relation, tail, 0], [tail, relation, head, 1]]);
        }
        edges.retain(|&[node, ..]| node < items);
        edges.sort_unstable();
        let mut offsets = vec![0u64; self.items + 1];
        edges.iter().for_each(|&[item, ..]| offsets[item as usize + 1] += 1);
        accumulate(&mut offsets);
        let relations: Vec<u32> = edges.iter().map(|&[_, relation, ..]| relation).collect();
        let neighbors: Vec<u32> = edges.iter().map(|&[_, _, neighbor, _]| neighbor).collect();
        let reversed: Vec<u8> = edges.iter().map(|&[.., reversed]| reversed as u8).collect();
        let model = [triples.map_or(0, |(model, _)| model.code())];
        let (relation_offsets, relation_names) = joined(&self.relations);
        let (entity_offsets, entity_names) = joined(&self.entities);
        let mut writer = PayloadWriter::new();
        writer.array("offsets", &[offsets.len()], &offsets);
        writer.array("relations", &[relations.len()], &relations);
        writer.array("neighbors", &[neighbors.len()], &neighbors);
        writer.array("nodes", &[nodes.len() / width, width], nodes);
        if let Some((_, relations)) = triples {
            writer.array("reversed", &[reversed.len()], &reversed);
            writer.array("model", &[1], &model);
            writer.array("relation_numbers", &[relations.len() / width, width], relations);
        }
        writer.array("relation_offsets", &[relation_offsets.len()], &relation_offsets);
        writer.array("relation_names", &[relation_names.len()], &relation_names);
        writer.array("entity_offsets", &[entity_offsets.len()], &entity_offsets);
        writer.array("entity_names", &[entity_names.len()], &entity_names);
        writer.finish()
    }

    /// How many of the items are heads or tails.
    pub fn linked_items(&self) -> usize {
        self.linked_items
    }

    /// About how many bytes it takes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Names one after the other, and where each ends, from 0 on.
fn joined(names: &[String]) -> (Vec<u64>, Vec<u8>) {
    let mut offsets = vec![0u64];
    let mut bytes = Vec::new();
    for name in names {
        bytes.extend_from_slice(name.as_bytes());
        offsets.push(bytes.len() as u64);
    }
    (offsets, bytes)
}
