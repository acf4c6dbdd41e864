//! Every layer of every network in `models/`, by itself: none may fall off a cliff.

use std::path::Path;

use teller_nn::{Architecture, LayerProfile};
use teller_numeric::{Isa, Uninterrupted};

const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models");
/// Least part of the reference's rate: a convolution of that of the whole network, a dense layer,
/// which waits for its weights, of that of the network's own.
const GOAL: f64 = 0.5;

/// Operations a second of the reference network.
struct Reference {
    all: f64,
    dense: f64,
}

fn rate(layer: &LayerProfile) -> f64 {
    2.0 * layer.products as f64 / layer.forward
}

fn is_dense(layer: &LayerProfile) -> bool {
    layer.name.ends_with("dense")
}

/// Operations a second of a whole network when serving.
fn serving(layers: &[LayerProfile]) -> f64 {
    let products: u64 = layers.iter().map(|layer| layer.products).sum();
    2.0 * products as f64 / layers.iter().map(|layer| layer.forward).sum::<f64>()
}

pub(crate) fn run(peak: f64) {
    let profile = |path: &Path| {
        let json = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let architecture = Architecture::from_json(&json).unwrap();
        architecture.profile(Isa::detect(), 10, &Uninterrupted).unwrap()
    };
    let layers = profile(&Path::new(MODELS).join("reference.json"));
    let dense = layers.iter().find(|layer| is_dense(layer)).unwrap();
    let reference = Reference { all: serving(&layers), dense: rate(dense) };
    let mut models: Vec<_> =
        std::fs::read_dir(MODELS).unwrap().map(|entry| entry.unwrap().path()).collect();
    models.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    models.sort();
    for path in models {
        let layers = profile(&path);
        let all: f64 = layers.iter().map(|layer| layer.forward).sum();
        println!(
            "\n{:<24} {:>9} {:>10} {:>6} {:>8} {:>8}   {:>18} {:>18}",
            path.file_stem().unwrap().display(),
            "kFLOP",
            "us",
            "share",
            "GFLOP/s",
            "of ref.",
            "its gradient to x",
            "to the kernel"
        );
        for layer in &layers {
            line(layer, all, &reference);
        }
        let rate = serving(&layers);
        let (relative, part) = (rate / reference.all, rate / peak);
        println!(
            "  {:<22} {:>9} {:>10.2} {:>6} {:>8.1} {relative:>8.2}   {:.0} % of the peak",
            "all",
            "",
            all * 1e6,
            "",
            rate / 1e9,
            100.0 * part
        );
    }
}

fn line(layer: &LayerProfile, all: f64, reference: &Reference) {
    let operations = 2.0 * layer.products as f64;
    let share = format!("{:.0} %", 100.0 * layer.forward / all);
    if layer.products == 0 {
        println!(
            "  {:<22} {:>9} {:>10.2} {share:>6} {:>8} {:>8}   {:>15.2} us",
            layer.name,
            "",
            layer.forward * 1e6,
            "",
            "",
            layer.backward * 1e6
        );
        return;
    }
    let relative = rate(layer) / if is_dense(layer) { reference.dense } else { reference.all };
    let of = |seconds: f64| format!("{:.1} GFLOP/s", operations / seconds / 1e9);
    println!(
        "  {:<22} {:>9.1} {:>10.2} {share:>6} {:>8.1} {relative:>8.2}   {:>18} {:>18} {}",
        layer.name,
        operations / 1e3,
        layer.forward * 1e6,
        rate(layer) / 1e9,
        of(layer.backward),
        of(layer.gradient),
        if relative >= GOAL { "" } else { "MISSED" },
    );
}
