//! What classifiers of texts and sequences need besides their numbers.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use teller_nn::FittedClassifier;

use crate::catalog::manifest::Manifest;
use crate::error::Error;

/// The manifest's `model`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassifierInfo<A> {
    /// The networks.
    pub architecture: A,
    /// The labels in the order of the outputs.
    pub labels: Vec<String>,
    /// What the logarithms of its probabilities are divided by.
    pub temperature: f32,
}

impl<A: Clone + Serialize + DeserializeOwned> ClassifierInfo<A> {
    /// That of a training, as JSON.
    pub fn of(fitted: &FittedClassifier<A>) -> Result<Value, Error> {
        let info = Self {
            architecture: fitted.architecture.clone(),
            labels: fitted.labels.clone(),
            temperature: fitted.temperature,
        };
        serde_json::to_value(info).map_err(|error| Error::Internal(error.to_string()))
    }

    /// What the manifest says, or what is wrong with that.
    pub fn read(manifest: &Manifest) -> Result<Self, String> {
        serde_json::from_value(manifest.model.clone())
            .map_err(|error| format!("its model description cannot be read: {error}"))
    }
}
