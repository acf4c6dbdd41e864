//! Fine-tuning: a training that starts from the weights of another network.
//!
//! What early layers learn serves other tasks too (Yosinski et al., "How transferable are features
//! in deep neural networks?", NIPS 2014): layers of the same name and shape are taken over, and the
//! frozen ones among them stay as they are, bit by bit. The head, the last layer that learns, knows
//! the labels by their order only, so it is taken over for the same labels alone. A new one is drawn
//! anew, and small: the layers before it already have much to say.

use std::ops::Range;

use teller_numeric::Stream;
use teller_numeric::options::nearest;
use teller_payload::{DataDigest, Payload, SharedBytes};

use crate::network::{Network, Placed, Purpose};
use crate::train::memory_of;
use crate::{Architecture, CnnParams, Error, codec};

/// What the random numbers of a new head are multiplied with. On MNIST, the digits 5 to 9 after a
/// training on the others, nearly always better than 0, and than 1 where layers are frozen.
const HEAD_SCALE: f32 = 0.3;

/// The weights that a training starts from.
#[derive(Clone, Debug)]
pub struct StartFrom {
    weights: Payload,
    bytes: usize,
    labels: Vec<String>,
    freeze: Vec<String>,
    head: Head,
}

/// What becomes of the last layer that learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// It is taken over if the labels are the same.
    Keep,
    /// It is drawn anew.
    New,
}

/// Why a training cannot start from these weights.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// Every layer would be drawn anew.
    #[error(
        "none of the layers {} has the shape that it has in the network to start from",
        .layers.join(", ")
    )]
    NothingFits {
        /// Those that learn.
        layers: Vec<String>,
    },
    /// No layer that learns has this name.
    #[error("there is no layer \"{name}\" to freeze")]
    UnknownLayer {
        /// As given.
        name: String,
        /// The layer whose name looks most like it, if one does.
        nearest: Option<String>,
        /// All layers that learn.
        known: Vec<String>,
    },
    /// A layer is to stay as it was drawn.
    #[error("layer \"{name}\" cannot be frozen: it does not start from trained weights, {why}")]
    Untrained {
        /// The layer.
        name: String,
        /// What keeps it from being taken over.
        why: &'static str,
    },
    /// Nothing is left to learn.
    #[error("all layers that learn are frozen")]
    AllFrozen,
}

impl StartFrom {
    /// From a payload of weights as [`FittedCnn::payload`](crate::FittedCnn::payload) gives it, of
    /// a network for `labels`. Layers named in `freeze`, such as `0.conv2d`, are not trained.
    pub fn new(
        weights: SharedBytes,
        labels: Vec<String>,
        freeze: Vec<String>,
        head: Head,
    ) -> Result<Self, Error> {
        let bytes = (*weights).as_ref().len();
        Ok(Self { weights: Payload::parse(weights)?, bytes, labels, freeze, head })
    }

    /// Checks what can be checked before the new labels are known.
    pub fn check(&self, architecture: &Architecture) -> Result<(), Error> {
        match Network::new(architecture, self.labels.len(), Purpose::Training) {
            Ok(network) => Ok(self.taken(&network, &self.labels).map(drop)?),
            // For another number of labels it may be one.
            Err(_) => Ok(()),
        }
    }

    /// Checks the whole for the labels that are to be learned, and tells the bytes that
    /// [`fine_tune`](crate::fine_tune) needs at most, with these weights: see
    /// [`memory_needed`](crate::memory_needed).
    pub fn memory_needed(
        &self,
        architecture: &Architecture,
        params: &CnnParams,
        rows: u64,
        labels: &[String],
    ) -> Result<u64, Error> {
        let network = self.network(architecture, labels)?;
        Ok(memory_of(&network, params, rows).saturating_add(self.bytes as u64))
    }

