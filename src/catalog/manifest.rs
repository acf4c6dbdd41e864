//! What a version says of itself: the `info` of its manifest row.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use teller_numeric::options::nearest;

use crate::error::Error;

/// What a model is trained to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// A label for an image.
    ImageClassification,
    /// A label for a text.
    TextClassification,
    /// A label for a sequence of numbers.
    SequenceClassification,
    /// Items for a user.
    Recommendation,
    /// Rows like those of a table.
    Generation,
    /// Short codes of rows or images, and how unlike the usual these are.
    Autoencoding,
}

impl Task {
    const ALL: [Self; 6] = [
        Self::ImageClassification,
        Self::TextClassification,
        Self::SequenceClassification,
        Self::Recommendation,
        Self::Generation,
        Self::Autoencoding,
    ];

    /// The name that SQL uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::ImageClassification => "image_classification",
            Self::TextClassification => "text_classification",
            Self::SequenceClassification => "sequence_classification",
            Self::Recommendation => "recommendation",
            Self::Generation => "generation",
            Self::Autoencoding => "autoencoding",
        }
    }

    /// The task that SQL calls `name`.
    pub fn parse(name: &str) -> Result<Self, Error> {
        let names = || Self::ALL.iter().map(|task| task.name());
        Self::ALL.into_iter().find(|task| task.name() == name).ok_or_else(|| Error::UnknownTask {
            name: name.to_owned(),
            nearest: nearest(name, names()),
            known: names().collect::<Vec<_>>().join(", "),
        })
    }
}

/// One stored part of a version's numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Length of its payload.
    pub bytes: u64,
    /// SHA-256 of its payload, in hexadecimal.
    pub sha256: String,
}

/// The version whose weights a training starts from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartPoint {
    /// Its model, with the schema; none if that is the trained model itself, by whatever name.
    pub model: Option<String>,
    /// Its number.
    pub version: i32,
    /// Its digest.
    pub digest: String,
}

/// What is trained: enough to train it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// The task.
    pub task: Task,
    /// The options of the training, as given.
    pub options: Value,
    /// The training query, as given.
    pub data: String,
    /// The `search_path` under which the query was read.
    pub search_path: String,
    /// Other settings that its meaning depends on; 0.1.0 noted none.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// What the option of that name led to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_from: Option<StartPoint>,
}

/// Where a version comes from, besides its definition.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lineage {
    /// Rows that the query returned.
    pub rows: u64,
    /// SHA-256 of the rows in their order, in hexadecimal; 0.1.0 took none.
    #[serde(default)]
    pub rows_digest: Option<String>,
    /// The seed of everything random, where something is.
    #[serde(default)]
    pub seed: Option<u64>,
    /// The release of the extension that trained it.
    pub extension: String,
    /// The role that trained it.
    pub trained_by: String,
    /// When the training statement began, ISO 8601 in UTC.
    pub trained_at: String,
    /// Duration of reading and training; of all attempts, where it was interrupted.
    pub seconds: f64,
    /// The most memory that reading and training took, in bytes.
    #[serde(default)]
    pub peak_memory: Option<u64>,
    /// The query of the interactions that were folded in, where no training made the version: `rows`
    /// and their digest are those of this query, and `start_from` is the version that they were
    /// folded into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folded_in: Option<String>,
}

/// The manifest of a version. It is untrusted when read: the table's owner may have written it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// What was trained.
    #[serde(flatten)]
    pub definition: Definition,
    /// Where it comes from.
    #[serde(flatten)]
    pub lineage: Lineage,
    /// The algorithm that trained it.
    pub algorithm: String,
    /// What the engine needs besides numbers: architecture, preprocessing, labels.
    pub model: Value,
    /// Figures of the training.
    pub metrics: Map<String, Value>,
    /// The stored parts by name.
    pub parts: BTreeMap<String, Part>,
    /// SHA-256 over the names and digests of the parts: equal digests are equal numbers.
    pub digest: String,
}

/// What stands in the place of the manifest while a version is trained, and when that failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunInfo {
    /// What is trained.
    #[serde(flatten)]
    pub definition: Definition,
    /// Where it comes from, as far as it is known.
    #[serde(flatten)]
    pub lineage: Lineage,
    /// The last step, as in the log.
    pub progress: Option<Value>,
    /// When that was, ISO 8601 in UTC.
    pub updated_at: String,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The key of a generator's figure that is 0 where its rows tell of single rows.
const PRIVATE: &str = "private";

/// The key of the gate's figures among the metrics.
pub const GATE: &str = "gate";

impl Manifest {
    /// Whether it makes rows that tell of single ones that it has learned from.
    pub fn tells_of_rows(&self) -> bool {
        self.metrics.get(PRIVATE).is_some_and(|private| private.as_i64() == Some(0))
    }

    /// Whether the version was measured by a gate and did not pass.
    pub fn gate_failed(&self) -> bool {
        self.metrics.get(GATE).is_some_and(|gate| gate["passed"] == Value::Bool(false))
    }
}
