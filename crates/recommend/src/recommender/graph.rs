use teller_numeric::Control;
use teller_numeric::activations::sigmoid;
use teller_payload::{Array, Payload, PayloadError};

use super::choice::Choice;
use super::factors::{self, Factors, row as numbers};
use super::fold::{Histories, Joining};
use super::parts::Parts;
use super::reason::{Place, Reason};
use super::seen::row;
use super::{History, Scoring};
use crate::algorithm::knowledge_graph::embedding::{Triple, TripleModel};
use crate::algorithm::weighting::Weighting;
use crate::vectors::dot;
use crate::{Error, Interactions, Part};

/// The name of the part.
pub(super) const PART: &str = "graph";

/// Edges of items that somebody had between two questions whether to stop.
const POLL: usize = 1 << 14;

/// Items by a knowledge graph: factors, with the edges of items that lead to what somebody had.
#[derive(Debug)]
struct KnowledgeGraph {
    factors: Factors,
    items: usize,
    payload: Payload,
    /// Of each item its edges: relations and neighbors.
    offsets: Array<u64>,
    relations: Array<u32>,
    neighbors: Array<u32>,
    /// What each node gives to its neighbors, or its numbers in triples: nodes x width.
    nodes: Array<f32>,
    width: usize,
    triples: Option<StoredTriples>,
    relation_offsets: Array<u64>,
    relation_names: Array<u8>,
    entity_offsets: Array<u64>,
    entity_names: Array<u8>,
}

/// What tells true triples.
#[derive(Debug)]
struct StoredTriples {
    model: TripleModel,
    /// Of each edge whether the item is its tail.
    reversed: Array<u8>,
    /// Relations x width.
    relations: Array<f32>,
}

/// An edge of an item, and its place among all.
#[derive(Clone, Copy)]
struct Edge {
    at: usize,
    relation: u32,
    neighbor: u32,
}

/// Opens the graph and the factors.
pub(super) fn load(parts: &Parts<'_>) -> Result<Option<Box<dyn Scoring>>, Error> {
    if !parts.has(PART) {
        return Ok(None);
    }
    let Some(factors) = factors::open(parts)? else {
        return Err(Error::Inconsistent("there is a graph without factors".to_owned()));
    };
    let payload = parts.payload(PART)?;
    let wrap = |source| Error::Payload { part: PART, source };
    let (neighbors, shape) = payload.array("neighbors").map_err(wrap)?;
    let edges: usize = shape.iter().product();
    let (nodes, shape) = payload.array::<f32>("nodes").map_err(wrap)?;
    let width = shape.last().copied().unwrap_or_default();
    let triples = match payload.arrays().any(|(name, ..)| name == "model") {
        true => Some(stored_triples(&payload, edges, width).map_err(wrap)?),
        false => None,
    };
    // Factors of distances have one more.
    let added = factors.count.checked_sub(width);
    if shape.len() != 2
        || width == 0
        || !(added == Some(0) || added == Some(1) && triples.is_some())
    {
        let what = "the graph's nodes have other factors than the items";
        return Err(Error::Inconsistent(what.to_owned()));
    }
    Ok(Some(Box::new(KnowledgeGraph {
        items: parts.items,
        offsets: payload.array_of("offsets", &[parts.items + 1]).map_err(wrap)?,
        relations: payload.array_of("relations", &[edges]).map_err(wrap)?,
        relation_offsets: payload.array("relation_offsets").map_err(wrap)?.0,
        relation_names: payload.array("relation_names").map_err(wrap)?.0,
        entity_offsets: payload.array("entity_offsets").map_err(wrap)?.0,
        entity_names: payload.array("entity_names").map_err(wrap)?.0,
        neighbors,
        nodes,
        width,
        triples,
        factors,
        payload,
    })))
}

