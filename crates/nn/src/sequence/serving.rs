//! The way of one sequence through a finished network.

use teller_numeric::{Control, Isa};

use super::network::{Group, Network};
use super::packing::Packing;
use super::source::Steps;
use super::values::Values;
use crate::Error;
use crate::floats::Floats;
use crate::layer::Pass;

/// Memory for a sequence on its way; grows with the longest one, and serves any classifier.
#[derive(Debug, Default)]
pub struct SequenceWorkspace {
    values: Vec<Floats>,
    scratch: Option<Floats>,
    /// What became of the logits.
    pub(super) probabilities: Vec<f32>,
}

/// What a network says of a sequence.
pub(crate) struct Answer<'w> {
    pub(crate) logits: &'w [f32],
    /// What its dense layers read: near for sequences that look alike to it.
    pub(crate) pooled: &'w [f32],
}

impl Network {
    /// Bytes of a workspace for sequences of so many steps.
    pub(crate) fn working_memory(&self, steps: usize) -> usize {
        let mut floats = self.scratch();
        Values::build(self, |width| {
            floats = floats.saturating_add(width.floats(steps, 1));
        });
        floats.saturating_mul(size_of::<f32>())
    }

    /// Asks for a sequence of `steps` steps, at least 1. `load` writes them, and the static
    /// columns.
    pub(crate) fn ask<'w>(
        &self,
        isa: Isa,
        weights: &[f32],
        steps: usize,
        workspace: &'w mut SequenceWorkspace,
        load: impl FnOnce(Steps<'_>, &mut [f32]),
        control: &dyn Control,
    ) -> Result<Answer<'w>, Error> {
        let mut widths = Vec::new();
        Values::build(self, |width| widths.push(width.floats(steps, 1)));
        let scratch = self.scratch();
        let fits = workspace.values.len() == widths.len()
            && workspace.values.iter().zip(&widths).all(|(floats, len)| floats.len() >= *len)
            && workspace.scratch.as_ref().is_some_and(|floats| floats.len() >= scratch);
        if !fits {
            let values = widths.iter().map(|&len| Floats::zeros(len));
            *workspace = SequenceWorkspace {
                values: values.collect::<Result<_, _>>()?,
                scratch: Some(Floats::zeros(scratch)?),
                probabilities: Vec::new(),
            };
        }
        let mut fields = workspace.values.iter_mut().zip(&widths);
        let values = Values::build(self, |_| match fields.next() {
            Some((floats, len)) => &mut floats[..*len],
            None => &mut [],
        });
        let packing = Packing::new(&[steps]);
        let scratch = workspace.scratch.as_deref_mut().unwrap_or_default();
        let scratch = &mut scratch[..self.scratch()];
        let mut group = Group { packing, lengths: vec![steps], values, scratch };
        let Group { packing, values, .. } = &mut group;
        let statics = self.pooled() - self.statics;
        let input = Steps { packing, sequence: 0, width: self.inputs, values: values.input };
        load(input, &mut values.pooled[statics..]);
        let pass = Pass { isa, control, noise: None };
        self.forward(&pass, weights, &mut group, None)?;
        Ok(Answer { logits: group.values.logits, pooled: group.values.pooled })
    }
}
