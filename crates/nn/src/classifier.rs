//! A trained network as it is asked: one image in, one probability a class out.
//!
//! Runs in the caller's thread alone and allocates nothing for an image. The weights are read
//! where they lie, which may be a file mapped by many processes.

use rayon::prelude::*;
use teller_numeric::{Control, Isa};
use teller_payload::{Payload, SharedBytes};

use crate::calibration::TEMPERATURES;
use crate::codec::{self, StoredWeights};
use crate::floats::Floats;
use crate::layer::{Pass, Results, Weights, softmax};
use crate::network::{Network, Purpose};
use crate::normalization::PixelTable;
use crate::{Architecture, Arithmetic, Error, ImageDataset, Normalization, Shape};

/// A network that classifies images.
#[derive(Debug)]
pub struct ImageClassifier {
    architecture: Architecture,
    network: Network,
    pixels: PixelTable,
    labels: Vec<String>,
    payload: Payload,
    stored: Vec<Option<StoredWeights>>,
    /// Kernels as the layers read them, where that is not as they are stored.
    prepared: Floats,
    /// What the logits are multiplied with before they become probabilities.
    sharpness: f32,
    bytes: usize,
    /// A chosen one; else whatever is detected.
    isa: Option<Isa>,
}

/// Memory for the values of one image between the layers; serves any classifier.
#[derive(Debug)]
pub struct Workspace {
    values: [Floats; 2],
    scratch: Floats,
}

/// One array of trained numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerWeights<'a> {
    /// Such as `0.conv2d.kernel`.
    pub name: String,
    /// Row-major extents.
    pub shape: Vec<usize>,
    /// The numbers.
    pub values: &'a [f32],
}

impl ImageClassifier {
    /// Checks untrusted parts against each other: `weights` must be a payload that holds exactly
    /// the arrays of `architecture` for as many classes as there are `labels`, which ascend.
    pub fn load(
        arithmetic: Arithmetic,
        architecture: &Architecture,
        normalization: &Normalization,
        labels: Vec<String>,
        weights: SharedBytes,
    ) -> Result<Self, Error> {
        Self::read(None, arithmetic, architecture, normalization, labels, weights)
    }

    /// [`ImageClassifier::load`] for a chosen instruction set.
    pub fn load_on(
        isa: Isa,
        arithmetic: Arithmetic,
        architecture: &Architecture,
        normalization: &Normalization,
        labels: Vec<String>,
        weights: SharedBytes,
    ) -> Result<Self, Error> {
        Self::read(Some(isa), arithmetic, architecture, normalization, labels, weights)
    }

    fn read(
        isa: Option<Isa>,
        arithmetic: Arithmetic,
        architecture: &Architecture,
        normalization: &Normalization,
        labels: Vec<String>,
        weights: SharedBytes,
    ) -> Result<Self, Error> {
        if labels.len() < 2 || !labels.is_sorted_by(|a, b| a < b) {
            return Err(Error::Labels { got: labels.len() });
        }
        let network = Network::new(architecture, labels.len(), Purpose::Serving(arithmetic))?;
        let pixels = normalization.table(architecture.input.channels)?;
        let bytes = (*weights).as_ref().len();
        let (payload, stored) = codec::read(&network, weights)?;
        let mut prepared = Floats::zeros(network.prepared)?;
        for (placed, stored) in network.layers.iter().zip(&stored) {
            if let Some(stored) = stored {
                let prepared = &mut prepared[placed.prepared.clone()];
                let kernel = payload.get(stored.kernel);
                placed.layer.prepare(isa.unwrap_or_else(Isa::detect), kernel, prepared, None);
            }
        }
        let architecture = architecture.clone();
        Ok(Self {
            architecture,
            network,
            pixels,
            labels,
            payload,
            stored,
            prepared,
            sharpness: 1.0,
            bytes,
            isa,
        })
    }

    /// The same network with its logits divided by `temperature`, 0.05 to 20, as
    /// [`FittedCnn::temperature`](crate::FittedCnn) found it.
    pub fn with_temperature(self, temperature: f32) -> Result<Self, Error> {
        if !TEMPERATURES.contains(&temperature) {
            return Err(Error::Temperature(temperature));
        }
        Ok(Self { sharpness: 1.0 / temperature, ..self })
    }

    /// The classes, ascending: index i of the probabilities is label i.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Values of a raster: height x width x channels.
    pub fn raster_len(&self) -> usize {
        self.network.input.len()
    }

    /// Bytes held, the weights included.
    pub fn memory(&self) -> usize {
        let labels: usize = self.labels.iter().map(|label| label.len() + size_of::<String>()).sum();
        let layers = self.network.layers.len() * 256;
        let prepared = size_of_val(&*self.prepared);
        size_of::<Self>() + self.bytes + prepared + self.pixels.memory() + labels + layers
    }

    /// Bytes of a [`Workspace`].
    pub fn working_memory(&self) -> usize {
        let floats = self.network.widest().saturating_mul(2).saturating_add(self.network.scratch());
        floats.saturating_mul(size_of::<f32>())
    }

    /// Working memory, to be kept and used again.
    pub fn workspace(&self) -> Result<Workspace, Error> {
        let values = || Floats::zeros(self.network.widest());
        let scratch = Floats::zeros(self.network.scratch())?;
        Ok(Workspace { values: [values()?, values()?], scratch })
    }

