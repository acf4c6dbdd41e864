//! A square that is painted over, so that no one part of an image decides alone.

use teller_numeric::Stream;

use super::Size;

/// Paints a square of `share` of the shorter side in the image's mean. Its middle is anywhere in
/// the image, so that part of it may be outside.
pub(super) fn cut(size: Size, share: f64, stream: &mut Stream, image: &mut [u8]) {
    let Size { height, width, channels } = size;
    let side = (share * height.min(width) as f64).round() as usize;
    let row = stream.below(height as u32) as usize;
    let column = stream.below(width as u32) as usize;
    if side == 0 {
        return;
    }
    let covered = |middle: usize, len: usize| {
        let first = middle.saturating_sub(side / 2);
        first..(middle + side - side / 2).min(len)
    };
    let (rows, columns) = (covered(row, height), covered(column, width));
    for channel in 0..channels {
        let values = image.iter().skip(channel).step_by(channels);
        let sum: u64 = values.map(|&value| u64::from(value)).sum();
        let pixels = (height * width) as u64;
        let mean = ((sum + pixels / 2) / pixels) as u8;
        for row in rows.clone() {
            for column in columns.clone() {
                image[(row * width + column) * channels + channel] = mean;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_square_becomes_the_mean() {
        let size = Size { height: 8, width: 12, channels: 3 };
        let mut sizes = Vec::new();
        for index in 0..300 {
            let mut image = [0, 100, 250, 20, 100, 252].repeat(48);
            cut(size, 0.5, &mut Stream::new(1, "cutout", index), &mut image);
            let mean = |pixel: &[u8]| pixel == [10, 100, 251];
            let cut: Vec<usize> =
                image.chunks(3).enumerate().filter(|(_, p)| mean(p)).map(|(i, _)| i).collect();
            let (rows, columns) = (
                cut.iter().map(|at| at / 12).collect::<std::collections::BTreeSet<_>>(),
                cut.iter().map(|at| at % 12).collect::<std::collections::BTreeSet<_>>(),
            );
            assert_eq!(cut.len(), rows.len() * columns.len(), "no rectangle");
            assert!(
                image
                    .chunks(3)
                    .filter(|p| !mean(p))
                    .all(|p| p == [0, 100, 250] || p == [20, 100, 252])
            );
            sizes.push((rows.len(), columns.len()));
        }
        assert!(
            sizes
                .iter()
                .all(|&(rows, columns)| (2..=4).contains(&rows) && (2..=4).contains(&columns))
        );
        assert!(sizes.contains(&(4, 4)) && sizes.contains(&(2, 4)) && sizes.contains(&(2, 2)));
    }

    #[test]
    fn the_smallest_images_survive() {
        for share in [0.0, 1.0] {
            let mut image = [7];
            let size = Size { height: 1, width: 1, channels: 1 };
            cut(size, share, &mut Stream::new(1, "cutout", 0), &mut image);
            assert_eq!(image, [7]);
        }
    }
}
