//! A trained network as it is asked: one image in, one probability a class out.
//!
//! Runs in the caller's thread alone and allocates nothing for an image. The weights are read
//! where they lie, which may be a file mapped by many processes.

use std::ops::Range;

use rayon::prelude::*;
use teller_numeric::{Control, Isa};
use teller_payload::{Payload, SharedBytes};

use crate::calibration::sharpness;
use crate::codec::{self, StoredLayer, StoredWeights};
use crate::floats::Floats;
use crate::labels::check_stored;
use crate::layer::{Pass, Results, Weights, softmax};
use crate::network::{BUFFERS, LINE, Network, Placed, Purpose};
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
    stored: Vec<Option<StoredLayer>>,
    /// Kernels as the layers read them, where that is not as they are stored.
    prepared: Floats,
    /// Kernels and biases with the batch norms after them.
    folded: Floats,
    /// Where in those the layer's are, if they are; a kernel that is prepared is not.
    folds: Vec<Option<[Range<usize>; 2]>>,
    /// What the logits are multiplied with before they become probabilities.
    sharpness: f32,
    bytes: usize,
    /// A chosen one; else whatever is detected.
    isa: Option<Isa>,
}

/// Memory for the values of one image between the layers; serves any classifier.
#[derive(Debug)]
pub struct Workspace {
    values: [Floats; BUFFERS],
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
        check_stored(&labels)?;
        let network = Network::new(architecture, labels.len(), Purpose::Serving(arithmetic))?;
        let pixels = normalization.table(architecture.input.channels)?;
        let bytes = (*weights).as_ref().len();
        let (payload, stored) = codec::read(&network, weights)?;
        let folds = folds(&network);
        let end = |fold: &[Range<usize>; 2]| fold[1].end.next_multiple_of(LINE);
        let mut folded = Floats::zeros(folds.iter().flatten().map(end).max().unwrap_or(0))?;
        let mut prepared = Floats::zeros(network.prepared)?;
        let layers = network.layers.iter().zip(&stored).zip(&folds);
        for ((placed, stored), fold) in layers {
            let Some(StoredLayer { own, folded: norm }) = stored else { continue };
            let mut weights = own.weights(&payload);
            let mut kernel;
            if let (Some(norm), Some(stored), Some([kernel_at, bias_at])) =
                (&placed.folded, norm, fold)
            {
                kernel = Floats::zeros(weights.kernel.len())?;
                kernel.copy_from_slice(weights.kernel);
                let bias = &mut folded[bias_at.clone()];
                bias.copy_from_slice(weights.bias);
                norm.norm.fold(stored.weights(&payload), &mut kernel, bias);
                folded[kernel_at.clone()].copy_from_slice(&kernel[..kernel_at.len()]);
                weights = Weights { kernel: &kernel, ..weights };
            }
            let prepared = &mut prepared[placed.prepared.clone()];
            placed.layer.prepare(isa.unwrap_or_else(Isa::detect), weights, prepared, None);
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
            folded,
            folds,
            sharpness: 1.0,
            bytes,
            isa,
        })
    }

    /// The same network with its logits divided by `temperature`, 0.05 to 20, as
    /// [`FittedCnn::temperature`](crate::FittedCnn) found it.
    pub fn with_temperature(self, temperature: f32) -> Result<Self, Error> {
        Ok(Self { sharpness: sharpness(temperature)?, ..self })
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
        let prepared = size_of_val(&*self.prepared) + size_of_val(&*self.folded);
        size_of::<Self>() + self.bytes + prepared + self.pixels.memory() + labels + layers
    }

    /// Bytes of a [`Workspace`].
    pub fn working_memory(&self) -> usize {
        let values = self.network.buffers.into_iter().fold(0, usize::saturating_add);
        values.saturating_add(self.network.scratch()).saturating_mul(size_of::<f32>())
    }

    /// Working memory, to be kept and used again.
    pub fn workspace(&self) -> Result<Workspace, Error> {
        let [first, second, third] = self.network.buffers.map(Floats::zeros);
        let scratch = Floats::zeros(self.network.scratch())?;
        Ok(Workspace { values: [first?, second?, third?], scratch })
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
    /// alike to it. The input of the last layer or residual block that learns.
    pub fn embedding<'w>(
        &self,
        raster: &[u8],
        workspace: &'w mut Workspace,
        control: &dyn Control,
    ) -> Result<&'w [f32], Error> {
        Ok(self.values_after(self.network.before_last, raster, workspace, control)?)
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
        let wanted = self.network.buffers.iter().zip(&workspace.values);
        let grows = wanted.map(|(wanted, values)| values.len() < *wanted);
        if grows.fold(workspace.scratch.len() < self.network.scratch(), |any, grows| any | grows) {
            *workspace = self.workspace()?;
        }
        let pass = Pass { isa: self.isa(), control, noise: None };
        let Workspace { values, scratch } = workspace;
        self.pixels.apply(raster, &mut values[0][..expected]);
        let (mut buffer, mut len) = (0, expected);
        for (index, placed) in self.network.layers.iter().enumerate().take(layers) {
            let (input, output) = (placed.layer.input().len(), placed.layer.output().len());
            let Ok([from, to]) = values.get_disjoint_mut([placed.from, placed.to]) else {
                continue;
            };
            let results = Results { output: &mut to[..output], saved: None };
            let weights = self.weights_of(index, placed);
            placed.layer.forward(&pass, weights, &from[..input], results, scratch)?;
            (buffer, len) = (placed.to, output);
        }
        Ok(&mut values[buffer][..len])
    }

    /// What a layer reads.
    fn weights_of(&self, index: usize, placed: &Placed) -> Weights<'_> {
        let Some(stored) = &self.stored[index] else { return Weights::default() };
        let weights = match &self.folds[index] {
            None => stored.own.weights(&self.payload),
            Some([kernel, bias]) => Weights {
                kernel: &self.folded[kernel.clone()],
                bias: &self.folded[bias.clone()],
                ..Weights::default()
            },
        };
        placed.weights(weights, &self.prepared)
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

    /// What each layer that learns has learned; a batch norm is one, also where it is folded.
    pub(crate) fn layer_weights(&self) -> impl Iterator<Item = Weights<'_>> {
        self.stored_weights().map(|stored| stored.weights(&self.payload))
    }

    fn stored_weights(&self) -> impl Iterator<Item = &StoredWeights> {
        let layers = self.stored.iter().flatten();
        layers.flat_map(|layer| [Some(&layer.own), layer.folded.as_ref()]).flatten()
    }

    /// All trained numbers, in the order of the layers.
    pub fn weights(&self) -> impl Iterator<Item = LayerWeights<'_>> {
        self.stored_weights().flat_map(StoredWeights::arrays).map(|(name, shape, array)| {
            LayerWeights {
                name: name.clone(),
                shape: shape.clone(),
                values: self.payload.get(*array),
            }
        })
    }
}

/// Room for the kernel and the bias of each layer that a batch norm is folded into; none for a
/// kernel that is prepared anyway.
fn folds(network: &Network) -> Vec<Option<[Range<usize>; 2]>> {
    let mut end = 0;
    let mut room = |len: usize| {
        let range = end..end + len;
        end = range.end.next_multiple_of(LINE);
        range
    };
    let fold = |placed: &Placed| {
        placed.folded.as_ref().map(|_| {
            let kernel = if placed.prepared.is_empty() { placed.kernel.len() } else { 0 };
            [room(kernel), room(placed.bias.len())]
        })
    };
    network.layers.iter().map(fold).collect()
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
#[path = "classifier_tests.rs"]
mod tests;
