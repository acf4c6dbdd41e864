//! Training the reference network with Adam, 32 images a step.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use teller_nn::{Architecture, CnnParams, ImageDataset, ImageDatasetBuilder, fit};
use teller_numeric::{Cancelled, Control, Step, Stream};

use crate::peers::Peer;
use crate::{in_turns, report};

const IMAGES: usize = 1_600;
const ROUNDS: usize = 15;

/// Keeps what an epoch took.
struct Elapsed(Mutex<Duration>);

impl Control for Elapsed {
    fn check(&self) -> Result<(), Cancelled> {
        Ok(())
    }

    fn report(&self, step: Step) {
        *self.0.lock().unwrap() = step.elapsed;
    }
}

fn noise() -> ImageDataset {
    let mut stream = Stream::new(1, "bench", 1);
    let mut builder = ImageDatasetBuilder::new(28, 28, 1);
    for _ in 0..IMAGES {
        let raster: Vec<u8> = (0..784).map(|_| stream.below(256) as u8).collect();
        builder.push(&raster, &stream.below(10).to_string()).unwrap();
    }
    builder.finish().unwrap()
}

pub(crate) fn run(python: Option<&Path>) {
    let architecture = Architecture::named("reference").unwrap();
    let params = CnnParams { epochs: 1, validation_fraction: 0.0, ..CnnParams::default() };
    let data = noise();
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let ours = || {
            let elapsed = Elapsed(Mutex::default());
            pool.install(|| fit(&architecture, &params, &data, None, &elapsed)).unwrap();
            elapsed.0.into_inner().unwrap().as_secs_f64() / IMAGES as f64
        };
        let mut peer =
            python.map(|python| Peer::start(python, "keras_peer.py", &threads.to_string()));
        let theirs = peer.as_mut().map(|peer| || peer.measure(IMAGES) / IMAGES as f64);
        let times = in_turns(ROUNDS, ours, theirs);
        report(&format!("learning, {threads} threads (us)"), &times, 1e6, 1.0 / 3.0);
    }
}