fn stored_triples(
    payload: &Payload,
    edges: usize,
    width: usize,
) -> Result<StoredTriples, PayloadError> {
    let code = payload.get(payload.array_of::<u32>("model", &[1])?)[0];
    let model = TripleModel::of_code(code).ok_or_else(|| PayloadError::Value {
        name: "model".to_owned(),
        got: code.to_string(),
        expected: "0, 1 or 2",
    })?;
    let (relations, shape) = payload.array("relation_numbers")?;
    let count = shape.first().copied().unwrap_or_default();
    payload.array_of::<f32>("relation_numbers", &[count, width])?;
    Ok(StoredTriples { model, reversed: payload.array_of("reversed", &[edges])?, relations })
}

impl Scoring for KnowledgeGraph {
    /// Those of 0.4.0, which do not tell how others are served, came with weights.
    fn needs_weights(&self) -> bool {
        !self.factors.knows_others()
    }

    fn weighting(&self) -> Result<Weighting, Error> {
        self.factors.weighting()
    }

    fn folds_in(&self) -> Result<Joining, Error> {
        Ok(Joining::Sum(self.weighting()?))
    }

    fn fold(
        &self,
        histories: &Histories,
        data: &Interactions,
        control: &dyn Control,
    ) -> Result<Vec<Part>, Error> {
        self.factors.fold(histories, data, control)
    }

    fn factors(&self) -> Option<[(&[f32], usize); 2]> {
        self.factors.factors()
    }

    fn scores(&self, history: History<'_>, control: &dyn Control) -> Result<Vec<f32>, Error> {
        self.factors.scores(history, control)
    }

    fn choose<'c>(
        &self,
        history: History<'_>,
        candidates: Option<&[u32]>,
        k: usize,
        choice: Choice<'c>,
        control: &dyn Control,
    ) -> Result<Choice<'c>, Error> {
        self.factors.choose(history, candidates, k, choice, control)
    }

    /// The paths from what somebody had to the item.
    fn explain(
        &self,
        history: History<'_>,
        item: u32,
        control: &dyn Control,
    ) -> Result<Vec<Reason>, Error> {
        control.check()?;
        let user = self.factors.taste(history, control)?;
        let edges: Vec<Edge> = self.edges(item).collect();
        let leading = self.leading(history, &edges, control)?;
        let mut reasons = match &self.triples {
            None => self.added(&user, item, &edges, &leading),
            Some(triples) => self.likely(triples, &user, item, &edges, &leading),
        };
        reasons.retain(|reason| reason.contribution != 0.0);
        reasons.sort_by(|a, b| b.contribution.total_cmp(&a.contribution));
        Ok(reasons)
    }

    fn similar<'c>(
        &self,
        item: u32,
        candidates: Option<&[u32]>,
        k: usize,
        choice: Choice<'c>,
        control: &dyn Control,
    ) -> Result<Choice<'c>, Error> {
        self.factors.similar(item, candidates, k, choice, control)
    }
}

/// What leads to a node: an item that somebody had, by an edge, or as that node itself.
struct Leading {
    had: u32,
    by: Option<Edge>,
    to: u32,
}

impl KnowledgeGraph {
    /// What adds up to a score: what the neighbor adds that a path leads to, shared by the items that
    /// lead to it. What nodes add that nothing leads to stands alone, and so does what the item's own
    /// numbers add, which are learned from those who had it.
    fn added(&self, user: &[f32], item: u32, edges: &[Edge], leading: &[Leading]) -> Vec<Reason> {
        let mut rest = f64::from(dot(user, self.factors.item(item)));
        let mut reasons = Vec::new();
        for edge in edges {
            let added = f64::from(dot(user, self.node(edge.neighbor))) / edges.len() as f64;
            rest -= added;
            let from = leading.iter().filter(|leading| leading.to == edge.neighbor);
            let count = from.clone().count().max(1) as f64;
            if from.clone().next().is_none() {
                let path = vec![self.place(edge.neighbor), self.relation(edge.relation)];
                reasons.push(Reason::path(path, added as f32));
            }
            for leading in from {
                reasons.push(Reason::path(self.path(leading, edge), (added / count) as f32));
            }
        }
        reasons.push(Reason::text("who took it", rest as f32));
        reasons
    }

