//! Training the reference network with Adam, 32 images a step: how fast, and how well.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use teller_bench::{Folder, Peer, Times, compared, in_turns, title};
use teller_nn::{
    Architecture, Arithmetic, CnnParams, FittedCnn, ImageClassifier, ImageDataset,
    ImageDatasetBuilder, TrainingParams, evaluate, fit,
};
use teller_numeric::{Cancelled, Control, Isa, Step, Stream, Uninterrupted};

use crate::{common, peers, rate};

const IMAGES: usize = 1_600;
const ROUNDS: usize = 12;
const EPOCHS: u32 = 5;
const PEERS: [(&str, &str); 2] = [("Keras", "keras_peer.py"), ("PyTorch", "pytorch_peer.py")];

/// Keeps what an epoch took.
#[derive(Default)]
pub(crate) struct Elapsed(Mutex<Duration>);

impl Elapsed {
    pub(crate) fn seconds(&self) -> f64 {
        self.0.lock().unwrap().as_secs_f64()
    }
}

impl Control for Elapsed {
    fn check(&self) -> Result<(), Cancelled> {
        Ok(())
    }

    fn report(&self, step: Step) {
        *self.0.lock().unwrap() = step.elapsed;
    }
}

/// Images of ten labels in which there is nothing to learn.
pub(crate) fn noise() -> ImageDataset {
    let mut stream = Stream::new(1, "bench", 1);
    let mut builder = ImageDatasetBuilder::new(28, 28, 1);
    for _ in 0..IMAGES {
        let raster: Vec<u8> = (0..784).map(|_| stream.below(256) as u8).collect();
        builder.push(&raster, &stream.below(10).to_string()).unwrap();
    }
    builder.finish().unwrap()
}

fn classifier(fitted: &FittedCnn) -> ImageClassifier {
    let FittedCnn { architecture, normalization, labels, .. } = fitted;
    let weights = Arc::new(fitted.payload());
    let labels = labels.clone();
    ImageClassifier::load(Arithmetic::CURRENT, architecture, normalization, labels, weights)
        .unwrap()
}

/// Operations for one image: every product three times, save the gradient to the pixels.
fn operations(architecture: &Architecture) -> u64 {
    let layers = architecture.profile(Isa::detect(), 10, &Uninterrupted).unwrap();
    let products: u64 = layers.iter().map(|layer| layer.products).sum();
    2 * (3 * products - layers[0].products)
}

pub(crate) fn run(peak: f64) {
    let architecture = Architecture::named("reference").unwrap();
    let params: CnnParams =
        TrainingParams { epochs: 1, validation_fraction: 0.0, ..TrainingParams::default() }.into();
    let data = noise();
    let folder = Folder::new("training");
    peers::write_images(&folder, "sample", &data);
    let begun = classifier(&fit(&architecture, &params, &data, None, &Uninterrupted).unwrap());
    peers::write_weights(&folder, &begun);
    let mut workspace = begun.workspace().unwrap();
    let answers: Vec<f32> = (0..64)
        .flat_map(|row| {
            let raster = data.raster(row);
            begun.probabilities(raster, &mut workspace, &Uninterrupted).unwrap().to_vec()
        })
        .collect();

    title("Learning from one image");
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut ours = || {
            let elapsed = Elapsed::default();
            pool.install(|| fit(&architecture, &params, &data, None, &elapsed)).unwrap();
            elapsed.seconds() / IMAGES as f64
        };
        let peers = PEERS.map(|(name, script)| {
            let peer = peers::start(script, threads, &folder)?;
            peers::compare_answers(&folder, &answers);
            Some((name, peer))
        });
        let [mut keras, mut pytorch] = peers;
        let ask = |peer: &mut Option<(&str, Peer)>| {
            peer.as_mut().map_or(f64::INFINITY, |(_, peer)| peer.ask("rate") / IMAGES as f64)
        };
        let mut first = || ask(&mut keras);
        let [ours_taken, keras_taken] = in_turns(ROUNDS, [&mut ours, &mut first]);
        let mut second = || ask(&mut pytorch);
        let [again, pytorch_taken] = in_turns(ROUNDS, [&mut ours, &mut second]);
        let what = format!("{threads} threads");
        let line = |ours: &Times, name, theirs: &Times| {
            if theirs.fastest().is_finite() {
                compared(&what, ours, name, theirs, 1.0 / 3.0);
            }
        };
        line(&ours_taken, "Keras", &keras_taken);
        line(&again, "PyTorch", &pytorch_taken);
        let fastest = ours_taken.fastest().min(again.fastest());
        let most = peak * threads as f64;
        println!("  {:<28} {:.0} images/s", "which is", 1.0 / fastest);
        rate("and", operations(&architecture), fastest, most);
    }
    accuracy(&architecture, &folder);
}

/// On images not seen, of all in the same run; theirs with their own first weights and defaults.
fn accuracy(architecture: &Architecture, folder: &Folder) {
    let Some([training, held_out]) = common::mnist([55_000, 5_000]) else { return };
    println!("\nShare of images not seen that are told right after {EPOCHS} epochs of MNIST");
    peers::write_images(folder, "training", &training);
    peers::write_images(folder, "held_out", &held_out);
    let params: CnnParams =
        TrainingParams { epochs: EPOCHS, validation_fraction: 0.0, ..TrainingParams::default() }
            .into();
    let fitted = fit(architecture, &params, &training, None, &Uninterrupted).unwrap();
    let found = evaluate(&classifier(&fitted), &held_out, &Uninterrupted).unwrap();
    let (_, accuracy) = found.into_iter().find(|(name, _)| name == "accuracy").unwrap();
    let verdict = if accuracy >= 0.986 { "met" } else { "MISSED" };
    println!("  {:<28} {accuracy:.4}  at least 0.986: {verdict}", "ours");
    // Both at once, each on a core of its own: here no time counts.
    let learn = |script| {
        let mut peer = peers::start(script, 1, folder)?;
        Some(peer.ask(&format!("learn {EPOCHS}")))
    };
    std::thread::scope(|scope| {
        let learning = PEERS.map(|(name, script)| (name, scope.spawn(move || learn(script))));
        for (name, learning) in learning {
            if let Some(accuracy) = learning.join().unwrap() {
                println!("  {name:<28} {accuracy:.4}");
            }
        }
    });
}
