//! The Fréchet distance between two sets of points as if both were normally distributed (Heusel et
//! al. 2017).

use teller_numeric::{Control, eigen};

use crate::{Error, Shape};

/// Rows and columns of an image that is compared.
pub(super) const SIDE: usize = 8;

/// `|mean a - mean b|^2 + tr(A + B - 2 (A B)^(1/2))`, with the covariances `A` and `B` of the rows
/// of `a` and `b`, of `width` numbers each. There must be two rows of each.
pub fn frechet_distance(
    a: &[f32],
    b: &[f32],
    width: usize,
    control: &dyn Control,
) -> Result<f64, Error> {
    let ([mean_a, of_a], [mean_b, of_b]) = (moments(a, width), moments(b, width));
    let apart: f64 = mean_a.iter().zip(&mean_b).map(|(a, b)| (a - b) * (a - b)).sum();
    let trace = |matrix: &[f64]| matrix.iter().step_by(width + 1).sum::<f64>();
    // A B has the eigenvalues of R B R, where R R = A.
    let (values, vectors) = eigen(of_a.clone(), width, control)?;
    let mut root = vec![0.0; width * width];
    for (place, to) in root.iter_mut().enumerate() {
        let (i, j) = (place / width, place % width);
        let term = |k: usize| {
            libm::sqrt(values[k].max(0.0)) * vectors[i * width + k] * vectors[j * width + k]
        };
        *to = (0..width).map(term).sum();
    }
    let product = multiply(&multiply(&root, &of_b, width), &root, width);
    let (values, _) = eigen(product, width, control)?;
    let common: f64 = values.iter().map(|value| libm::sqrt(value.max(0.0))).sum();
    Ok((apart + trace(&of_a) + trace(&of_b) - 2.0 * common).max(0.0))
}

fn multiply(a: &[f64], b: &[f64], n: usize) -> Vec<f64> {
    let term = |place: usize| (0..n).map(|k| a[place / n * n + k] * b[k * n + place % n]).sum();
    (0..n * n).map(term).collect()
}

/// Mean and covariance of the rows.
fn moments(rows: &[f32], width: usize) -> [Vec<f64>; 2] {
    let count = (rows.len() / width) as f64;
    let mut mean = vec![0.0; width];
    for row in rows.chunks_exact(width) {
        mean.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x) / count);
    }
    let mut covariance = vec![0.0; width * width];
    for row in rows.chunks_exact(width) {
        let off: Vec<f64> = row.iter().zip(&mean).map(|(&x, mean)| f64::from(x) - mean).collect();
        for (to, x) in covariance.chunks_exact_mut(width).zip(&off) {
            to.iter_mut().zip(&off).for_each(|(to, y)| *to += x * y / (count - 1.0));
        }
    }
    [mean, covariance]
}

/// The means of an image's values over the squares of a grid.
pub(super) fn shrunk(shape: Shape, image: &[f32]) -> Vec<f32> {
    let (height, width, channels) = match shape {
        Shape::Image { height, width, channels } => (height, width, channels),
        Shape::Vector(len) => (1, len, 1),
    };
    // A grid finer than the image has a pixel in several squares.
    let part = |side: usize, place: usize| {
        let first = place * side / SIDE;
        first..((place + 1) * side).div_ceil(SIDE).max(first + 1)
    };
    let square = |place: usize| {
        let (rows, columns) = (part(height, place / SIDE), part(width, place % SIDE));
        let count = rows.len() * columns.len() * channels;
        let row =
            |y: usize| &image[(y * width + columns.start) * channels..][..columns.len() * channels];
        rows.flat_map(row).sum::<f32>() / count as f32
    };
    (0..SIDE * SIDE).map(square).collect()
}

#[cfg(test)]
mod tests {
    use teller_numeric::{Stream, Uninterrupted};

    use super::*;

    fn rows(stretch: [f32; 3], shift: f32) -> Vec<f32> {
        let mut stream = Stream::new(1, "rows", 0);
        let row = |_| stretch.map(|by| by * stream.normal() as f32 + shift);
        (0..20_000).flat_map(row).collect()
    }

    #[test]
    fn the_distance_of_normal_clouds_is_known() {
        let distance = |a: &[f32], b: &[f32]| frechet_distance(a, b, 3, &Uninterrupted).unwrap();
        let a = rows([1.0, 2.0, 0.0], 0.0);
        assert!(distance(&a, &a) < 1e-9);
        // Of axes alike: the squares of the differences of means and of deviations.
        let b = rows([3.0, 1.0, 0.5], 2.0);
        let expected = 3.0 * 4.0 + 4.0 + 1.0 + 0.25;
        assert!((distance(&a, &b) - expected).abs() < 0.3, "{}", distance(&a, &b));
        assert!((distance(&a, &b) - distance(&b, &a)).abs() < 1e-6);
    }

    #[test]
    fn what_is_turned_is_apart_though_every_axis_is_alike() {
        let mut stream = Stream::new(2, "rows", 0);
        let mut tied = |sign: f32| -> Vec<f32> {
            (0..20_000)
                .flat_map(|_| {
                    let x = stream.normal() as f32;
                    [x, sign * x]
                })
                .collect()
        };
        let (a, b) = (tied(1.0), tied(-1.0));
        let distance = frechet_distance(&a, &b, 2, &Uninterrupted).unwrap();
        assert!((distance - 4.0).abs() < 0.1, "{distance}");
    }

    #[test]
    fn an_image_is_shrunk_by_means() {
        let shape = Shape::Image { height: 16, width: 24, channels: 2 };
        let image: Vec<f32> = (0..16 * 24 * 2).map(|at| (at / 48) as f32).collect();
        let small = shrunk(shape, &image);
        assert_eq!(small.len(), 64);
        assert_eq!((small[0], small[7], small[8], small[63]), (0.5, 0.5, 2.5, 14.5));
        let shape = Shape::Image { height: 2, width: 4, channels: 1 };
        let small = shrunk(shape, &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        assert_eq!((small[0], small[2], small[63]), (0.0, 1.0, 7.0));
    }
}
