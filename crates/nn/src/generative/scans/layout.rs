//! The layers of generator and critic, and where their weights lie.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::ImageGanParams;
use super::critic::{Critic, LEAK};
use crate::generative::chain::Chain;
use crate::generative::pyramid::Pyramid;
use crate::{Activation, Error, ImageDataset, Input, LayerSpec, Shape};

/// What a generator of images is, beside its weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageGanLayout {
    /// Rows of pixels, even.
    pub height: usize,
    /// Columns of pixels, even.
    pub width: usize,
    /// 1 for grey, 3 for colour.
    pub channels: usize,
    /// Channels next to the image.
    pub filters: usize,
    /// Random numbers that an image is made of.
    pub noise: usize,
    /// What can be asked for, ascending; one alone stands for none.
    pub labels: Vec<String>,
    /// How many images of each label were learned from.
    pub rows: Vec<u64>,
}

impl ImageGanLayout {
    /// Of images and labels like those of `data`, of which these `rows` are learned from.
    pub fn new(params: &ImageGanParams, data: &ImageDataset, rows: &[u32]) -> Self {
        let (height, width, channels) = match data.shape() {
            Shape::Image { height, width, channels } => (height, width, channels),
            Shape::Vector(len) => (1, len, 1),
        };
        let mut counts = vec![0; data.labels().len()];
        rows.iter().for_each(|&row| counts[data.targets()[row as usize] as usize] += 1);
        let ImageGanParams { filters, noise, .. } = *params;
        let labels = data.labels().to_vec();
        Self { height, width, channels, filters, noise, labels, rows: counts }
    }

    /// Whether images of this size can be made.
    pub fn check_size(input: Input) -> Result<(), Error> {
        let Input { height, width, channels } = input;
        Pyramid { height, width, channels, filters: 1 }.check()
    }

    /// Untrusted, so what no training gives is refused.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.pyramid().check()?;
        for (what, needed, limit) in [
            ("random numbers of an image", self.noise, 1024),
            ("labels", self.labels.len(), 1 << 16),
        ] {
            if !(1..=limit).contains(&needed) {
                let (needed, limit) = (needed as u64, limit as u64);
                return Err(Error::TooLarge { what, needed, limit });
            }
        }
        Ok(())
    }

    fn pyramid(&self) -> Pyramid {
        let Self { height, width, channels, filters, .. } = *self;
        Pyramid { height, width, channels, filters }
    }

    pub(super) fn image(&self) -> Shape {
        self.pyramid().image()
    }

    /// Numbers that tell the label.
    pub(super) fn condition(&self) -> usize {
        if self.labels.len() > 1 { self.labels.len() } else { 0 }
    }

    /// From noise and label to the values of pixels, 0 to 1.
    pub(super) fn generator(&self) -> Result<Chain, Error> {
        let layers = self.pyramid().enlarging(Activation::Relu, Activation::Sigmoid);
        Chain::new(Shape::Vector(self.noise + self.condition()), &layers)
    }

    fn critic(&self) -> Result<Critic, Error> {
        let mut layers = self.pyramid().shrinking(LayerSpec::LeakyRelu { slope: LEAK });
        let units = Some(1 + self.condition());
        layers
            .extend([LayerSpec::Flatten, LayerSpec::Dense { units, activation: Activation::None }]);
        Ok(Critic::new(Chain::new(self.image(), &layers)?.with_input_gradient()))
    }
}

/// The networks, and where their weights lie.
#[derive(Debug)]
pub(super) struct ImageGanNet {
    pub(super) layout: ImageGanLayout,
    pub(super) generator: Chain,
    pub(super) critic: Critic,
    pub(super) criticized: Range<usize>,
    /// Of the generator, and of its moving average, which no gradient moves.
    pub(super) generated: Range<usize>,
    pub(super) averaged: Range<usize>,
}

impl ImageGanNet {
    pub(super) fn new(layout: ImageGanLayout) -> Result<Self, Error> {
        layout.check()?;
        let (generator, critic) = (layout.generator()?, layout.critic()?);
        let criticized = 0..critic.chain.network.weights;
        let made = generator.network.weights;
        let generated = criticized.end..criticized.end + made;
        let averaged = generated.end..generated.end + made;
        Ok(Self { layout, generator, critic, criticized, generated, averaged })
    }

    /// All weights.
    pub(super) fn weights(&self) -> usize {
        self.averaged.end
    }

    pub(super) fn initialize(&self, seed: u64, weights: &mut [f32]) {
        let critic = &mut weights[self.criticized.clone()];
        self.critic.chain.network.initialize(seed, "initial critic", critic);
        let generator = &mut weights[self.generated.clone()];
        self.generator.network.initialize(seed, "initial generator", generator);
        weights.copy_within(self.generated.clone(), self.averaged.start);
    }

    /// Those that weight decay shrinks.
    pub(super) fn kernels(&self) -> Vec<Range<usize>> {
        let of = |chain: &Chain, first: usize| {
            let kernels = chain.network.decaying().into_iter();
            kernels.map(move |kernel| kernel.start + first..kernel.end + first)
        };
        let critic = of(&self.critic.chain, self.criticized.start);
        critic.chain(of(&self.generator, self.generated.start)).collect()
    }
}
