//! Numbers of nodes propagated along the edges of a graph: with N the matrix of the means over each
//! node's neighbors, X becomes X + N X + ... + N^hops X.

use teller_numeric::{Cancelled, Control};

use crate::algorithm::svd::product;
use crate::csr::{Csr, accumulate};
use crate::graph::Graph;

/// Means over neighbors.
pub(super) struct Propagation {
    means: Csr,
    transposed: Csr,
    hops: u32,
}

impl Propagation {
    pub(super) fn new(graph: &Graph, hops: u32, control: &dyn Control) -> Result<Self, Cancelled> {
        let nodes = graph.nodes();
        let mut edges: Vec<(u32, u32)> = Vec::with_capacity(2 * graph.triples.len());
        for &[head, _, tail] in graph.triples.iter().filter(|[head, _, tail]| head != tail) {
            edges.extend([(head, tail), (tail, head)]);
        }
        control.check()?;
        edges.sort_unstable();
        control.check()?;
        let mut degrees = vec![0u64; nodes + 1];
        edges.iter().for_each(|&(node, _)| degrees[node as usize + 1] += 1);
        let mut offsets = vec![0u64; nodes + 1];
        let (mut columns, mut values) = (Vec::new(), Vec::new());
        // Two nodes that several relations join are neighbors several times.
        for same in edges.chunk_by(|a, b| a == b) {
            let (node, neighbor) = same[0];
            offsets[node as usize + 1] += 1;
            columns.push(neighbor);
            values.push(same.len() as f32 / degrees[node as usize + 1] as f32);
        }
        accumulate(&mut offsets);
        let means = Csr { offsets, columns, values };
        let transposed = means.transpose(nodes, control)?;
        Ok(Self { means, transposed, hops })
    }

    /// What the numbers of all nodes become after the last hop but one, and after the last.
    pub(super) fn forward(
        &self,
        numbers: &[f32],
        width: usize,
        control: &dyn Control,
    ) -> Result<[Vec<f32>; 2], Cancelled> {
        let mut inner = numbers.to_vec();
        let mut outer = inner.clone();
        for _ in 0..self.hops {
            inner = outer;
            outer = product(&self.means, &inner, width, control)?;
            add(numbers, &mut outer);
        }
        Ok([inner, outer])
    }

    /// The gradient by the numbers of all nodes, from that by what they become.
    pub(super) fn backward(
        &self,
        gradient: Vec<f32>,
        width: usize,
        control: &dyn Control,
    ) -> Result<Vec<f32>, Cancelled> {
        let mut sum = gradient.clone();
        let mut hop = gradient;
        for _ in 0..self.hops {
            hop = product(&self.transposed, &hop, width, control)?;
            add(&hop, &mut sum);
        }
        Ok(sum)
    }
}

fn add(numbers: &[f32], to: &mut [f32]) {
    to.iter_mut().zip(numbers).for_each(|(to, number)| *to += number);
}
