//! The images of one step: how they become numbers, and what the loss asks of them.

use teller_numeric::Stream;

use crate::ImageDataset;
use crate::augmentation::{Augmentation, Size};
use crate::normalization::PixelTable;
use crate::objective::{Objective, Target};

#[derive(Clone, Copy)]
pub(crate) struct Batch<'a> {
    pub(crate) data: &'a ImageDataset,
    pub(crate) pixels: &'a PixelTable,
    /// Which images, at most the trainer's batch size.
    pub(crate) rows: &'a [u32],
    pub(crate) objective: &'a Objective,
    /// Only what is learned from is changed.
    pub(crate) changes: Option<Changes<'a>>,
}

/// The random changes of one epoch.
#[derive(Clone, Copy)]
pub(crate) struct Changes<'a> {
    pub(crate) augmentation: &'a Augmentation,
    pub(crate) seed: u64,
    /// Epochs before this one.
    pub(crate) before: u64,
    /// Rows that images may be mixed with.
    pub(crate) partners: &'a [u32],
}

impl Changes<'_> {
    /// Bytes of working memory: two images on their way, and one between two steps of it.
    pub(crate) fn scratch(raster: usize) -> usize {
        raster.saturating_mul(3)
    }
}

impl Batch<'_> {
    /// Writes the numbers of one image and says what it shows. What is random depends on the row
    /// and the epoch only. `scratch` is [`Changes::scratch`] long where there are changes.
    pub(crate) fn load(&self, row: u32, scratch: &mut [u8], numbers: &mut [f32]) -> Target {
        let raster = self.data.raster(row as usize);
        let label = |row: u32| self.data.targets()[row as usize];
        let (Some(changes), Some(size)) = (self.changes, Size::of(self.data.shape())) else {
            self.pixels.apply(raster, numbers);
            return Target::one(label(row));
        };
        let Changes { augmentation, seed, before, partners } = changes;
        let place = before * self.data.len() as u64 + u64::from(row);
        let mut stream = Stream::new(seed, "augmentation", place);
        let (image, rest) = scratch.split_at_mut(raster.len());
        let (other, between) = rest.split_at_mut(raster.len());
        augmentation.change(size, &mut stream, raster, image, between);
        let mut target = Target::one(label(row));
        if let Some(partner) = augmentation.partner(partners.len() as u32, &mut stream) {
            let row = partners[partner.index as usize];
            let raster = self.data.raster(row as usize);
            augmentation.change(size, &mut stream, raster, other, between);
            Augmentation::mix(image, partner.parts, other);
            target.second = label(row);
            target.share = partner.parts as f32 / 256.0;
        }
        self.pixels.apply(image, numbers);
        target
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ImageDatasetBuilder, Normalization};

    #[test]
    fn mixed_images_tell_both_labels() {
        let mut builder = ImageDatasetBuilder::new(2, 2, 1);
        for row in 0..60u8 {
            builder.push(&[row * 4; 4], &(row % 3).to_string()).unwrap();
        }
        let data = builder.finish().unwrap();
        let pixels = Normalization { mean: vec![0.0], std: vec![1.0 / 255.0] }.table(1).unwrap();
        let augmentation = Augmentation { mixup: 0.7, ..Augmentation::default() };
        let partners: Vec<u32> = (0..30).collect();
        let objective = Objective::plain(3);
        let load = |row, before, changed: bool| {
            let changes =
                Changes { augmentation: &augmentation, seed: 1, before, partners: &partners };
            let changes = changed.then_some(changes);
            let batch =
                Batch { data: &data, pixels: &pixels, rows: &[], objective: &objective, changes };
            let (mut scratch, mut numbers) = ([9; 12], [0.0; 4]);
            (batch.load(row, &mut scratch, &mut numbers), numbers[0].round() as i32)
        };
        let mut mixed = 0;
        for row in 0..60 {
            assert_eq!(load(row, 3, false), (Target::one(row % 3), row as i32 * 4));
            let (target, value) = load(row, 3, true);
            assert_eq!((target, value), load(row, 3, true));
            assert_ne!((target, value), load(row, 4, true));
            assert_eq!(target.first, row % 3);
            // Which partner it was follows from the mixture.
            let rest = 1.0 - target.share;
            let possible = partners.iter().filter(|&&partner| partner % 3 == target.second);
            let expected =
                |&partner: &u32| target.share * row as f32 * 4.0 + rest * partner as f32 * 4.0;
            assert!(possible.map(expected).any(|expected| (expected - value as f32).abs() <= 0.51));
            mixed += usize::from(target.second != target.first && rest > 0.1);
        }
        assert!(mixed > 15, "{mixed}");
    }
}
