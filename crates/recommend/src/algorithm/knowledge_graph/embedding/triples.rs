//! The triples of an epoch: those of the graph and of what users took, and false ones.

use rayon::prelude::*;
use teller_numeric::{Cancelled, Control, Stream};

use super::Role;
use crate::csr::{Csr, POLL, accumulate};
use crate::graph::Graph;

/// Triples that one task draws for.
const CHUNK: usize = 1 << 10;

/// True and false triples. Heads and tails are numbered from the users on; relations as in the graph,
/// and after them "takes".
pub(super) struct Drawn {
    /// Head, relation and tail.
    pub(super) triples: Vec<[u32; 3]>,
    pub(super) truths: Vec<bool>,
}

impl Drawn {
    /// What users took and did not, and the triples of the graph, with `negatives` of each in which
    /// the head or the tail is another node.
    pub(super) fn new(
        items: &Csr,
        graph: &Graph,
        negatives: usize,
        draw: impl Fn(u64) -> Stream + Sync,
        control: &dyn Control,
    ) -> Result<Self, Cancelled> {
        let users = items.rows() as u32;
        let takes = graph.relations.len() as u32;
        let most = items.columns.len() + graph.triples.len() * (1 + negatives);
        let (mut triples, mut truths) = (Vec::with_capacity(most), Vec::with_capacity(most));
        for user in 0..items.rows() {
            let (items, _) = items.row(user);
            triples.extend(items.iter().map(|&item| [user as u32, takes, users + item]));
        }
        truths.extend(items.values.iter().map(|&took| took > 0.0));
        let nodes = graph.nodes() as u32;
        let chunks: Vec<Vec<([u32; 3], bool)>> = graph
            .triples
            .par_chunks(CHUNK)
            .enumerate()
            .map(|(chunk, triples)| {
                control.check()?;
                let mut stream = draw(chunk as u64);
                let mut drawn = Vec::with_capacity(triples.len() * (1 + negatives));
                for &[head, relation, tail] in triples {
                    drawn.push(([head, relation, tail], true));
                    for _ in 0..negatives {
                        let other = stream.below(nodes);
                        let fake = match stream.below(2) {
                            0 => [other, relation, tail],
                            _ => [head, relation, other],
                        };
                        if graph.triples.binary_search(&fake).is_err() {
                            drawn.push((fake, false));
                        }
                    }
                }
                Ok(drawn)
            })
            .collect::<Result<_, Cancelled>>()?;
        for ([head, relation, tail], truth) in chunks.into_iter().flatten() {
            triples.push([users + head, relation, users + tail]);
            truths.push(truth);
        }
        Ok(Self { triples, truths })
    }

    /// Which triples each of so many heads, relations or tails is in.
    pub(super) fn by(
        &self,
        role: Role,
        count: usize,
        control: &dyn Control,
    ) -> Result<Groups, Cancelled> {
        let mut offsets = vec![0u64; count + 1];
        for triples in self.triples.chunks(POLL) {
            control.check()?;
            triples.iter().for_each(|triple| offsets[triple[role as usize] as usize + 1] += 1);
        }
        accumulate(&mut offsets);
        let mut next = offsets.clone();
        let mut members = vec![0u32; self.triples.len()];
        let mut index = 0u32;
        for triples in self.triples.chunks(POLL) {
            control.check()?;
            for triple in triples {
                let next = &mut next[triple[role as usize] as usize];
                members[*next as usize] = index;
                *next += 1;
                index += 1;
            }
        }
        Ok(Groups { offsets, members })
    }
}

/// Indexes of triples, by what they have in common.
pub(super) struct Groups {
    offsets: Vec<u64>,
    members: Vec<u32>,
}

impl Groups {
    pub(super) fn of(&self, index: usize) -> &[u32] {
        &self.members[self.offsets[index] as usize..self.offsets[index + 1] as usize]
    }
}
