//! How a convolutional network is trained.

use teller_numeric::{OptionError, Options};

use crate::{Augmentation, TrainingParams};

/// Checked training parameters of a convolutional network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CnnParams {
    /// What holds for any network.
    pub training: TrainingParams,
    /// `augmentation`: random changes to the images that are learned from.
    pub augmentation: Option<Augmentation>,
}

impl From<TrainingParams> for CnnParams {
    /// Without any changes to the images.
    fn from(training: TrainingParams) -> Self {
        Self { training, augmentation: None }
    }
}

impl CnnParams {
    /// Reads the parameters among whatever else the caller reads from the same options; the
    /// caller finishes them.
    pub fn read(options: &mut Options<'_>) -> Result<Self, OptionError> {
        let training = TrainingParams::read(options, TrainingParams::default())?;
        Ok(Self { training, augmentation: Augmentation::read(options)? })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_are_read_from_the_same_options() {
        let read = |given: serde_json::Value| {
            let mut options = Options::new("cnn", &given)?;
            let params = CnnParams::read(&mut options)?;
            options.finish().map(|()| params)
        };
        assert_eq!(read(json!({})), Ok(CnnParams::default()));
        let augmentation = Some(Augmentation { shift: 0.1, ..Augmentation::default() });
        let training = TrainingParams { epochs: 2, ..TrainingParams::default() };
        let given = json!({"augmentation": {"shift": 0.1}, "epochs": 2});
        assert_eq!(read(given), Ok(CnnParams { training, augmentation }));
        assert!(read(json!({"augmentation": 1})).is_err());
    }
}
