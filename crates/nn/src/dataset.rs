//! Labelled images as they are kept for training: 8 bits a value.

use teller_numeric::{Cancelled, Control};
use teller_payload::DataDigest;

use crate::labels::{Labelled, LabelsBuilder, at_least_two};
use crate::{Error, Normalization, Shape};

/// Images of one size, each with its label.
#[derive(Clone, Debug)]
pub struct ImageDataset {
    height: usize,
    width: usize,
    channels: usize,
    rasters: Vec<u8>,
    targets: Vec<u32>,
    labels: Vec<String>,
    /// How pixels become numbers.
    pub normalization: Normalization,
}

/// Gathers an [`ImageDataset`] row by row.
///
/// ```
/// let mut builder = teller_nn::ImageDatasetBuilder::new(1, 2, 1);
/// builder.push(&[0, 255], "b").unwrap();
/// builder.push(&[255, 0], "a").unwrap();
/// let dataset = builder.finish().unwrap();
/// assert_eq!(dataset.labels(), ["a", "b"]);
/// assert_eq!(dataset.targets(), [1, 0]);
/// ```
#[derive(Clone, Debug)]
pub struct ImageDatasetBuilder {
    /// Without targets and labels.
    dataset: ImageDataset,
    labels: LabelsBuilder,
    /// Bytes that the rasters may take before one more is a waste.
    limit: usize,
}

/// Bytes of one image's target and of its two row numbers in a training.
pub(crate) const BYTES_PER_ROW: usize = 12;

impl ImageDatasetBuilder {
    /// For rasters of `height` x `width` x `channels`.
    pub fn new(height: usize, width: usize, channels: usize) -> Self {
        let normalization = Normalization::unit(channels);
        let (rasters, targets, labels) = (Vec::new(), Vec::new(), Vec::new());
        let dataset =
            ImageDataset { height, width, channels, rasters, targets, labels, normalization };
        Self { dataset, labels: LabelsBuilder::default(), limit: usize::MAX }
    }

    /// The same, of which the caller makes no use beyond so many bytes: no memory is reserved for
    /// that.
    pub fn within(self, bytes: u64) -> Self {
        Self { limit: usize::try_from(bytes).unwrap_or(usize::MAX), ..self }
    }

    /// Adds one image.
    pub fn push(&mut self, raster: &[u8], label: &str) -> Result<(), Error> {
        let dataset = &mut self.dataset;
        let expected = dataset.raster_len();
        if raster.len() != expected {
            return Err(Error::Raster { got: raster.len(), expected });
        }
        self.labels.check()?;
        reserve(&mut dataset.rasters, expected, self.limit)?;
        dataset.rasters.extend_from_slice(raster);
        self.labels.push(label);
        Ok(())
    }

    /// Bytes that a training on the images so far holds of them.
    pub fn memory(&self) -> u64 {
        (self.dataset.rasters.len() + BYTES_PER_ROW * self.labels.rows()) as u64
    }

    /// The labels so far, ascending.
    pub fn labels(&self) -> Vec<String> {
        self.labels.labels()
    }

    /// The dataset to train on: at least one row, at least two labels.
    pub fn finish(self) -> Result<ImageDataset, Error> {
        let dataset = self.finish_for_evaluation()?;
        at_least_two(&dataset.labels)?;
        Ok(dataset)
    }

    /// The dataset to evaluate on, where one label may be all there is.
    pub fn finish_for_evaluation(self) -> Result<ImageDataset, Error> {
        let mut dataset = self.dataset;
        let Labelled { targets, labels } = self.labels.finish()?;
        (dataset.targets, dataset.labels) = (targets, labels);
        dataset.rasters.shrink_to_fit();
        Ok(dataset)
    }
}

/// Makes room for a row of so many values among others, of which more than `limit` are of no use.
pub(crate) fn reserve<T>(values: &mut Vec<T>, row: usize, limit: usize) -> Result<(), Error> {
    if values.capacity() - values.len() >= row {
        return Ok(());
    }
    // By an eighth: the system moves large blocks without copying them.
    let more = (values.len() / 8).min(limit.saturating_sub(values.len()));
    let bytes = ((values.len() + row) * size_of::<T>()) as u64;
    values.try_reserve_exact(more.max(row)).map_err(|_| Error::OutOfMemory { bytes })
}

impl ImageDataset {
    /// Images.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Never: a dataset has rows.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// All labels, ascending.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// For each image, the index of its label.
    pub fn targets(&self) -> &[u32] {
        &self.targets
    }

    /// One image, row by row, channels innermost.
    pub fn raster(&self, row: usize) -> &[u8] {
        let len = self.raster_len();
        &self.rasters[row * len..][..len]
    }

    /// What every image is.
    pub fn shape(&self) -> Shape {
        Shape::Image { height: self.height, width: self.width, channels: self.channels }
    }

    /// A digest of all that a training reads; of the labels only their number counts.
    pub(crate) fn digest(&self, control: &dyn Control) -> Result<DataDigest, Cancelled> {
        const POLL: usize = 1 << 24;
        let mut digest = DataDigest::new();
        digest
            .update(&[self.height, self.width, self.channels, self.labels.len()].map(|n| n as u64));
        digest.update(format!("{:?}", self.normalization).as_bytes());
        digest.update(&self.targets);
        for rasters in self.rasters.chunks(POLL) {
            control.check()?;
            digest.update(rasters);
        }
        Ok(digest)
    }

    fn raster_len(&self) -> usize {
        self.height * self.width * self.channels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_do_not_depend_on_the_order_of_rows() {
        let build = |labels: &[&str]| {
            let mut builder = ImageDatasetBuilder::new(1, 1, 1);
            for label in labels {
                builder.push(&[label.as_bytes()[0]], label).unwrap();
            }
            builder.finish().unwrap()
        };
        let dataset = build(&["c", "a", "b", "a"]);
        assert_eq!(dataset.labels(), build(&["a", "b", "c"]).labels());
        assert_eq!(dataset.targets(), [2, 0, 1, 0]);
        assert_eq!(dataset.raster(2), b"b");
    }

    #[test]
    fn what_cannot_be_learned_from_is_refused() {
        let mut builder = ImageDatasetBuilder::new(1, 2, 1);
        assert_eq!(builder.clone().finish().unwrap_err(), Error::NoRows);
        assert_eq!(builder.push(&[1], "a"), Err(Error::Raster { got: 1, expected: 2 }));
        builder.push(&[1, 2], "a").unwrap();
        let one = Error::OneClass { label: "a".to_owned() };
        assert_eq!(builder.clone().finish().unwrap_err(), one);
        assert_eq!(builder.finish_for_evaluation().unwrap().labels(), ["a"]);
    }
}
