//! What every layer must keep, whichever it is.

use proptest::prelude::*;
use teller_numeric::Uninterrupted;

use super::*;

const IMAGES: usize = 5;

fn layers() -> Vec<Box<dyn Layer>> {
    use Padding::{Same, Valid};
    let conv = |image, filters, kernel, stride, padding, relu| -> Box<dyn Layer> {
        Box::new(Conv2d::new(image, filters, kernel, stride, padding, relu).unwrap())
    };
    let grouped = |image, filters, groups, (kernel, stride, dilation), padding| -> Box<dyn Layer> {
        let reach = Reach { kernel, stride, dilation, padding };
        Box::new(GroupedConv2d::new(image, filters, groups, reach).unwrap())
    };
    let transposed = |image, filters, kernel, stride, padding| -> Box<dyn Layer> {
        Box::new(ConvTranspose2d::new(image, filters, kernel, stride, padding).unwrap())
    };
    let pool = |image, size, stride| -> Box<dyn Layer> {
        Box::new(MaxPool2d::new(image, size, stride).unwrap())
    };
    let pooled = |image, filters, kernel, stride, padding, relu| -> Box<dyn Layer> {
        let conv = Conv2d::new(image, filters, kernel, stride, padding, relu).unwrap();
        Box::new(conv.pooled())
    };
    let mean = |image, size, stride| -> Box<dyn Layer> {
        Box::new(AvgPool2d::new(image, size, stride).unwrap())
    };
    let norm = |shape, relu| -> Box<dyn Layer> {
        Box::new(BatchNorm2d { shape, momentum: 0.1, epsilon: 1e-5, relu })
    };
    let image = |height, width, channels| Shape::Image { height, width, channels };
    let curve =
        |curve| -> Box<dyn Layer> { Box::new(Elementwise { shape: Shape::Vector(45), curve }) };
    vec![
        conv((6, 7, 1), 5, 3, 1, Valid, false),
        // By Winograd's transforms: whole tiles, parts of them, several blocks, zeros around.
        conv((6, 8, 16), 16, 3, 1, Valid, false),
        conv((5, 6, 17), 19, 3, 1, Valid, true),
        conv((13, 14, 16), 18, 3, 1, Same, false),
        conv((3, 3, 16), 16, 3, 1, Valid, true),
        conv((1, 1, 16), 16, 3, 1, Same, false),
        pooled((7, 7, 16), 33, 3, 1, Valid, true),
        pooled((5, 7, 18), 16, 3, 1, Same, false),
        pooled((7, 6, 2), 19, 3, 1, Valid, true),
        pooled((6, 5, 3), 5, 2, 1, Same, false),
        pooled((13, 9, 1), 4, 3, 2, Same, true),
        conv((5, 4, 3), 17, 3, 1, Same, true),
        conv((7, 8, 2), 33, 2, 1, Same, false),
        conv((9, 8, 2), 4, 3, 2, Same, true),
        conv((11, 10, 1), 3, 4, 3, Valid, false),
        conv((5, 5, 4), 6, 1, 2, Same, false),
        conv((3, 3, 2), 70, 3, 1, Valid, true),
        grouped((6, 7, 4), 6, 2, (3, 1, 1), Same),
        grouped((7, 6, 5), 5, 5, (3, 2, 1), Same),
        grouped((9, 8, 3), 6, 3, (2, 1, 3), Valid),
        grouped((8, 9, 2), 17, 1, (3, 2, 2), Same),
        transposed((4, 3, 5), 3, 4, 2, Same),
        transposed((3, 4, 2), 17, 3, 2, Valid),
        transposed((5, 4, 30), 1, 5, 2, Same),
        transposed((3, 5, 3), 6, 2, 3, Same),
        transposed((2, 3, 26), 18, 3, 1, Same),
        pool((6, 7, 5), 2, 2),
        pool((7, 7, 19), 3, 2),
        pool((8, 8, 1), 2, 3),
        Box::new(Dense { inputs: 37, units: 10, relu: false }),
        Box::new(Dense { inputs: 20, units: 67, relu: true }),
        curve(Curve::Relu),
        mean((6, 7, 5), 2, 2),
        mean((7, 7, 19), 3, 2),
        mean((8, 8, 1), 2, 3),
        Box::new(AvgPool2d::global((5, 4, 7))),
        curve(Curve::LeakyRelu(0.1)),
        curve(Curve::Gelu),
        curve(Curve::Sigmoid),
        curve(Curve::Tanh),
        Box::new(Dropout { shape: Shape::Vector(40), rate: 0.3, index: 2 }),
        norm(image(5, 4, 3), false),
        norm(image(3, 7, 19), true),
        norm(Shape::Vector(33), false),
        Box::new(Sum { shape: image(3, 4, 5), relu: false }),
        Box::new(Sum { shape: Shape::Vector(50), relu: true }),
    ]
}

