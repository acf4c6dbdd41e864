//! A patch of the raster's mean colour slides over it; a pixel's heat is what the label's
//! probability loses, on average over the patches that cover the pixel.

use teller_numeric::Control;

use super::{Heat, Size};
use crate::{Error, ImageClassifier, Workspace};

/// Patches that lie side by side across a raster.
const PATCHES: usize = 6;
/// Positions of the patch across a raster, about: the network is asked for each.
const POSITIONS: usize = 28;

pub(super) fn heat(
    classifier: &ImageClassifier,
    raster: &[u8],
    label: usize,
    workspace: &mut Workspace,
    control: &dyn Control,
) -> Result<Heat, Error> {
    let size = classifier.size();
    let Size { height, width, channels } = size;
    let whole = classifier.probabilities(raster, workspace, control)?[label];
    let mean = mean_color(raster, channels);
    let mut covered = raster.to_vec();
    let mut losses = vec![0.0; height * width];
    let mut counts = vec![0u32; height * width];
    for rows in windows(height) {
        for columns in windows(width) {
            for y in rows.clone() {
                let start = (y * width + columns.start) * channels;
                let patch = &mut covered[start..start + columns.len() * channels];
                patch.chunks_exact_mut(channels).for_each(|pixel| pixel.copy_from_slice(&mean));
            }
            let loss = whole - classifier.probabilities(&covered, workspace, control)?[label];
            for y in rows.clone() {
                let pixels = y * width + columns.start..y * width + columns.end;
                let values = pixels.start * channels..pixels.end * channels;
                covered[values.clone()].copy_from_slice(&raster[values]);
                for pixel in pixels {
                    losses[pixel] += loss;
                    counts[pixel] += 1;
                }
            }
        }
    }
    // The windows leave no pixel out.
    for (loss, count) in losses.iter_mut().zip(counts) {
        *loss /= count.max(1) as f32;
    }
    Ok(Heat { height, width, values: losses })
}

/// Where the patch lies along an axis. It begins and ends beyond the edges, so that pixels there
/// are covered as often as others.
fn windows(len: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let patch = len.div_ceil(PATCHES);
    let stride = len.div_ceil(POSITIONS).min(patch);
    let ends = (1..len + patch).step_by(stride);
    ends.map(move |end| end.saturating_sub(patch)..end.min(len))
}

fn mean_color(raster: &[u8], channels: usize) -> Vec<u8> {
    let pixels = (raster.len() / channels).max(1) as u64;
    let mean = |channel: usize| {
        let values = raster[channel..].iter().step_by(channels);
        let sum: u64 = values.map(|&value| u64::from(value)).sum();
        ((sum + pixels / 2) / pixels) as u8
    };
    (0..channels).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_every_pixel_and_stay_inside() {
        for len in [1, 2, 3, 5, 7, 8, 27, 28, 29, 63, 224, 1000] {
            let mut counts = vec![0; len];
            for window in windows(len) {
                assert!(!window.is_empty() && window.end <= len, "{window:?} of {len}");
                counts[window].iter_mut().for_each(|count| *count += 1);
            }
            assert!(counts.iter().all(|&count| count > 0), "{len}: {counts:?}");
            assert!(windows(len).count() <= 2 * POSITIONS, "{len}");
        }
    }

    #[test]
    fn the_mean_is_of_each_channel() {
        assert_eq!(mean_color(&[0, 10, 1, 20, 1, 31], 2), [1, 20]);
        assert_eq!(mean_color(&[255; 9], 3), [255; 3]);
    }
}
