//! A version in the form in which it answers.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use teller_nn::vision::{Limits, Preprocessing};
use teller_nn::{
    Architecture, Arithmetic, ImageClassifier, LayerWeights, Method, Normalization, Workspace,
};
use teller_payload::SharedBytes;
use teller_recommend::Recommender;

use crate::bridge::interrupts::StatementControl;
use crate::cache::autoencoder_model::AutoencoderModel;
use crate::cache::image_generator_model::{GAN, ImageGeneratorModel};
use crate::cache::sequence_model::SequenceModel;
use crate::cache::shared::{self, SharedFile, State};
use crate::cache::table_model::TableModel;
use crate::cache::text_model::TextModel;
use crate::catalog::manifest::{Manifest, Task};
use crate::catalog::model_table::ModelTable;
use crate::catalog::version::Version;
use crate::error::Error;
use crate::settings;

/// The part that holds a network's weights.
pub const WEIGHTS: &str = "weights";

/// Payloads by the names of their parts.
pub type Parts = BTreeMap<String, SharedBytes>;

/// A loaded version of any task.
pub struct Model {
    /// The model's name when it was loaded, for messages.
    pub name: String,
    engine: Engine,
    /// Bytes of the parts.
    numbers: usize,
    /// The file that holds the parts; without one they are this backend's own.
    file: Option<Arc<SharedFile>>,
}

enum Engine {
    Images(Box<ImageModel>),
    Texts(Box<TextModel>),
    Sequences(Box<SequenceModel>),
    Recommender(Box<Recommender>),
    Generator(Box<TableModel>),
    ImageGenerator(Box<ImageGeneratorModel>),
    Autoencoder(Box<AutoencoderModel>),
}

impl Model {
    /// Reads a version's numbers and checks them.
    pub fn load(table: &ModelTable, version: &Version) -> Result<Self, Error> {
        let manifest = version.manifest(table)?;
        let numbers = shared::numbers(table, version, &manifest)?;
        let model = Self::assemble(table.name(), &manifest, &numbers.parts);
        // What then looks like damage in the table is none.
        shared::refuse_lost()?;
        let model = model.map_err(|what| Error::damaged(table, Some(version.number), what))?;
        Ok(Self { file: numbers.file, ..model })
    }

    /// A model of these parts, or what is wrong with them.
    pub fn assemble(name: String, manifest: &Manifest, parts: &Parts) -> Result<Self, String> {
        let weights = || {
            let weights = parts.get(WEIGHTS).cloned();
            weights.ok_or_else(|| format!("part {WEIGHTS} is missing"))
        };
        let engine = match manifest.definition.task {
            Task::ImageClassification => {
                Engine::Images(Box::new(ImageModel::load(manifest, weights()?)?))
            }
            Task::TextClassification => {
                Engine::Texts(Box::new(TextModel::load(manifest, weights()?)?))
            }
            Task::SequenceClassification => {
                Engine::Sequences(Box::new(SequenceModel::load(manifest, weights()?)?))
            }
            Task::Generation if manifest.algorithm == GAN => {
                Engine::ImageGenerator(Box::new(ImageGeneratorModel::load(manifest, weights()?)?))
            }
            Task::Generation => {
                Engine::Generator(Box::new(TableModel::load(manifest, weights()?)?))
            }
            Task::Autoencoding => {
                Engine::Autoencoder(Box::new(AutoencoderModel::load(manifest, weights()?)?))
            }
            Task::Recommendation => {
                let recommender = Recommender::load(parts).map_err(|error| error.to_string())?;
                Engine::Recommender(Box::new(recommender))
            }
        };
        let numbers = parts.values().map(|part| (**part).as_ref().len()).sum();
        Ok(Self { name, engine, numbers, file: None })
    }

    /// What it is trained to do.
    pub fn task(&self) -> Task {
        match self.engine {
            Engine::Images(_) => Task::ImageClassification,
            Engine::Texts(_) => Task::TextClassification,
            Engine::Sequences(_) => Task::SequenceClassification,
            Engine::Recommender(_) => Task::Recommendation,
            Engine::Generator(_) | Engine::ImageGenerator(_) => Task::Generation,
            Engine::Autoencoder(_) => Task::Autoencoding,
        }
    }