/// A layer with weights, inputs, and a loss that is the output times fixed numbers.
struct Trial<'l> {
    layer: &'l dyn Layer,
    kernel: Vec<f32>,
    bias: Vec<f32>,
    /// Running mean and variance.
    statistics: [Vec<f32>; 2],
    input: Vec<f32>,
    /// What the output holds before.
    before: Vec<f32>,
    of_loss: Vec<f32>,
}

#[derive(Clone, Debug, PartialEq)]
struct Gradients {
    input: Vec<f32>,
    /// To what the output holds before, of a layer that adds.
    before: Vec<f32>,
    kernel: Vec<f32>,
    bias: Vec<f32>,
}

impl<'l> Trial<'l> {
    fn new(layer: &'l dyn Layer, seed: u64) -> Self {
        let mut stream = Stream::new(seed, "contract", 0);
        let mut draw =
            |len: usize| -> Vec<f32> { (0..len).map(|_| stream.uniform() * 2.0 - 1.0).collect() };
        let shape = layer.kernel_shape().unwrap_or(vec![0]);
        let last = *shape.last().unwrap();
        let statistics = if layer.batch_norm().is_some() { last } else { 0 };
        Self {
            layer,
            kernel: draw(shape.iter().product()),
            bias: draw(last),
            input: draw(IMAGES * layer.input().len()),
            of_loss: draw(IMAGES * layer.output().len()),
            before: draw(if layer.adds() { IMAGES * layer.output().len() } else { 0 }),
            statistics: [draw(statistics), draw(statistics).iter().map(|x| 0.5 + x * x).collect()],
        }
    }

    fn stored(&self) -> Weights<'_> {
        let [mean, variance] = &self.statistics;
        Weights { kernel: &self.kernel, bias: &self.bias, mean, variance }
    }

    fn pass(isa: Isa, first_image: u64) -> Pass<'static> {
        Pass { isa, control: &Uninterrupted, noise: Some(Noise { seed: 9, first_image }) }
    }

    fn forward(&self, isa: Isa, images: Range<usize>) -> Vec<f32> {
        let mut saved = vec![f32::NAN; IMAGES * self.layer.saved()];
        self.forward_saving(isa, images, &mut saved)
    }

    fn forward_saving(&self, isa: Isa, images: Range<usize>, saved: &mut [f32]) -> Vec<f32> {
        let (input, output) = (self.layer.input().len(), self.layer.output().len());
        let mut prepared = vec![f32::NAN; self.layer.prepared()];
        self.layer.prepare(isa, self.stored(), &mut prepared, None);
        let kernel = if prepared.is_empty() { &self.kernel } else { &prepared };
        let weights = Weights { kernel, ..self.stored() };
        let mut out = vec![f32::NAN; images.len() * output];
        if self.layer.adds() {
            out.copy_from_slice(&self.before[images.start * output..images.end * output]);
        }
        // Whatever a layer before left in the scratch must not matter.
        let mut scratch = vec![f32::NAN; self.layer.scratch()];
        let pass = Self::pass(isa, images.start as u64);
        let saved = Some(&mut saved[..images.len() * self.layer.saved()]);
        let images = &self.input[images.start * input..images.end * input];
        let results = Results { output: &mut out, saved };
        self.layer.forward(&pass, weights, images, results, &mut scratch).unwrap();
        out
    }

    fn loss(&self) -> f64 {
        let output = self.forward(Isa::detect(), 0..IMAGES);
        output.iter().zip(&self.of_loss).map(|(&y, &r)| f64::from(y) * f64::from(r)).sum()
    }

    /// All gradients, the kernel's by `tasks` tasks' rows at a time.
    fn backward(&self, isa: Isa, tasks: usize) -> Gradients {
        let layer = self.layer;
        let mut saved = vec![f32::NAN; IMAGES * layer.saved()];
        let output = self.forward_saving(isa, 0..IMAGES, &mut saved);
        let mut prepared = vec![f32::NAN; layer.prepared()];
        let mut reversed = vec![f32::NAN; layer.reversed()];
        layer.prepare(isa, self.stored(), &mut prepared, Some(&mut reversed));
        let mut d_output = self.of_loss.clone();
        let mut gradients = Gradients {
            input: vec![f32::NAN; self.input.len()],
            before: Vec::new(),
            kernel: vec![f32::NAN; self.kernel.len()],
            bias: vec![f32::NAN; self.bias.len()],
        };
        let mut scratch = vec![f32::NAN; layer.training_scratch()];
        let pass = Self::pass(isa, 0);
        let ends = Ends { input: &self.input, output: &output, saved: &saved };
        let d_input = Some(&mut *gradients.input);
        layer.backward(&pass, &reversed, ends, &mut d_output, d_input, &mut scratch).unwrap();
        if !self.bias.is_empty() {
            let columns = self.bias.len();
            let rows = tasks * layer.task_rows();
            let mut unfinished = vec![f32::NAN; layer.gradient_rows() * columns];
            for (first, part) in (0..).step_by(rows).zip(unfinished.chunks_mut(rows * columns)) {
                let rows = first..first + part.len() / columns;
                let mut scratch = vec![f32::NAN; layer.training_scratch()];
                layer.kernel_gradient(&pass, rows, ends, &d_output, part, &mut scratch).unwrap();
            }
            match unfinished.len() == gradients.kernel.len() {
                true => gradients.kernel = unfinished,
                false => layer.finish_gradient(isa, &unfinished, &mut gradients.kernel),
            }
            bias_gradient(isa, &d_output, &mut gradients.bias);
        }
        if layer.adds() {
            gradients.before = d_output;
        }
        gradients
    }
}

