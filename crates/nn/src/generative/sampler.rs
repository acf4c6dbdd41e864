//! A trained network that makes raw rows: logits and normal numbers, before the margins are
//! brought home.

use teller_numeric::Stream;

use super::affine::Work;
use super::gan::GanSampler;
use super::table::TableEncoding;
use super::vae::{Mixture, VaeSampler};
use crate::Error;

/// Which rows are to be made: those of these numbers, one for each label.
#[derive(Clone, Copy)]
pub(super) struct Draw<'a> {
    pub(super) seed: u64,
    pub(super) numbers: &'a [u64],
    pub(super) labels: &'a [u32],
}

impl Draw<'_> {
    /// What the row at this place draws from, the same in any draw that has the row.
    pub(super) fn stream(&self, purpose: &str, row: usize) -> Stream {
        Stream::new(self.seed, purpose, self.numbers[row])
    }
}

/// A label, as often as its rows among all.
pub(super) fn draw_label(rows: &[u64], stream: &mut Stream) -> u32 {
    let all: u64 = rows.iter().sum();
    let mut place = (f64::from(stream.uniform()) * all as f64) as u64;
    for (label, &count) in (0u32..).zip(rows) {
        if place < count {
            return label;
        }
        place -= count;
    }
    0
}

#[derive(Clone, Debug)]
pub(super) enum Sampler {
    Vae(VaeSampler),
    Gan(GanSampler),
}

impl Sampler {
    /// Bytes that it holds.
    pub(super) fn memory(&self) -> usize {
        match self {
            Self::Vae(vae) => {
                let mixtures = vae.mixtures.iter().map(Mixture::memory);
                size_of_val(&*vae.weights) + mixtures.sum::<usize>()
            }
            Self::Gan(gan) => size_of_val(&*gan.weights),
        }
    }

    pub(super) fn raw(
        &self,
        work: &Work<'_>,
        encoding: &TableEncoding,
        draw: Draw<'_>,
    ) -> Result<Vec<f32>, Error> {
        let mut raw = vec![0.0; draw.labels.len() * encoding.width];
        match self {
            Self::Vae(vae) => vae.raw(work, encoding, draw, &mut raw)?,
            Self::Gan(gan) => gan.raw(work, encoding, draw, &mut raw)?,
        }
        Ok(raw)
    }
}