    fn wrong_task(&self, expected: Task) -> Error {
        Error::WrongTask { model: self.name.clone(), got: self.task(), expected }
    }

    /// The classifier, if this is one.
    pub fn images(&self) -> Result<&ImageModel, Error> {
        match &self.engine {
            Engine::Images(model) => Ok(model),
            _ => Err(self.wrong_task(Task::ImageClassification)),
        }
    }

    /// The classifier of texts, if this is one.
    pub fn texts(&self) -> Result<&TextModel, Error> {
        match &self.engine {
            Engine::Texts(model) => Ok(model),
            _ => Err(self.wrong_task(Task::TextClassification)),
        }
    }

    /// The recommender, if this is one.
    pub fn recommender(&self) -> Result<&Recommender, Error> {
        match &self.engine {
            Engine::Recommender(model) => Ok(model),
            _ => Err(self.wrong_task(Task::Recommendation)),
        }
    }

    /// The classifier of sequences, if this is one.
    pub fn sequences(&self) -> Result<&SequenceModel, Error> {
        match &self.engine {
            Engine::Sequences(model) => Ok(model),
            _ => Err(self.wrong_task(Task::SequenceClassification)),
        }
    }

    /// The autoencoder, if this is one.
    pub fn autoencoder(&self) -> Result<&AutoencoderModel, Error> {
        match &self.engine {
            Engine::Autoencoder(model) => Ok(model),
            _ => Err(self.wrong_task(Task::Autoencoding)),
        }
    }

    /// All arrays of a network's trained numbers.
    pub fn weights(&self) -> Result<Vec<LayerWeights<'_>>, Error> {
        match &self.engine {
            Engine::Texts(model) => Ok(model.classifier().weights()),
            Engine::Sequences(model) => Ok(model.classifier().weights()),
            Engine::Autoencoder(model) => Ok(model.network().weights().collect()),
            Engine::ImageGenerator(model) => Ok(model.generator().weights().collect()),
            _ => Ok(self.images()?.classifier().weights().collect()),
        }
    }

    /// The generator of rows, if this is one.
    pub fn generator(&self) -> Result<&TableModel, Error> {
        match &self.engine {
            Engine::Generator(model) => Ok(model),
            Engine::ImageGenerator(_) => {
                Err(Error::Unsupported("it makes images, not rows of a table".to_owned()))
            }
            _ => Err(self.wrong_task(Task::Generation)),
        }
    }

    /// Whether it is a generator of images.
    pub fn makes_images(&self) -> bool {
        matches!(self.engine, Engine::ImageGenerator(_))
    }

    /// The generator of images, if this is one.
    pub fn image_generator(&self) -> Result<&ImageGeneratorModel, Error> {
        match &self.engine {
            Engine::ImageGenerator(model) => Ok(model),
            Engine::Generator(_) => {
                Err(Error::Unsupported("it makes rows of a table, not images".to_owned()))
            }
            _ => Err(self.wrong_task(Task::Generation)),
        }
    }

    /// Bytes that this backend holds of its own; what all backends share is not counted.
    pub fn memory(&self) -> usize {
        let all = match &self.engine {
            Engine::Images(model) => model.memory(),
            Engine::Texts(model) => model.memory(),
            Engine::Sequences(model) => model.memory(),
            Engine::Recommender(model) => model.memory() + self.numbers,
            // It holds copies, of which none is shared.
            Engine::Generator(model) => return model.memory(),
            Engine::Autoencoder(model) => model.memory() + self.numbers,
            Engine::ImageGenerator(model) => model.memory() + self.numbers,
        };
        match self.file {
            Some(_) => all.saturating_sub(self.numbers),
            None => all,
        }
    }

    /// Calls of this transaction answer from it.
    pub fn begin_answers(&self) {
        if let Some(file) = &self.file {
            shared::answer_from(file);
        }
    }

    /// What became of the file that it is read from; a model in memory stays the same.
    pub fn file_state(&self) -> State {
        self.file.as_ref().map_or(State::Same, |file| file.state())
    }
}