/// A part of a trial that its loss depends on.
type Field = for<'a> fn(&'a mut Trial<'_>) -> &'a mut Vec<f32>;

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn every_output_is_written_and_the_batch_changes_no_bit() {
    for layer in layers() {
        let trial = Trial::new(&*layer, 1);
        let all = trial.forward(Isa::detect(), 0..IMAGES);
        assert!(all.iter().all(|y| y.is_finite()), "{layer:?}");
        let alone: Vec<f32> =
            (0..IMAGES).flat_map(|image| trial.forward(Isa::detect(), image..image + 1)).collect();
        assert_eq!(bits(&all), bits(&alone), "{layer:?}");
    }
}

#[test]
fn every_instruction_set_and_division_of_the_work_gives_the_same_bits() {
    for layer in layers() {
        let trial = Trial::new(&*layer, 2);
        let forward = trial.forward(Isa::SCALAR, 0..IMAGES);
        let backward = trial.backward(Isa::SCALAR, 1000);
        for isa in Isa::available() {
            assert_eq!(bits(&trial.forward(isa, 0..IMAGES)), bits(&forward), "{layer:?}");
            for tasks in 1..4 {
                assert_eq!(trial.backward(isa, tasks), backward, "{layer:?} {}", isa.name());
            }
        }
    }
}

/// Central differences; numbers near a kink, where the slopes on both sides differ, are left out.
#[test]
fn gradients_are_the_slopes_of_the_loss() {
    const STEP: f32 = 1.0 / 128.0;
    for layer in layers() {
        let mut trial = Trial::new(&*layer, 3);
        let gradients = trial.backward(Isa::detect(), 1);
        let fields: [(Field, &[f32]); 4] = [
            (|trial| &mut trial.input, &gradients.input),
            (|trial| &mut trial.before, &gradients.before),
            (|trial| &mut trial.kernel, &gradients.kernel),
            (|trial| &mut trial.bias, &gradients.bias),
        ];
        let middle = trial.loss();
        let (mut checked, mut smooth) = (0, 0);
        for (field, gradient) in fields {
            for index in (0..gradient.len()).step_by(1 + gradient.len() / 60) {
                let before = field(&mut trial)[index];
                field(&mut trial)[index] = before + STEP;
                let up = trial.loss();
                field(&mut trial)[index] = before - STEP;
                let down = trial.loss();
                field(&mut trial)[index] = before;
                checked += 1;
                let (right, left) =
                    ((up - middle) / f64::from(STEP), (middle - down) / f64::from(STEP));
                if (right - left).abs() > 0.01 {
                    continue;
                }
                smooth += 1;
                let (slope, got) = ((right + left) / 2.0, f64::from(gradient[index]));
                assert!((slope - got).abs() < 0.005, "{layer:?}: slope {slope}, gradient {got}");
            }
        }
        assert!(smooth * 2 > checked, "{layer:?}: {smooth} of {checked} could be checked");
    }
}

