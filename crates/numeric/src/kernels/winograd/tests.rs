use super::*;
use crate::Stream;

const CHANNELS: usize = 19;
const SIDE: Extent = Extent { height: 7, width: 10 };

fn floats(count: usize, seed: u64) -> Vec<f32> {
    let mut stream = Stream::new(seed, "winograd", 0);
    (0..count).map(|_| stream.uniform() * 2.0 - 1.0).collect()
}

fn tiles(across: usize) -> Tiles {
    Tiles { across, channels: CHANNELS, position: 8 * CHANNELS + 3 }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// Transforms of all kinds on one path; the tiles are 2 x 4, the last pixels of no image.
fn all(isa: Isa) -> [Vec<f32>; 9] {
    let shape = tiles(4);
    let image = floats(SIDE.height * SIDE.width * CHANNELS, 1);
    let len = 16 * shape.position;
    let mut transformed = vec![9.0; len];
    shape.input(isa, 0..8, 0..4, SIDE, &image, &mut transformed);
    let mut back = image.clone();
    shape.input_gradient(isa, 0..8, SIDE, &transformed, &mut back);
    let mut maxima = vec![9.0; 8 * CHANNELS];
    let mut winners = maxima.clone();
    let output = Output { values: &mut maxima, winners: Some(&mut winners) };
    shape.output(isa, 0..8, Side::Pooled, true, &transformed, output);
    let extent = Extent { height: 3, width: 7 };
    let mut pixels = vec![9.0; 3 * 7 * CHANNELS];
    let output = Output { values: &mut pixels, winners: None };
    shape.output(isa, 0..8, Side::Pixels(extent), false, &transformed, output);
    let mut of_pixels = vec![9.0; len];
    let side = Side::Pixels(extent);
    shape.output_gradient(isa, 0..8, 0..4, side, &pixels, &[], &mut of_pixels);
    let mut of_maxima = vec![9.0; len];
    let side = Side::Pooled;
    shape.output_gradient(isa, 0..8, 0..4, side, &maxima, &winners, &mut of_maxima);
    let mut kernels = vec![9.0; 16 * 37];
    kernel(isa, &floats(9 * 37, 2), &mut kernels);
    let mut gradient = vec![9.0; 9 * 37];
    kernel_gradient(isa, &kernels, &mut gradient);
    [transformed, back, maxima, winners, pixels, of_pixels, of_maxima, kernels, gradient]
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    let bits = |isa| all(isa).map(|array| array.iter().map(|x| x.to_bits()).collect::<Vec<_>>());
    for isa in Isa::available() {
        assert_eq!(bits(isa), bits(Isa::SCALAR), "{}", isa.name());
    }
}

#[test]
fn a_part_of_the_tiles_or_rows_is_a_part_of_the_transform() {
    let (isa, shape) = (Isa::detect(), tiles(4));
    let image = floats(SIDE.height * SIDE.width * CHANNELS, 1);
    let [whole, ..] = all(isa);
    for row in 0..4 {
        let mut part = vec![9.0; 4 * shape.position];
        shape.input(isa, 3..7, row..row + 1, SIDE, &image, &mut part);
        for column in 0..4 {
            let at = (4 * row + column) * shape.position + 3 * CHANNELS;
            let from = column * shape.position;
            assert_eq!(part[from..][..4 * CHANNELS], whole[at..][..4 * CHANNELS]);
        }
    }
}

/// One channel, one filter, one tile: products at the 16 positions are the convolution.
#[test]
fn transforms_and_products_convolve() {
    let shape = Tiles { across: 1, channels: 1, position: 1 };
    let extent = Extent { height: 4, width: 4 };
    let (image, weights) = (floats(16, 3), floats(9, 4));
    let (mut input, mut transformed) = ([0.0; 16], [0.0; 16]);
    shape.input(Isa::detect(), 0..1, 0..4, extent, &image, &mut input);
    kernel(Isa::detect(), &weights, &mut transformed);
    let products: Vec<f32> = input.iter().zip(&transformed).map(|(a, b)| a * b).collect();
    let mut values = [0.0; 4];
    let side = Side::Pixels(Extent { height: 2, width: 2 });
    let output = Output { values: &mut values, winners: None };
    shape.output(Isa::detect(), 0..1, side, false, &products, output);
    for (at, got) in values.iter().enumerate() {
        let (y, x) = (at / 2, at % 2);
        let exact: f32 = (0..9).map(|k| image[(y + k / 3) * 4 + x + k % 3] * weights[k]).sum();
        assert!((got - exact).abs() < 1e-5, "{got} {exact}");
    }
}

/// `<T x, y> = <x, T' y>` for each transform and its gradient.
#[test]
fn gradients_are_the_transposes() {
    let (isa, shape) = (Isa::detect(), Tiles { position: 8 * CHANNELS, ..tiles(4) });
    let image = floats(SIDE.height * SIDE.width * CHANNELS, 1);
    let y = floats(16 * shape.position, 5);
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-3 * a.abs().max(1.0), "{a} {b}");

    let mut transformed = vec![0.0; y.len()];
    shape.input(isa, 0..8, 0..4, SIDE, &image, &mut transformed);
    let mut back = vec![0.0; image.len()];
    shape.input_gradient(isa, 0..8, SIDE, &y, &mut back);
    close(dot(&transformed, &y), dot(&image, &back));

    let extent = Extent { height: 3, width: 7 };
    let pixels = floats(3 * 7 * CHANNELS, 6);
    let mut values = vec![0.0; pixels.len()];
    let output = Output { values: &mut values, winners: None };
    shape.output(isa, 0..8, Side::Pixels(extent), false, &y, output);
    let mut back = vec![0.0; y.len()];
    shape.output_gradient(isa, 0..8, 0..4, Side::Pixels(extent), &pixels, &[], &mut back);
    close(dot(&values, &pixels), dot(&y, &back));

    let (weights, y) = (floats(9 * 37, 7), floats(16 * 37, 8));
    let (mut transformed, mut back) = (vec![0.0; y.len()], vec![0.0; weights.len()]);
    kernel(isa, &weights, &mut transformed);
    kernel_gradient(isa, &y, &mut back);
    close(dot(&transformed, &y), dot(&weights, &back));
}

#[test]
#[should_panic(expected = "reach beyond")]
fn tiles_beyond_the_image_are_refused() {
    let shape = tiles(4);
    let image = floats(SIDE.height * SIDE.width * CHANNELS, 1);
    let mut to = vec![0.0; 16 * shape.position];
    shape.input(Isa::detect(), 4..9, 0..4, SIDE, &image, &mut to);
}

#[test]
#[should_panic(expected = "floats of tiles")]
fn a_short_buffer_for_tiles_is_refused() {
    let shape = tiles(4);
    let image = floats(SIDE.height * SIDE.width * CHANNELS, 1);
    let mut to = vec![0.0; 15 * shape.position];
    shape.input(Isa::detect(), 0..8, 0..4, SIDE, &image, &mut to);
}
