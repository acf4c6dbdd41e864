//! A trained generator of images as it is asked, and as it is stored: one array `weights`, in the
//! order in which they are trained.

use rayon::prelude::*;
use teller_numeric::{Control, Isa, Stream};
use teller_payload::{AlignedBytes, Array, Payload, PayloadError, PayloadWriter, SharedBytes};

use super::layout::{ImageGanLayout, ImageGanNet};
use crate::generative::affine::{Work, buffers, mark_labels};
use crate::generative::chain::Chain;
use crate::generative::sampler::draw_label;
use crate::{Error, LayerWeights, Shape};

/// Images, and their values, that are made together at most.
pub(super) const MOST_IMAGES: usize = 256;
pub(super) const MOST_VALUES: usize = 1 << 21;

/// Makes images. The weights are read where they lie, which may be a file mapped by many processes.
pub struct ImageGenerator {
    layout: ImageGanLayout,
    chain: Chain,
    payload: Payload,
    weights: Array<f32>,
    isa: Option<Isa>,
}

pub(super) fn payload(weights: &[f32]) -> AlignedBytes {
    let mut writer = PayloadWriter::new();
    writer.array("weights", &[weights.len()], weights);
    writer.finish()
}

impl ImageGenerator {
    /// Checks untrusted parts against each other.
    pub fn load(layout: ImageGanLayout, bytes: SharedBytes) -> Result<Self, Error> {
        let ImageGanNet { layout, generator: chain, .. } = ImageGanNet::new(layout)?;
        let all = layout.rows.iter().try_fold(0u64, |sum, &rows| sum.checked_add(rows));
        if layout.rows.len() != layout.labels.len() || all.is_none_or(|all| all == 0) {
            return Err(PayloadError::Directory("its labels have no numbers of images").into());
        }
        let payload = Payload::parse(bytes)?;
        let weights = payload.array_of("weights", &[chain.network.weights])?;
        if payload.arrays().count() != 1 {
            let what = "it has arrays that no generator of images has";
            return Err(PayloadError::Directory(what).into());
        }
        Ok(Self { layout, chain, payload, weights, isa: None })
    }

    /// The same on a chosen instruction set.
    pub fn on(self, isa: Isa) -> Self {
        Self { isa: Some(isa), ..self }
    }

    /// What it is, beside its weights.
    pub fn layout(&self) -> &ImageGanLayout {
        &self.layout
    }

    /// What it makes.
    pub fn shape(&self) -> Shape {
        self.layout.image()
    }

    /// Bytes held beside the payload.
    pub fn memory(&self) -> usize {
        let labels = self.layout.labels.iter().map(|label| label.len() + size_of::<String>() + 8);
        size_of::<Self>() + labels.sum::<usize>()
    }

    /// Images that are made together: more at once are no faster.
    pub fn together(&self) -> usize {
        (MOST_VALUES / self.shape().len()).clamp(1, MOST_IMAGES)
    }

    /// The place of a label that can be asked for.
    pub fn label(&self, name: &str) -> Option<u32> {
        let labels = (self.layout.condition() > 0).then_some(&self.layout.labels);
        labels?.iter().position(|label| label == name).map(|place| place as u32)
    }

    /// `count` images from number `first` on, of one label or of all as often as in the training
    /// data, one after another, the values of pixels 0 to 1, channels innermost; on the threads of
    /// the ambient rayon pool. The same seed gives the same image at the same number, on any
    /// processor.
    pub fn images(
        &self,
        first: u64,
        count: usize,
        label: Option<u32>,
        seed: u64,
        control: &dyn Control,
    ) -> Result<Vec<f32>, Error> {
        let labels = match label {
            Some(label) => vec![label; count],
            None => self.labels(first, count, seed),
        };
        let mut images = Vec::with_capacity(count * self.shape().len());
        self.of_labels(first, &labels, seed, control, |image| images.extend_from_slice(image))?;
        Ok(images)
    }

    /// Labels for images from number `first` on, as often as in the training data.
    pub(super) fn labels(&self, first: u64, count: usize, seed: u64) -> Vec<u32> {
        let numbers = first..first + count as u64;
        let draw = |number| draw_label(&self.layout.rows, &mut Stream::new(seed, "label", number));
        numbers.map(draw).collect()
    }

    /// [`Self::images`], one of each of the labels, handed over one after another.
    pub(super) fn of_labels(
        &self,
        first: u64,
        labels: &[u32],
        seed: u64,
        control: &dyn Control,
        mut each: impl FnMut(&[f32]),
    ) -> Result<(), Error> {
        let work = Work { isa: self.isa.unwrap_or_else(Isa::detect), control };
        let weights = self.payload.get(self.weights);
        let prepared = self.chain.prepared(work.isa, weights)?;
        let (inputs, image) = (self.chain.network.input.len(), self.shape().len());
        let together = self.together().min(labels.len());
        let [mut input, mut images] = buffers(together, [inputs, image])?;
        for (batch, labels) in (0u64..).zip(labels.chunks(together.max(1))) {
            let first = first + batch * together as u64;
            let input = &mut input[..labels.len() * inputs];
            input.par_chunks_mut(inputs).enumerate().for_each(|(row, to)| {
                let mut stream = Stream::new(seed, "noise", first + row as u64);
                to[..self.layout.noise].iter_mut().for_each(|to| *to = stream.normal() as f32);
            });
            mark_labels(labels, self.layout.condition(), input);
            let images = &mut images[..labels.len() * image];
            self.chain.apply(&work, (weights, &prepared), input, images)?;
            images.chunks_exact(image).for_each(&mut each);
        }
        Ok(())
    }

    /// All trained numbers, in the order of the layers.
    pub fn weights(&self) -> impl Iterator<Item = LayerWeights<'_>> {
        let weights = self.payload.get(self.weights);
        self.chain.network.layers.iter().filter(|placed| placed.learns()).flat_map(move |placed| {
            let kernel = placed.layer.kernel_shape().unwrap_or_default();
            let bias = vec![placed.bias.len()];
            let arrays = [("kernel", kernel, &placed.kernel), ("bias", bias, &placed.bias)];
            arrays.map(|(array, shape, range)| LayerWeights {
                name: format!("{}.{array}", placed.name),
                shape,
                values: &weights[range.clone()],
            })
        })
    }
}

impl std::fmt::Debug for ImageGenerator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ImageGenerator").field(&self.layout).finish()
    }
}