/// What an image classifier needs besides its weights; the manifest's `model`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageModelInfo {
    /// The network, as given and completed.
    pub architecture: serde_json::Value,
    /// How an image becomes a raster.
    pub preprocessing: Preprocessing,
    /// How a raster becomes the network's input.
    pub normalization: Normalization,
    /// The labels in the order of the network's outputs.
    pub labels: Vec<String>,
    /// How its answers are computed; versions from before 0.3.0 do not say.
    #[serde(default)]
    pub arithmetic: Arithmetic,
    /// What its logits are divided by; versions from before 0.3.0 have none.
    #[serde(default)]
    pub temperature: Option<f32>,
}

/// An image classifier with its preprocessing and its scratch memory.
pub struct ImageModel {
    preprocessing: Preprocessing,
    classifier: ImageClassifier,
    /// Made by the first call, so that a model that needs too much is refused before.
    scratch: RefCell<Option<Scratch>>,
}

struct Scratch {
    raster: Vec<u8>,
    workspace: Workspace,
}

impl ImageModelInfo {
    /// What the manifest says, or what is wrong with that.
    pub fn read(manifest: &Manifest) -> Result<Self, String> {
        serde_json::from_value(manifest.model.clone())
            .map_err(|error| format!("its model description cannot be read: {error}"))
    }
}

impl ImageModel {
    fn load(manifest: &Manifest, weights: SharedBytes) -> Result<Self, String> {
        let info = ImageModelInfo::read(manifest)?;
        let architecture = Architecture::from_json(&info.architecture)
            .map_err(|error| format!("its architecture is wrong: {error}"))?;
        let classifier = ImageClassifier::load(
            info.arithmetic,
            &architecture,
            &info.normalization,
            info.labels,
            weights,
        )
        .and_then(|network| network.with_temperature(info.temperature.unwrap_or(1.0)))
        .map_err(|error| error.to_string())?;
        if info.preprocessing.raster_len() != classifier.raster_len() {
            return Err("its preprocessing does not fit its architecture".to_owned());
        }
        Ok(Self { preprocessing: info.preprocessing, classifier, scratch: RefCell::default() })
    }

    /// Bytes held once it has answered, the weights included.
    fn memory(&self) -> usize {
        let scratch = self.classifier.working_memory().saturating_add(self.classifier.raster_len());
        self.classifier.memory().saturating_add(scratch)
    }

    /// The network.
    pub fn classifier(&self) -> &ImageClassifier {
        &self.classifier
    }

    /// How its images become rasters.
    pub fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    /// Calls `read` with the probabilities of the image's labels.
    pub fn probabilities<T>(
        &self,
        image: &[u8],
        read: impl FnOnce(&[f32]) -> T,
    ) -> Result<T, Error> {
        self.with_raster(image, |raster, workspace| {
            Ok(read(self.classifier.probabilities(raster, workspace, &StatementControl)?))
        })
    }

    /// What the network knows of the image before it decides.
    pub fn embedding(&self, image: &[u8]) -> Result<Vec<f32>, Error> {
        self.with_raster(image, |raster, workspace| {
            Ok(self.classifier.embedding(raster, workspace, &StatementControl)?.to_vec())
        })
    }

    /// A PNG of the image as the network sees it, with what speaks for a label, the answer if none
    /// is given.
    pub fn explain(
        &self,
        image: &[u8],
        label: Option<usize>,
        method: Method,
    ) -> Result<Vec<u8>, Error> {
        let (classifier, control) = (&self.classifier, &StatementControl);
        self.with_raster(image, |raster, workspace| {
            let label = match label {
                Some(label) => label,
                None => teller_nn::best(classifier.probabilities(raster, workspace, control)?),
            };
            let heat = classifier.heat(raster, label, method, workspace, control)?;
            Ok(classifier.heat_png(raster, &heat, control)?)
        })
    }

    /// Calls `ask` with the image's raster and the memory that the network needs.
    fn with_raster<T>(
        &self,
        image: &[u8],
        ask: impl FnOnce(&[u8], &mut Workspace) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let scratch = &mut *self.scratch.borrow_mut();
        let Scratch { raster, workspace } = match scratch {
            Some(scratch) => scratch,
            None => scratch.insert(Scratch {
                raster: vec![0; self.classifier.raster_len()],
                workspace: self.classifier.workspace()?,
            }),
        };
        let limits = Limits { max_pixels: settings::max_image_pixels() };
        self.preprocessing.raster(image, &limits, &StatementControl, raster)?;
        ask(raster, workspace)
    }
}