    /// How likely each path is by the model: the product of the probabilities of its triples, the
    /// first of which is that somebody takes what he had; and how likely it is that he takes the item.
    fn likely(
        &self,
        triples: &StoredTriples,
        user: &[f32],
        item: u32,
        edges: &[Edge],
        leading: &[Leading],
    ) -> Vec<Reason> {
        let takes = |item: u32| sigmoid(dot(user, self.factors.item(item)));
        let mut reasons = vec![Reason::text("who took it", takes(item))];
        for edge in edges {
            let last = self.probability(triples, item, edge);
            for leading in leading.iter().filter(|leading| leading.to == edge.neighbor) {
                let by = leading.by.map(|by| self.probability(triples, leading.had, &by));
                let likely = takes(leading.had) * by.unwrap_or(1.0) * last;
                reasons.push(Reason::path(self.path(leading, edge), likely));
            }
        }
        reasons
    }

    /// The probability that the triple of an item's edge is true.
    fn probability(&self, triples: &StoredTriples, item: u32, edge: &Edge) -> f32 {
        let reversed = self.payload.get(triples.reversed).get(edge.at).is_some_and(|&x| x != 0);
        let (head, tail) = if reversed { (edge.neighbor, item) } else { (item, edge.neighbor) };
        let relation = numbers(self.payload.get(triples.relations), edge.relation, self.width);
        let parts = [self.node(head), relation, self.node(tail)].map(<[f32]>::split_last);
        let [Some((_, head)), Some((relation_bias, relation)), Some((bias, tail))] = parts else {
            return 0.0;
        };
        let score = triples.model.triples().score(Triple { head, relation, tail });
        sigmoid(score + relation_bias + bias)
    }

    fn path(&self, leading: &Leading, edge: &Edge) -> Vec<Place> {
        let mut path = vec![Place::Item(leading.had)];
        if let Some(by) = leading.by {
            path.extend([self.relation(by.relation), self.place(by.neighbor)]);
        }
        path.push(self.relation(edge.relation));
        path
    }

    /// What leads from the items of a history to the neighbors of an item.
    fn leading(
        &self,
        history: History<'_>,
        edges: &[Edge],
        control: &dyn Control,
    ) -> Result<Vec<Leading>, Error> {
        let mut wanted: Vec<u32> = edges.iter().map(|edge| edge.neighbor).collect();
        wanted.sort_unstable();
        let is_wanted = |node: u32| wanted.binary_search(&node).is_ok();
        let mut leading = Vec::new();
        let mut until_poll = POLL;
        for &had in history.items {
            if is_wanted(had) {
                leading.push(Leading { had, by: None, to: had });
            }
            let edges = self.edges(had);
            if until_poll <= edges.len() {
                control.check()?;
                until_poll = POLL;
            }
            until_poll = until_poll.saturating_sub(edges.len());
            for edge in edges.filter(|edge| is_wanted(edge.neighbor)) {
                leading.push(Leading { had, by: Some(edge), to: edge.neighbor });
            }
        }
        Ok(leading)
    }

    fn edges(&self, item: u32) -> impl ExactSizeIterator<Item = Edge> {
        let first = self.payload.get(self.offsets).get(item as usize).copied().unwrap_or_default();
        let relations = row(&self.payload, self.offsets, self.relations, item);
        let neighbors = row(&self.payload, self.offsets, self.neighbors, item);
        let edges = relations.iter().zip(neighbors).enumerate();
        edges.map(move |(i, (&relation, &neighbor))| {
            let at = (first as usize).saturating_add(i);
            Edge { at, relation, neighbor }
        })
    }

    fn node(&self, node: u32) -> &[f32] {
        numbers(self.payload.get(self.nodes), node, self.width)
    }

    fn place(&self, node: u32) -> Place {
        match node.checked_sub(self.items as u32) {
            None => Place::Item(node),
            Some(entity) => {
                let name = row(&self.payload, self.entity_offsets, self.entity_names, entity);
                Place::Name(String::from_utf8_lossy(name).into())
            }
        }
    }

    fn relation(&self, relation: u32) -> Place {
        let name = row(&self.payload, self.relation_offsets, self.relation_names, relation);
        Place::Name(String::from_utf8_lossy(name).into())
    }
}
