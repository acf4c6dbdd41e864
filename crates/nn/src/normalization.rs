//! From 8-bit pixels to the network's numbers, by one table of 256 entries a channel.

use serde::{Deserialize, Serialize};

use crate::Error;

/// `(pixel / 255 - mean) / std` for each channel; the same in training and in serving.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalization {
    /// One mean a channel, on values from 0 to 1.
    pub mean: Vec<f32>,
    /// One positive deviation a channel.
    pub std: Vec<f32>,
}

impl Normalization {
    /// Pixels from 0 to 1 as they are.
    pub fn unit(channels: usize) -> Self {
        Self { mean: vec![0.0; channels], std: vec![1.0; channels] }
    }

    /// The table by channel and pixel.
    pub(crate) fn table(&self, channels: usize) -> Result<PixelTable, Error> {
        if self.mean.len() != channels || self.std.len() != channels {
            return Err(Error::Normalization("needs one mean and one deviation for each channel"));
        }
        if !self.std.iter().all(|&std| std > 0.0 && std.is_finite())
            || !self.mean.iter().all(|mean| mean.is_finite())
        {
            return Err(Error::Normalization("needs finite means and positive finite deviations"));
        }
        let channels = self.mean.iter().zip(&self.std).map(|(&mean, &std)| {
            std::array::from_fn(|pixel| {
                ((pixel as f64 / 255.0 - f64::from(mean)) / f64::from(std)) as f32
            })
        });
        Ok(PixelTable { channels: channels.collect() })
    }
}

#[derive(Clone, Debug)]
pub(crate) struct PixelTable {
    channels: Vec<[f32; 256]>,
}

impl PixelTable {
    pub(crate) fn memory(&self) -> usize {
        self.channels.len() * size_of::<[f32; 256]>()
    }

    /// The numbers of one raster, channels innermost.
    pub(crate) fn apply(&self, raster: &[u8], to: &mut [f32]) {
        if let [grey] = &*self.channels {
            for (to, &pixel) in to.iter_mut().zip(raster) {
                *to = grey[usize::from(pixel)];
            }
            return;
        }
        let channels = self.channels.len();
        for (to, pixel) in to.chunks_exact_mut(channels).zip(raster.chunks_exact(channels)) {
            for ((to, &value), table) in to.iter_mut().zip(pixel).zip(&self.channels) {
                *to = table[usize::from(value)];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_has_its_own_scale() {
        let normalization = Normalization { mean: vec![0.5, 0.0], std: vec![0.5, 2.0] };
        let table = normalization.table(2).unwrap();
        let mut values = [0.0; 4];
        table.apply(&[0, 255, 255, 0], &mut values);
        assert_eq!(values, [-1.0, 0.5, 1.0, 0.0]);
        assert!(normalization.table(1).is_err());
        assert!(Normalization { mean: vec![0.0], std: vec![0.0] }.table(1).is_err());
        assert!(Normalization { mean: vec![f32::NAN], std: vec![1.0] }.table(1).is_err());
    }
}
