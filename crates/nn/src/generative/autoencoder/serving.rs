//! A trained autoencoder as it is asked: one row at a time, in the caller's thread alone. The
//! weights are read where they lie, which may be a file mapped by many processes.

use std::ops::Range;

use teller_numeric::{Control, Isa};
use teller_payload::SharedBytes;

use super::batch::{loss, sum};
use super::examples::{check_row, unit};
use super::layout::{AutoencoderLayout, Layers};
use super::likelihood::{Likelihood, divergence};
use super::payload::{self, Stored};
use super::usual::moments;
use crate::floats::Floats;
use crate::generative::affine::Work;
use crate::generative::chain::Chain;
use crate::{Error, LayerWeights};

/// An autoencoder that answers. Rows are the plain numbers of the training data, those of images
/// from 0 to 1 ([`Autoencoder::unit`]).
pub struct Autoencoder {
    pub(super) layers: Layers,
    pub(super) stored: Stored,
    variances: Vec<f32>,
    /// Of the way to the code and of that back, what is read in another way than it is stored.
    prepared: [Floats; 2],
    isa: Option<Isa>,
}

impl Autoencoder {
    /// Checks untrusted parts against each other.
    pub fn load(layout: AutoencoderLayout, bytes: SharedBytes) -> Result<Self, Error> {
        let layers = Layers::new(layout)?;
        let stored = payload::read(&layers, bytes)?;
        let all = stored.payload.get(stored.weights);
        let variances = Likelihood::variances(&all[layers.log_variances.clone()]);
        let isa = Isa::detect();
        let prepared = [
            layers.encoder.prepared(isa, &all[layers.encoding.clone()])?,
            layers.decoder.prepared(isa, &all[layers.decoding.clone()])?,
        ];
        Ok(Self { layers, stored, variances, prepared, isa: None })
    }

    /// The same on a chosen instruction set.
    pub fn on(self, isa: Isa) -> Self {
        Self { isa: Some(isa), ..self }
    }

    /// What it is, beside its weights.
    pub fn layout(&self) -> &AutoencoderLayout {
        &self.layers.layout
    }

    /// Bytes held beside the payload.
    pub fn memory(&self) -> usize {
        let prepared: usize = self.prepared.iter().map(|floats| floats.len()).sum();
        size_of::<Self>() + (3 * self.layers.layout.width + prepared) * size_of::<f32>()
    }

    /// 8-bit values of an image as a row.
    pub fn unit(raster: &[u8]) -> Vec<f32> {
        let mut row = vec![0.0; raster.len()];
        unit(raster, &mut row);
        row
    }

    /// The code of a row: [`AutoencoderLayout::latent`] numbers, the mean of what it can be.
    pub fn encode(&self, row: &[f32], control: &dyn Control) -> Result<Vec<f32>, Error> {
        let (_, mut code) = self.distribution(row, control)?;
        code.truncate(self.layers.layout.latent);
        Ok(code)
    }

    /// The row that a code tells, as plain numbers.
    pub fn decode(&self, code: &[f32], control: &dyn Control) -> Result<Vec<f32>, Error> {
        check_row("codes", code, self.layers.layout.latent)?;
        let mut row = self.through(self.decoder(), code, control)?;
        self.isa().vectorize(tell, (self.layers.layout.likelihood, &mut *row));
        self.stored.scale.undo(&mut row);
        Ok(row)
    }

    /// The row that is told by a row's code.
    pub fn reconstruct(&self, row: &[f32], control: &dyn Control) -> Result<Vec<f32>, Error> {
        self.decode(&self.encode(row, control)?, control)
    }

    /// How unlike those learned from a row is: the share of them, 0 to 1, that the network tells
    /// with fewer nats, beyond those that images of as much and as even ink usually take. It is that
    /// of some thousands of them where there are more.
    pub fn anomaly_score(&self, row: &[f32], control: &dyn Control) -> Result<f32, Error> {
        let (row, loss) = self.told(row, control)?;
        let loss = (loss - self.stored.usual.nats(moments(&row))) as f32;
        let losses = self.stored.payload.get(self.stored.losses);
        let fewer = losses.partition_point(|&other| other < loss);
        Ok(fewer as f32 / losses.len() as f32)
    }

    /// Nats that it takes to tell a row by the mean of its code.
    pub fn loss(&self, row: &[f32], control: &dyn Control) -> Result<f64, Error> {
        Ok(self.told(row, control)?.1)
    }

    /// A row as the network sees it, and the nats that it takes.
    fn told(&self, row: &[f32], control: &dyn Control) -> Result<(Vec<f32>, f64), Error> {
        let (row, code) = self.distribution(row, control)?;
        let mean = &code[..self.layers.layout.latent];
        let mut output = self.through(self.decoder(), mean, control)?;
        let mut terms = vec![0.0; row.len()];
        let likelihood = self.layers.layout.likelihood;
        let arguments = (likelihood, &*row, &*self.variances, &mut *output, &mut *terms);
        self.isa().vectorize(loss, arguments);
        let loss = sum(&terms) + divergence(&code);
        Ok((row, loss))
    }

    /// All trained numbers, in the order of the layers.
    pub fn weights(&self) -> impl Iterator<Item = LayerWeights<'_>> {
        let weights = self.stored.payload.get(self.stored.weights);
        let arrays = self.layers.arrays().into_iter();
        arrays.map(|(name, shape, range)| LayerWeights { name, shape, values: &weights[range] })
    }

    pub(super) fn isa(&self) -> Isa {
        self.isa.unwrap_or_else(Isa::detect)
    }

    /// A row as the network sees it, with the means and the logarithms of the variances of its
    /// code.
    fn distribution(
        &self,
        row: &[f32],
        control: &dyn Control,
    ) -> Result<(Vec<f32>, Vec<f32>), Error> {
        check_row("features", row, self.layers.layout.width)?;
        let mut row = row.to_vec();
        self.stored.scale.apply(&mut row);
        let code = self.through(self.encoder(), &row, control)?;
        Ok((row, code))
    }

    fn through(
        &self,
        (chain, place, prepared): Way<'_>,
        values: &[f32],
        control: &dyn Control,
    ) -> Result<Vec<f32>, Error> {
        let work = Work { isa: self.isa(), control };
        let weights = &self.stored.payload.get(self.stored.weights)[place.clone()];
        let mut output = vec![0.0; chain.network.output().len()];
        chain.apply_alone(&work, (weights, prepared), values, &mut output)?;
        Ok(output)
    }

    fn encoder(&self) -> Way<'_> {
        (&self.layers.encoder, &self.layers.encoding, &self.prepared[0])
    }

    fn decoder(&self) -> Way<'_> {
        (&self.layers.decoder, &self.layers.decoding, &self.prepared[1])
    }
}

/// Layers, where their weights are, and those of them that are read in another way.
type Way<'a> = (&'a Chain, &'a Range<usize>, &'a [f32]);

#[inline(always)]
fn tell((likelihood, outputs): (Likelihood, &mut [f32])) {
    likelihood.tell(outputs);
}

impl std::fmt::Debug for Autoencoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Autoencoder").field(self.layout()).finish()
    }
}
