use teller_numeric::Control;
use teller_payload::{Array, Payload};

use super::choice::Choice;
use super::factors::{self, Factors};
use super::parts::Parts;
use super::reason::{Place, Reason};
use super::seen::row;
use super::{History, Scoring};
use crate::Error;
use crate::vectors::dot;

/// The name of the part.
pub(super) const PART: &str = "graph";

/// Edges of items that somebody had between two questions whether to stop.
const POLL: usize = 1 << 14;

/// Items by a knowledge graph: factors, of which each edge of an item adds a part.
#[derive(Debug)]
struct KnowledgeGraph {
    factors: Factors,
    items: usize,
    payload: Payload,
    /// Of each item its edges: relations and neighbors.
    offsets: Array<u64>,
    relations: Array<u32>,
    neighbors: Array<u32>,
    /// What each node gives to its neighbors: nodes x factors.
    nodes: Array<f32>,
    relation_offsets: Array<u64>,
    relation_names: Array<u8>,
    entity_offsets: Array<u64>,
    entity_names: Array<u8>,
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
    if shape.len() != 2 || shape[1] != factors.count {
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
        factors,
        payload,
    })))
}

impl Scoring for KnowledgeGraph {
    fn needs_weights(&self) -> bool {
        true
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

    /// The paths from what somebody had to the item: what the neighbor adds that both have, shared
    /// by the items that have it. What nodes add that nothing leads to stands alone, and so does
    /// what the item's own numbers add, which are learned from those who had it.
    fn explain(
        &self,
        history: History<'_>,
        item: u32,
        control: &dyn Control,
    ) -> Result<Vec<Reason>, Error> {
        control.check()?;
        let user = self.factors.taste(history, control)?;
        let score = f64::from(dot(&user, self.factors.item(item)));
        let (relations, neighbors) = self.edges(item);
        let shared = self.leading(history, neighbors, control)?;
        let mut reasons = Vec::new();
        let mut rest = score;
        for (&relation, &neighbor) in relations.iter().zip(neighbors) {
            let added = f64::from(dot(&user, self.node(neighbor))) / neighbors.len() as f64;
            rest -= added;
            let this = Place::Name(self.relation(relation));
            let from = shared.iter().filter(|&&(_, _, node)| node == neighbor);
            let count = from.clone().count().max(1) as f64;
            if from.clone().next().is_none() {
                let path = vec![self.place(neighbor), this.clone()];
                reasons.push(Reason::path(path, added as f32));
            }
            for &(had, relation, node) in from {
                let mut path = vec![Place::Item(had)];
                if node != had {
                    path.extend([Place::Name(self.relation(relation)), self.place(node)]);
                }
                path.push(this.clone());
                reasons.push(Reason::path(path, (added / count) as f32));
            }
        }
        reasons.push(Reason::text("who took it", rest as f32));
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

impl KnowledgeGraph {
    /// What leads from the items of a history to some nodes: item, relation and node. An item that
    /// is such a node itself leads to it by no relation.
    fn leading(
        &self,
        history: History<'_>,
        nodes: &[u32],
        control: &dyn Control,
    ) -> Result<Vec<(u32, u32, u32)>, Error> {
        let mut wanted = nodes.to_vec();
        wanted.sort_unstable();
        let mut leading = Vec::new();
        let mut until_poll = POLL;
        for &had in history.items {
            if wanted.binary_search(&had).is_ok() {
                leading.push((had, 0, had));
            }
            let (relations, neighbors) = self.edges(had);
            if until_poll <= neighbors.len() {
                control.check()?;
                until_poll = POLL;
            }
            until_poll = until_poll.saturating_sub(neighbors.len());
            for (&relation, &neighbor) in relations.iter().zip(neighbors) {
                if wanted.binary_search(&neighbor).is_ok() {
                    leading.push((had, relation, neighbor));
                }
            }
        }
        Ok(leading)
    }

    fn edges(&self, item: u32) -> (&[u32], &[u32]) {
        let relations = row(&self.payload, self.offsets, self.relations, item);
        (relations, row(&self.payload, self.offsets, self.neighbors, item))
    }

    fn node(&self, node: u32) -> &[f32] {
        let nodes = self.payload.get(self.nodes).chunks_exact(self.factors.count);
        nodes.clone().nth(node as usize).unwrap_or_default()
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

    fn relation(&self, relation: u32) -> String {
        let name = row(&self.payload, self.relation_offsets, self.relation_names, relation);
        String::from_utf8_lossy(name).into()
    }
}