    /// The probability of each label for a raster of 8-bit values, row by row, channels innermost.
    /// A workspace made for a smaller network grows.
    pub fn probabilities<'w>(
        &self,
        raster: &[u8],
        workspace: &'w mut Workspace,
        control: &dyn Control,
    ) -> Result<&'w [f32], Error> {
        let probabilities =
            self.values_after(self.network.layers.len(), raster, workspace, control)?;
        probabilities.iter_mut().for_each(|logit| *logit *= self.sharpness);
        softmax(probabilities, self.network.classes);
        Ok(probabilities)
    }

    /// What the softmax makes probabilities of, before the temperature, for the images of `rows`:
    /// rows x classes. On the threads of the ambient rayon pool.
    pub(crate) fn all_logits(
        &self,
        data: &ImageDataset,
        rows: &[u32],
        control: &dyn Control,
    ) -> Result<Vec<f32>, Error> {
        const ROWS: usize = 64;
        let classes = self.network.classes;
        let mut logits = vec![0.0; rows.len() * classes];
        logits.par_chunks_mut(ROWS * classes).zip(rows.par_chunks(ROWS)).try_for_each_init(
            || self.workspace(),
            |workspace, (logits, rows)| {
                let workspace = workspace.as_mut().map_err(|error| error.clone())?;
                for (logits, &row) in logits.chunks_exact_mut(classes).zip(rows) {
                    control.check()?;
                    let raster = data.raster(row as usize);
                    let layers = self.network.layers.len();
                    logits.copy_from_slice(self.values_after(layers, raster, workspace, control)?);
                }
                Ok::<_, Error>(())
            },
        )?;
        Ok(logits)
    }

    /// What the network knows of an image before its last layer decides: near for images that look
    /// alike to it. The input of the last layer that learns.
    pub fn embedding<'w>(
        &self,
        raster: &[u8],
        workspace: &'w mut Workspace,
        control: &dyn Control,
    ) -> Result<&'w [f32], Error> {
        let last = self.stored.iter().rposition(Option::is_some).unwrap_or(0);
        Ok(self.values_after(last, raster, workspace, control)?)
    }

    /// The values after the first `layers` layers.
    fn values_after<'w>(
        &self,
        layers: usize,
        raster: &[u8],
        workspace: &'w mut Workspace,
        control: &dyn Control,
    ) -> Result<&'w mut [f32], Error> {
        let expected = self.network.input.len();
        if raster.len() != expected {
            return Err(Error::Raster { got: raster.len(), expected });
        }
        if workspace.values[0].len() < self.network.widest()
            || workspace.scratch.len() < self.network.scratch()
        {
            *workspace = self.workspace()?;
        }
        let pass = Pass { isa: self.isa(), control, noise: None };
        let Workspace { values: [first, second], scratch } = workspace;
        let (mut from, mut to) = (&mut **first, &mut **second);
        self.pixels.apply(raster, &mut from[..expected]);
        let mut len = expected;
        for (placed, stored) in self.network.layers.iter().zip(&self.stored).take(layers) {
            let weights = stored.map_or(Weights::default(), |stored| {
                let (kernel, bias) =
                    (self.payload.get(stored.kernel), self.payload.get(stored.bias));
                placed.weights(kernel, bias, &self.prepared)
            });
            let (input, output) = (placed.layer.input().len(), placed.layer.output().len());
            let results = Results { output: &mut to[..output], saved: None };
            placed.layer.forward(&pass, weights, &from[..input], results, scratch)?;
            std::mem::swap(&mut from, &mut to);
            len = output;
        }
        Ok(&mut from[..len])
    }

    /// The weights as they are stored.
    pub fn payload(&self) -> &[u8] {
        self.payload.bytes()
    }

    /// The network, every default written out.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    pub(crate) fn input(&self) -> Shape {
        self.network.input
    }

    pub(crate) fn isa(&self) -> Isa {
        self.isa.unwrap_or_else(Isa::detect)
    }

    /// The network's input for a raster.
    pub(crate) fn normalize(&self, raster: &[u8], input: &mut [f32]) {
        self.pixels.apply(raster, input);
    }

    /// Kernel and bias of each layer that learns.
    pub(crate) fn layer_weights(&self) -> impl Iterator<Item = [&[f32]; 2]> {
        let stored = self.stored.iter().flatten();
        stored.map(|stored| [self.payload.get(stored.kernel), self.payload.get(stored.bias)])
    }

    /// All trained numbers, in the order of the layers.
    pub fn weights(&self) -> impl Iterator<Item = LayerWeights<'_>> {
        self.network.layers.iter().zip(&self.stored).flat_map(|(placed, stored)| {
            let arrays = codec::arrays(placed).zip(*stored).map(|([kernel, bias], stored)| {
                [(kernel, stored.kernel), (bias, stored.bias)].map(|((name, shape), array)| {
                    LayerWeights { name, shape, values: self.payload.get(array) }
                })
            });
            arrays.into_iter().flatten()
        })
    }
}

/// The index of the largest number, the first of equal ones; what is not a number loses.
pub fn best(numbers: &[f32]) -> usize {
    let mut best = 0;
    for (index, &number) in numbers.iter().enumerate() {
        if number > numbers[best] || (numbers[best].is_nan() && !number.is_nan()) {
            best = index;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_largest_wins() {
        assert_eq!(best(&[0.1, 0.7, 0.7]), 1);
        assert_eq!(best(&[f32::NAN, 0.2, f32::NAN, 0.3]), 3);
        assert_eq!(best(&[f32::NAN, f32::NAN]), 0);
        assert_eq!(best(&[]), 0);
    }
}