    /// The network to train, its frozen layers marked.
    pub(crate) fn network(
        &self,
        architecture: &Architecture,
        labels: &[String],
    ) -> Result<Network, Error> {
        let mut network = Network::new(architecture, labels.len(), Purpose::Training)?;
        self.taken(&network, labels)?;
        network.freeze(|name| self.freeze.iter().any(|frozen| frozen == name));
        Ok(network)
    }

    /// Writes the weights that are taken over, and those of a new head, among the network's.
    pub(crate) fn fill(
        &self,
        network: &Network,
        labels: &[String],
        seed: u64,
        weights: &mut [f32],
    ) -> Result<(), Error> {
        let taken = self.taken(network, labels)?;
        let learning = network.layers.iter().zip(taken).filter(|(placed, _)| placed.learns());
        if let Some((head, false)) = learning.clone().next_back() {
            // From a stream of its own: that of the other layers may have drawn the head that the
            // source began with, which points at the old labels.
            let kernel = &mut weights[head.kernel.clone()];
            let mut stream = Stream::new(seed, "new head", 0);
            head.layer.initialize(head.initialization, &mut stream, kernel);
            // Alone it is a regression on fixed numbers, which nothing favours before it begins.
            let mut others = learning.clone().filter(|(placed, _)| placed.name != head.name);
            let alone = others.all(|(placed, _)| placed.frozen);
            let scale = if alone { 0.0 } else { HEAD_SCALE };
            kernel.iter_mut().for_each(|weight| *weight *= scale);
        }
        for (placed, _) in learning.filter(|(_, taken)| *taken) {
            for (name, shape, range) in codec::arrays(placed) {
                let array = self.weights.array_of::<f32>(&name, &shape)?;
                weights[range].copy_from_slice(self.weights.get(array));
            }
            codec::check_variance(&placed.name, &weights[placed.variance.clone()])?;
        }
        Ok(())
    }

    /// Adds all that the training depends on to the digest of its data.
    pub(crate) fn note(&self, digest: &mut DataDigest) {
        let Self { weights, labels, freeze, head, .. } = self;
        digest.update(format!("{weights:?} {labels:?} {freeze:?} {head:?}").as_bytes());
        for (name, ..) in weights.arrays() {
            if let Ok((array, _)) = weights.array::<f32>(name) {
                digest.update(weights.get(array));
            }
        }
    }

    /// Which layers of the network are taken over, when it is to tell `labels` apart.
    fn taken(&self, network: &Network, labels: &[String]) -> Result<Vec<bool>, StartError> {
        let learning = || network.layers.iter().filter(|placed| placed.learns());
        let names = || learning().map(|placed| &*placed.name);
        let known = || names().map(str::to_owned).collect::<Vec<_>>();
        let head = names().next_back();
        let untaken = |placed: &Placed| {
            if head == Some(&placed.name) {
                if self.head == Head::New {
                    return Some("the head is to be new");
                }
                if self.labels != labels {
                    return Some("the labels are others");
                }
            }
            let fits = |(name, shape, _): (String, Vec<usize>, Range<usize>)| {
                self.weights.array_of::<f32>(&name, &shape).is_ok()
            };
            let why = "it has another shape there or does not exist";
            (!codec::arrays(placed).into_iter().all(fits)).then_some(why)
        };
        for name in &self.freeze {
            let placed = learning().find(|placed| placed.name == *name);
            let Some(placed) = placed else {
                let nearest = nearest(name, names());
                return Err(StartError::UnknownLayer {
                    name: name.clone(),
                    nearest,
                    known: known(),
                });
            };
            if let Some(why) = untaken(placed) {
                return Err(StartError::Untrained { name: name.clone(), why });
            }
        }
        if names().all(|name| self.freeze.iter().any(|frozen| frozen == name)) {
            return Err(StartError::AllFrozen);
        }
        let taken: Vec<bool> = network
            .layers
            .iter()
            .map(|placed| placed.learns() && untaken(placed).is_none())
            .collect();
        if !taken.contains(&true) {
            return Err(StartError::NothingFits { layers: known() });
        }
        Ok(taken)
    }
}
