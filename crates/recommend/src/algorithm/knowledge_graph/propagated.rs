//! Users and nodes whose numbers are propagated along the edges: a score is the dot product of a
//! user's numbers with what an item's become, of which the last is a bias.
//!
//! Wang et al., "Knowledge Graph Convolutional Networks for Recommender Systems", WWW 2019, with
//! the mean of all neighbors instead of a sample of them weighed by user and relation, and without
//! nonlinearity, as in He et al., "LightGCN", SIGIR 2020: so a score is a dot product, and the sum
//! of what each edge adds to it.

use rayon::prelude::*;
use teller_numeric::{Cancelled, Control};

use super::propagation::Propagation;
use super::sampling::{cross_entropy, draw_items, small_random};
use super::training::{Gradients, Problem};
use super::{KnowledgeGraphParams, ROWS};
use crate::algorithm::svd::product;
use crate::csr::Csr;
use crate::vectors::{axpy, dot};

/// What does not change while it is learned.
pub(super) struct Propagated<'a> {
    pub(super) params: &'a KnowledgeGraphParams,
    pub(super) taken: &'a Csr,
    pub(super) items: usize,
    pub(super) nodes: usize,
    pub(super) propagation: Propagation,
}

impl Problem for Propagated<'_> {
    fn matrices(&self) -> Vec<(&'static str, usize)> {
        vec![("users", self.taken.rows()), ("nodes", self.nodes)]
    }

    /// The users' last number is 1, and the nodes' last, the bias, 0.
    fn start(&self, control: &dyn Control) -> Result<Vec<Vec<f32>>, Cancelled> {
        let users = self.taken.rows();
        Ok(vec![
            small_random(self.params, "knowledge graph users", users, 1.0, control)?,
            small_random(self.params, "knowledge graph nodes", self.nodes, 0.0, control)?,
        ])
    }

    fn gradients(
        &self,
        epoch: u32,
        numbers: &[&[f32]],
        control: &dyn Control,
    ) -> Result<Gradients, Cancelled> {
        let (users, nodes) = (numbers[0], numbers[1]);
        let drawn = draw_items(self.params, self.taken, self.items, epoch, control)?;
        let width = self.params.width();
        let [_, outer] = self.propagation.forward(nodes, width, control)?;
        let item = |item: u32| &outer[item as usize * width..][..width];
        let mut of_users: Vec<f32> = users.iter().map(|x| self.params.regularization * x).collect();
        // Per user the loss, and per drawn pair its slope.
        let slopes: Vec<Vec<(f64, Vec<f32>)>> = of_users
            .par_chunks_mut(ROWS * width)
            .enumerate()
            .map(|(chunk, gradients)| {
                control.check()?;
                let rows = gradients.chunks_exact_mut(width).enumerate();
                Ok(rows
                    .map(|(i, gradient)| {
                        let row = chunk * ROWS + i;
                        let user = &users[row * width..][..width];
                        let (items, took) = drawn.row(row);
                        let mut loss = 0f64;
                        let slope = |(&index, &took): (&u32, &f32)| {
                            let (of_pair, slope) =
                                cross_entropy(dot(user, item(index)), took > 0.0);
                            loss += of_pair;
                            axpy(slope, item(index), gradient);
                            slope
                        };
                        let slopes = items.iter().zip(took).map(slope).collect();
                        // The factor of the bias is 1.
                        gradient[width - 1] = 0.0;
                        (loss, slopes)
                    })
                    .collect())
            })
            .collect::<Result<_, Cancelled>>()?;
        let mut loss = 0f64;
        let mut by_user = Csr { values: Vec::with_capacity(drawn.columns.len()), ..drawn.clone() };
        by_user.values.clear();
        for (of_user, slopes) in slopes.into_iter().flatten() {
            loss += of_user;
            by_user.values.extend(slopes);
        }
        let by_item = by_user.transpose(self.items, control)?;
        let mut of_items = product(&by_item, users, width, control)?;
        of_items.resize(nodes.len(), 0.0);
        let mut of_nodes = self.propagation.backward(of_items, width, control)?;
        of_nodes.iter_mut().zip(nodes).for_each(|(g, x)| *g += self.params.regularization * x);
        Ok(Gradients { loss, drawn: drawn.columns.len(), by: vec![of_users, of_nodes] })
    }
}