#[test]
fn a_cancelled_layer_stops() {
    struct Stopped;
    impl Control for Stopped {
        fn check(&self) -> Result<(), Cancelled> {
            Err(Cancelled)
        }
        fn report(&self, _step: teller_numeric::Step) {}
    }
    for layer in layers() {
        let trial = Trial::new(&*layer, 4);
        let pass = Pass { control: &Stopped, ..Trial::pass(Isa::detect(), 0) };
        let weights = trial.stored();
        let mut output = vec![0.0; trial.of_loss.len()];
        let mut scratch = vec![0.0; layer.scratch()];
        let mut prepared = vec![0.0; layer.prepared()];
        layer.prepare(pass.isa, weights, &mut prepared, None);
        let kernel = if prepared.is_empty() { weights.kernel } else { &prepared };
        let weights = Weights { kernel, ..weights };
        let results = Results { output: &mut output, saved: None };
        let stopped = layer.forward(&pass, weights, &trial.input, results, &mut scratch);
        assert_eq!(stopped, Err(Cancelled), "{layer:?}");
    }
}

/// Few of them, or enough for Winograd's transforms.
fn channels() -> impl Strategy<Value = usize> {
    prop_oneof![1..4usize, 16..20usize]
}

proptest! {
    #[test]
    fn convolution_is_its_definition(
        (height, width, channels) in (1..9usize, 1..9usize, channels()),
        (filters, kernel, stride) in (channels(), 1..5usize, 1..4usize),
        same in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let padding = if same { Padding::Same } else { Padding::Valid };
        let layer =
            Conv2d::new((height, width, channels), filters, kernel, stride, padding, false);
        let Some(layer) = layer else {
            prop_assert!(!same && (kernel > height || kernel > width));
            return Ok(());
        };
        let trial = Trial::new(&layer, seed);
        let Shape::Image { height: rows, width: columns, .. } = layer.output() else {
            panic!("no image")
        };
        let before = |input: usize, output: usize| {
            if same { ((output - 1) * stride + kernel).saturating_sub(input) / 2 } else { 0 }
        };
        let (top, left) = (before(height, rows), before(width, columns));
        let output = trial.forward(Isa::detect(), 0..1);
        for y in 0..rows {
            for x in 0..columns {
                for f in 0..filters {
                    let mut sum = f64::from(trial.bias[f]);
                    for (ky, kx) in (0..kernel).flat_map(|ky| (0..kernel).map(move |kx| (ky, kx))) {
                        let (iy, ix) = (y * stride + ky, x * stride + kx);
                        if !(top..top + height).contains(&iy) || !(left..left + width).contains(&ix) {
                            continue;
                        }
                        for c in 0..channels {
                            let at = ((iy - top) * width + ix - left) * channels + c;
                            let weight = ((ky * kernel + kx) * channels + c) * filters + f;
                            sum += f64::from(trial.input[at]) * f64::from(trial.kernel[weight]);
                        }
                    }
                    let got = f64::from(output[(y * columns + x) * filters + f]);
                    prop_assert!((got - sum).abs() < 1e-4, "{got} {sum}");
                }
            }
        }
    }

    #[test]
    fn groups_and_dilation_are_a_kernel_with_zeros(
        (height, width, groups) in (1..9usize, 1..9usize, 1..4usize),
        (channels, filters) in (1..4usize, 1..4usize),
        (kernel, stride, dilation) in (1..4usize, 1..4usize, 1..4usize),
        same in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let padding = if same { Padding::Same } else { Padding::Valid };
        let (image, all) = ((height, width, channels * groups), filters * groups);
        let covered = (kernel - 1) * dilation + 1;
        let reach = Reach { kernel, stride, dilation, padding };
        let Some(layer) = GroupedConv2d::new(image, all, groups, reach) else {
            prop_assert!(!same && (covered > height || covered > width));
            return Ok(());
        };
        let trial = Trial::new(&layer, seed);
        let plain = Conv2d::new(image, all, covered, stride, padding, false).unwrap();
        prop_assert_eq!(layer.output(), plain.output());
        let mut zeros = vec![0.0; covered * covered * channels * groups * all];
        for (at, &weight) in trial.kernel.iter().enumerate() {
            let (row, filter) = (at / all, at % all);
            let (tap, channel) = (row / channels, row % channels);
            let place = tap / kernel * dilation * covered + tap % kernel * dilation;
            let channel = filter / filters * channels + channel;
            zeros[(place * channels * groups + channel) * all + filter] = weight;
        }
        let output = trial.forward(Isa::detect(), 0..2);
        let expected = Trial { layer: &plain, kernel: zeros, ..Trial::new(&layer, seed) };
        for (got, expected) in output.iter().zip(expected.forward(Isa::detect(), 0..2)) {
            prop_assert!((got - expected).abs() < 1e-4, "{got} {expected}");
        }
    }

    #[test]
    fn transposed_convolution_is_its_definition(
        (height, width, channels) in (1..6usize, 1..6usize, 1..4usize),
        (filters, kernel, stride) in (1..4usize, 1..6usize, 1..4usize),
        same in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let padding = if same { Padding::Same } else { Padding::Valid };
        let layer =
            ConvTranspose2d::new((height, width, channels), filters, kernel, stride, padding);
        let layer = layer.unwrap();
        let trial = Trial::new(&layer, seed);
        let (rows, columns, before) = match same {
            true => (height * stride, width * stride, kernel.saturating_sub(stride) / 2),
            false => ((height - 1) * stride + kernel, (width - 1) * stride + kernel, 0),
        };
        prop_assert_eq!(layer.input(), Shape::Image { height, width, channels });
        let shape = Shape::Image { height: rows, width: columns, channels: filters };
        prop_assert_eq!(layer.output(), shape);
        let mut sums: Vec<f64> =
            (0..shape.len()).map(|at| f64::from(trial.bias[at % filters])).collect();
        for at in 0..height * width * kernel * kernel {
            let (pixel, tap) = (at / (kernel * kernel), at % (kernel * kernel));
            let y = (pixel / width * stride + tap / kernel).checked_sub(before);
            let x = (pixel % width * stride + tap % kernel).checked_sub(before);
            let (Some(y), Some(x)) = (y.filter(|&y| y < rows), x.filter(|&x| x < columns)) else {
                continue;
            };
            for (c, f) in (0..channels).flat_map(|c| (0..filters).map(move |f| (c, f))) {
                let value = f64::from(trial.input[pixel * channels + c]);
                let weight = f64::from(trial.kernel[(tap * channels + c) * filters + f]);
                sums[(y * columns + x) * filters + f] += value * weight;
            }
        }
        for (got, sum) in trial.forward(Isa::detect(), 0..1).iter().zip(sums) {
            prop_assert!((f64::from(*got) - sum).abs() < 1e-4, "{got} {sum}");
        }
    }

    #[test]
    fn fused_pooling_is_convolution_and_pooling(
        (height, width, channels) in (4..12usize, 4..12usize, channels()),
        (filters, kernel, stride) in (1..40usize, 1..4usize, 1..3usize),
        (same, relu) in any::<(bool, bool)>(),
        seed in any::<u64>(),
    ) {
        let padding = if same { Padding::Same } else { Padding::Valid };
        let new = || Conv2d::new((height, width, channels), filters, kernel, stride, padding, relu);
        let layer = new().unwrap();
        let Shape::Image { height: rows, width: columns, .. } = layer.output() else {
            panic!("no image")
        };
        prop_assume!(rows >= 2 && columns >= 2);
        let trial = Trial::new(&layer, seed);
        let pool = MaxPool2d::new((rows, columns, filters), 2, 2).unwrap();
        let conv = trial.forward(Isa::detect(), 0..2);
        let pooling = Trial { input: conv, ..Trial::new(&pool, 0) };
        let apart = pooling.forward(Isa::detect(), 0..2);
        let fused = new().unwrap().pooled();
        prop_assert_eq!(fused.output(), pool.output());
        for isa in Isa::available() {
            let fused = Trial { layer: &fused, ..Trial::new(&layer, seed) }.forward(isa, 0..2);
            prop_assert_eq!(bits(&fused), bits(&apart));
        }
    }
}
