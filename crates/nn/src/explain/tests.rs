//! Explanations of a small network that looks for one thing.

use teller_numeric::{Cancelled, Control, Step, Stream, Uninterrupted};

use super::*;
use crate::{Architecture, CnnParams, ImageDatasetBuilder, fit};

struct Stopped;

impl Control for Stopped {
    fn check(&self) -> Result<(), Cancelled> {
        Err(Cancelled)
    }

    fn report(&self, _: Step) {}
}

const SIDE: usize = 12;

/// Where a lit raster has its bright square of 4 x 4.
fn corner(seed: u64) -> (usize, usize) {
    let seed = seed as usize;
    (seed * 5 % 8, seed * 3 % 7)
}

/// Noise, with a bright square for "lit".
fn raster(seed: u64, lit: bool) -> Vec<u8> {
    let mut stream = Stream::new(seed, "explained rasters", 0);
    let mut raster: Vec<u8> = (0..SIDE * SIDE).map(|_| (stream.next_u64() % 60) as u8).collect();
    if lit {
        let (y, x) = corner(seed);
        for row in raster.chunks_exact_mut(SIDE).skip(y).take(4) {
            row[x..x + 4].fill(230);
        }
    }
    raster
}

fn classifier(layers: serde_json::Value) -> ImageClassifier {
    let architecture = Architecture::from_json(&serde_json::json!({
        "input": {"height": SIDE, "width": SIDE, "channels": 1}, "layers": layers,
    }));
    let mut data = ImageDatasetBuilder::new(SIDE, SIDE, 1);
    for seed in 0..200 {
        let lit = seed % 2 == 0;
        data.push(&raster(seed, lit), if lit { "lit" } else { "plain" }).unwrap();
    }
    let given = serde_json::json!({"epochs": 6});
    let mut options = teller_numeric::Options::new("test", &given).unwrap();
    let params = CnnParams::read(&mut options).unwrap();
    let data = data.finish().unwrap();
    fit(&architecture.unwrap(), &params, &data, None, &Uninterrupted).unwrap().classifier().unwrap()
}

fn convolutional() -> ImageClassifier {
    classifier(serde_json::json!([
        {"type": "conv2d", "filters": 8, "kernel": 3, "activation": "relu"},
        {"type": "max_pool2d", "size": 2, "stride": 2},
        {"type": "conv2d", "filters": 8, "kernel": 3, "padding": "same", "activation": "relu"},
        {"type": "dropout", "rate": 0.2},
        {"type": "flatten"},
        {"type": "dense", "units": "classes"},
        {"type": "softmax"}]))
}

fn mean(values: impl Iterator<Item = f32>) -> f32 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / count
}

#[test]
fn the_heat_is_where_the_label_is_decided() {
    let classifier = convolutional();
    let lit = classifier.labels().iter().position(|label| label == "lit").unwrap();
    let mut workspace = classifier.workspace().unwrap();
    for (name, method) in Method::NAMES {
        let raster = raster(1000, true);
        let heat = classifier.heat(&raster, lit, method, &mut workspace, &Uninterrupted).unwrap();
        assert_eq!((heat.height, heat.width, heat.values.len()), (SIDE, SIDE, SIDE * SIDE));
        let (y, x) = corner(1000);
        let inside =
            |i: usize| (y..y + 4).contains(&(i / SIDE)) && (x..x + 4).contains(&(i % SIDE));
        let values = || heat.values.iter().copied().enumerate();
        let square = mean(values().filter(|(i, _)| inside(*i)).map(|(_, value)| value));
        let rest = mean(values().filter(|(i, _)| !inside(*i)).map(|(_, value)| value));
        assert!(square > 0.0 && square > 2.0 * rest, "{name}: {square} inside, {rest} outside");
        let again = classifier.heat(&raster, lit, method, &mut workspace, &Uninterrupted).unwrap();
        assert_eq!(again, heat, "{name}");
    }
}

#[test]
fn the_picture_is_large_enough_and_hot_where_the_heat_is() {
    let classifier = convolutional();
    let raster = vec![100; SIDE * SIDE];
    let mut heat = Heat { height: SIDE, width: SIDE, values: vec![-1.0; SIDE * SIDE] };
    heat.values[0] = 1.0;
    let png = classifier.heat_png(&raster, &heat, &Uninterrupted).unwrap();
    let picture = image::load_from_memory(&png).unwrap().into_rgb8();
    assert_eq!(picture.dimensions(), (228, 228));
    assert_eq!(picture.get_pixel(227, 227).0, [100; 3]);
    let [red, green, blue] = picture.get_pixel(0, 0).0;
    assert!(red > 180 && green > 180 && blue < 50, "{red} {green} {blue}");
    // Nothing speaks for the label: the plain raster.
    heat.values.fill(0.0);
    let png = classifier.heat_png(&raster, &heat, &Uninterrupted).unwrap();
    let picture = image::load_from_memory(&png).unwrap().into_rgb8();
    assert!(picture.pixels().all(|pixel| pixel.0 == [100; 3]));
}

#[test]
fn what_cannot_be_explained_is_refused() {
    let classifier = convolutional();
    let mut workspace = classifier.workspace().unwrap();
    let raster = raster(1, true);
    for (_, method) in Method::NAMES {
        let short = classifier.heat(&raster[1..], 0, method, &mut workspace, &Uninterrupted);
        assert!(matches!(short, Err(Error::Raster { .. })));
        let beyond = classifier.heat(&raster, 2, method, &mut workspace, &Uninterrupted);
        assert!(matches!(beyond, Err(Error::Labels { .. })));
        let stopped = classifier.heat(&raster, 0, method, &mut workspace, &Stopped);
        assert!(matches!(stopped, Err(Error::Cancelled(_))));
    }
    let flat = self::classifier(serde_json::json!([
        {"type": "flatten"}, {"type": "dense", "units": "classes"}, {"type": "softmax"}]));
    let mut workspace = flat.workspace().unwrap();
    let none = flat.heat(&raster, 0, Method::GradCam, &mut workspace, &Uninterrupted);
    assert_eq!(none, Err(Error::NoConvolution));
    assert!(flat.heat(&raster, 0, Method::Occlusion, &mut workspace, &Uninterrupted).is_ok());
}
