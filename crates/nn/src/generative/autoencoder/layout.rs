//! The layers of an autoencoder, and where their weights lie.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{AutoencoderParams, Examples, Likelihood};
use crate::generative::chain::Chain;
use crate::generative::pyramid::Pyramid;
use crate::{Activation, Error, LayerSpec, Shape};

/// What an autoencoder is, beside its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutoencoderLayout {
    /// Numbers of a row.
    pub width: usize,
    /// Units of a hidden layer.
    pub hidden: usize,
    /// Numbers of a code.
    pub latent: usize,
    /// What the numbers are taken for.
    pub likelihood: Likelihood,
    /// Of a convolutional one; else both ways are two dense layers and a linear one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pyramid: Option<Pyramid>,
}

/// The most numbers of a row.
pub(super) const MOST_NUMBERS: usize = 1 << 18;

impl AutoencoderLayout {
    /// For rows like those of `examples`.
    ///
    /// # Errors
    /// [`Error::Shape`] where a network of convolutions cannot be made of them.
    pub fn new(params: &AutoencoderParams, examples: &Examples) -> Result<Self, Error> {
        let AutoencoderParams { likelihood, hidden, latent, filters, .. } = *params;
        let pyramid = match (filters, examples.image()) {
            (None, _) => None,
            (Some(filters), Some((height, width, channels))) => {
                Some(Pyramid { height, width, channels, filters })
            }
            (Some(_), None) => {
                let (got, expected) = ("rows of numbers".to_owned(), "images".to_owned());
                return Err(Error::Shape { got, expected });
            }
        };
        let layout = Self { width: examples.width(), hidden, latent, likelihood, pyramid };
        layout.check()?;
        Ok(layout)
    }

    /// Untrusted, so what no training gives is refused.
    fn check(&self) -> Result<(), Error> {
        for (what, needed, limit) in [
            ("numbers of a row", self.width, MOST_NUMBERS),
            ("hidden units", self.hidden, 2048),
            ("numbers of a code", self.latent, 256),
        ] {
            if !(1..=limit).contains(&needed) {
                let (needed, limit) = (needed as u64, limit as u64);
                return Err(Error::TooLarge { what, needed, limit });
            }
        }
        let Some(pyramid) = &self.pyramid else { return Ok(()) };
        pyramid.check()?;
        let (got, expected) = (pyramid.image().len(), self.width);
        if got == expected { Ok(()) } else { Err(Error::Raster { got, expected }) }
    }

    /// From a row to means and logarithms of the variances of its code.
    fn encoder(&self) -> Result<Chain, Error> {
        let code = LayerSpec::Dense { units: Some(2 * self.latent), activation: Activation::None };
        match &self.pyramid {
            None => {
                let layers = [self.hidden(), self.hidden(), code];
                Chain::new(Shape::Vector(self.width), &layers)
            }
            Some(pyramid) => {
                let mut layers = pyramid.shrinking(LayerSpec::Gelu);
                layers.extend([LayerSpec::Flatten, self.hidden(), code]);
                Chain::new(pyramid.image(), &layers)
            }
        }
    }

    /// From a code to what the likelihood makes of it.
    fn decoder(&self) -> Result<Chain, Error> {
        let (units, activation) = (Some(self.width), Activation::None);
        let mut layers = vec![self.hidden()];
        match &self.pyramid {
            None => layers.extend([self.hidden(), LayerSpec::Dense { units, activation }]),
            Some(pyramid) => layers.extend(pyramid.enlarging(Activation::Gelu, activation)),
        }
        Ok(Chain::new(Shape::Vector(self.latent), &layers)?.with_input_gradient())
    }

    fn hidden(&self) -> LayerSpec {
        LayerSpec::Dense { units: Some(self.hidden), activation: Activation::Gelu }
    }
}

/// The layers.
#[derive(Debug)]
pub(super) struct Layers {
    pub(super) layout: AutoencoderLayout,
    pub(super) encoder: Chain,
    pub(super) decoder: Chain,
    /// Where the weights of both are.
    pub(super) encoding: Range<usize>,
    pub(super) decoding: Range<usize>,
    /// Of each number of a row, where it is normal, the logarithm of the variance.
    pub(super) log_variances: Range<usize>,
    /// All.
    pub(super) weights: usize,
}

impl Layers {
    pub(super) fn new(layout: AutoencoderLayout) -> Result<Self, Error> {
        layout.check()?;
        let (encoder, decoder) = (layout.encoder()?, layout.decoder()?);
        let encoding = 0..encoder.network.weights;
        let decoding = encoding.end..encoding.end + decoder.network.weights;
        let normal = if layout.likelihood == Likelihood::Gaussian { layout.width } else { 0 };
        let log_variances = decoding.end..decoding.end + normal;
        let weights = log_variances.end;
        Ok(Self { layout, encoder, decoder, encoding, decoding, log_variances, weights })
    }

    pub(super) fn initialize(&self, seed: u64, weights: &mut [f32]) {
        let encoder = &mut weights[self.encoding.clone()];
        self.encoder.network.initialize(seed, "initial encoder", encoder);
        let decoder = &mut weights[self.decoding.clone()];
        self.decoder.network.initialize(seed, "initial decoder", decoder);
    }

    /// Both ways, and where the weights of each begin.
    fn ways(&self) -> [(&'static str, &Chain, usize); 2] {
        [
            ("encoder", &self.encoder, self.encoding.start),
            ("decoder", &self.decoder, self.decoding.start),
        ]
    }

    /// Those that weight decay shrinks.
    pub(super) fn kernels(&self) -> Vec<Range<usize>> {
        let kernels = self.ways().into_iter().flat_map(|(_, chain, first)| {
            let kernels = chain.network.decaying().into_iter();
            kernels.map(move |kernel| kernel.start + first..kernel.end + first)
        });
        kernels.collect()
    }

    /// Names, shapes and places of all that is trained.
    pub(super) fn arrays(&self) -> Vec<(String, Vec<usize>, Range<usize>)> {
        let mut arrays = Vec::new();
        for (way, chain, first) in self.ways() {
            for placed in chain.network.layers.iter().filter(|placed| placed.learns()) {
                let kernel = placed.layer.kernel_shape().unwrap_or_default();
                for (array, shape, range) in [
                    ("kernel", kernel, &placed.kernel),
                    ("bias", vec![placed.bias.len()], &placed.bias),
                ] {
                    let name = format!("{way}.{}.{array}", placed.name);
                    arrays.push((name, shape, range.start + first..range.end + first));
                }
            }
        }
        if !self.log_variances.is_empty() {
            let shape = vec![self.log_variances.len()];
            arrays.push(("log_variances".to_owned(), shape, self.log_variances.clone()));
        }
        arrays
    }
}
