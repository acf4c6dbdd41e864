//! The loss of true and false triples, and its gradients.

use rayon::prelude::*;
use teller_numeric::{Cancelled, Control, Stream};

use super::triples::Drawn;
use super::{Role, Triple, Triples};
use crate::algorithm::knowledge_graph::sampling::{cross_entropy, draw_items, small_random};
use crate::algorithm::knowledge_graph::training::{Gradients, Problem};
use crate::algorithm::knowledge_graph::{KnowledgeGraphParams, ROWS};
use crate::csr::Csr;
use crate::graph::Graph;
use crate::vectors::axpy;

/// Triples that one task adds up.
const CHUNK: usize = 1 << 12;

/// What does not change while it is learned.
pub(in super::super) struct Embedded<'a> {
    pub(in super::super) params: &'a KnowledgeGraphParams,
    pub(in super::super) model: &'static dyn Triples,
    pub(in super::super) taken: &'a Csr,
    pub(in super::super) items: usize,
    pub(in super::super) nodes: usize,
    pub(in super::super) graph: &'a Graph,
}

/// Row-major numbers, the last of a row its bias: of users and nodes, and of relations.
#[derive(Clone, Copy)]
struct Rows<'a> {
    nodes: &'a [f32],
    relations: &'a [f32],
    width: usize,
}

impl<'a> Rows<'a> {
    /// The numbers of a triple, and its biases.
    fn triple(self, [head, relation, tail]: [u32; 3]) -> (Triple<'a>, f32) {
        let row = |rows: &'a [f32], index: u32| &rows[index as usize * self.width..][..self.width];
        let [head, tail] = [head, tail].map(|node| row(self.nodes, node));
        let relation = row(self.relations, relation);
        let last = self.width - 1;
        let bias = relation[last] + tail[last];
        (Triple { head: &head[..last], relation: &relation[..last], tail: &tail[..last] }, bias)
    }
}

impl Problem for Embedded<'_> {
    fn matrices(&self) -> Vec<(&'static str, usize)> {
        // One more for "takes".
        vec![
            ("nodes", self.taken.rows() + self.nodes),
            ("relations", self.graph.relations.len() + 1),
        ]
    }

    fn start(&self, control: &dyn Control) -> Result<Vec<Vec<f32>>, Cancelled> {
        let random = |(name, rows)| small_random(self.params, name, rows, 0.0, control);
        let mut numbers: Vec<Vec<f32>> =
            self.matrices().into_iter().map(random).collect::<Result<_, _>>()?;
        if let Some(relations) = numbers.last_mut() {
            self.each_relation(relations, |relation| self.model.begin(relation));
        }
        Ok(numbers)
    }

    fn gradients(
        &self,
        epoch: u32,
        numbers: &[&[f32]],
        control: &dyn Control,
    ) -> Result<Gradients, Cancelled> {
        let params = self.params;
        let items = draw_items(params, self.taken, self.items, epoch, control)?;
        let draw = |chunk| {
            Stream::new(params.seed, "knowledge graph triples", u64::from(epoch) << 32 | chunk)
        };
        let drawn = Drawn::new(&items, self.graph, params.negatives, draw, control)?;
        drop(items);
        let rows = Rows { nodes: numbers[0], relations: numbers[1], width: params.width() };
        self.of_drawn(rows, &drawn, control)
    }

    fn constrain(&self, numbers: &mut [&mut [f32]]) {
        if let Some(relations) = numbers.last_mut() {
            self.each_relation(relations, |relation| self.model.constrain(relation));
        }
    }
}

impl Embedded<'_> {
    /// Does something with the numbers of each relation, without biases.
    fn each_relation(&self, relations: &mut [f32], change: impl Fn(&mut [f32])) {
        let width = self.params.width();
        relations.chunks_exact_mut(width).for_each(|relation| change(&mut relation[..width - 1]));
    }

    /// Of the cross-entropy of what was drawn, and of the squares of all numbers of nodes.
    fn of_drawn(
        &self,
        rows: Rows<'_>,
        drawn: &Drawn,
        control: &dyn Control,
    ) -> Result<Gradients, Cancelled> {
        let chunks: Vec<(f64, Vec<f32>)> = drawn
            .triples
            .par_chunks(CHUNK)
            .zip(drawn.truths.par_chunks(CHUNK))
            .map(|(triples, truths)| {
                control.check()?;
                let mut loss = 0f64;
                let slopes = triples.iter().zip(truths).map(|(&triple, &truth)| {
                    let (triple, bias) = rows.triple(triple);
                    let (of_triple, slope) = cross_entropy(self.model.score(triple) + bias, truth);
                    loss += of_triple;
                    slope
                });
                let slopes = slopes.collect();
                Ok((loss, slopes))
            })
            .collect::<Result<_, Cancelled>>()?;
        let loss = chunks.iter().map(|(loss, _)| loss).sum();
        let slopes: Vec<f32> = chunks.into_iter().flat_map(|(_, slopes)| slopes).collect();
        let mut nodes: Vec<f32> =
            rows.nodes.iter().map(|x| self.params.regularization * x).collect();
        let mut relations = vec![0f32; rows.relations.len()];
        self.add(Role::Head, rows, drawn, &slopes, &mut nodes, control)?;
        self.add(Role::Tail, rows, drawn, &slopes, &mut nodes, control)?;
        self.add(Role::Relation, rows, drawn, &slopes, &mut relations, control)?;
        Ok(Gradients { loss, drawn: drawn.triples.len(), by: vec![nodes, relations] })
    }

    /// Adds the gradient by the numbers that have a role in what was drawn.
    fn add(
        &self,
        role: Role,
        rows: Rows<'_>,
        drawn: &Drawn,
        slopes: &[f32],
        gradient: &mut [f32],
        control: &dyn Control,
    ) -> Result<(), Cancelled> {
        let width = rows.width;
        let groups = drawn.by(role, gradient.len() / width, control)?;
        let sum = |members: &[u32], gradient: &mut [f32]| {
            for &index in members {
                let (triple, _) = rows.triple(drawn.triples[index as usize]);
                let slope = slopes[index as usize];
                self.model.add_gradient(triple, role, slope, &mut gradient[..width - 1]);
                // A head has no bias.
                if role != Role::Head {
                    gradient[width - 1] += slope;
                }
            }
        };
        gradient.par_chunks_mut(ROWS * width).enumerate().try_for_each(|(chunk, gradients)| {
            control.check()?;
            for (i, gradient) in gradients.chunks_exact_mut(width).enumerate() {
                let members = groups.of(chunk * ROWS + i);
                if members.len() <= CHUNK {
                    sum(members, gradient);
                    continue;
                }
                let parts: Vec<Vec<f32>> = members
                    .par_chunks(CHUNK)
                    .map(|members| {
                        control.check()?;
                        let mut part = vec![0f32; width];
                        sum(members, &mut part);
                        Ok(part)
                    })
                    .collect::<Result<_, Cancelled>>()?;
                parts.iter().for_each(|part| axpy(1.0, part, gradient));
            }
            Ok(())
        })
    }
}
