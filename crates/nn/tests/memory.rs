//! What a training of images is said to take, beside what it takes at its peak.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use teller_bench::{Memory, each_in_a_process};
use teller_nn::{
    ImageDataset, ImageDatasetBuilder, ImageGanParams, TrainingParams, fit_images, image_gan_memory,
};
use teller_numeric::{Cancelled, CheckpointBytes, Control, Moment, Step, Stream};

/// Makes checkpoints.
struct Keeper;

impl Control for Keeper {
    fn check(&self) -> Result<(), Cancelled> {
        Ok(())
    }

    fn report(&self, _step: Step) {}

    fn checkpoint(&self, _moment: Moment, state: &dyn Fn() -> Option<CheckpointBytes>) {
        assert!(state().is_some());
    }
}

fn noise(count: u32, side: usize) -> ImageDataset {
    let mut stream = Stream::new(3, "noise", 0);
    let mut builder = ImageDatasetBuilder::new(side, side, 1);
    for row in 0..count {
        let raster: Vec<u8> = (0..side * side).map(|_| stream.below(256) as u8).collect();
        builder.push(&raster, ["a", "b"][row as usize % 2]).unwrap();
    }
    builder.finish_for_evaluation().unwrap()
}

/// Large batches, large networks, many images: what each of them takes is most of it.
const CASES: [(u32, usize, usize, usize); 3] =
    [(650, 28, 16, 600), (40, 16, 160, 16), (60_000, 12, 4, 256)];

#[test]
fn a_training_takes_what_is_said_and_not_much_less() {
    each_in_a_process(CASES.len(), |case| measure(CASES[case]));
}

fn measure((images, side, filters, batch_size): (u32, usize, usize, usize)) {
    let before = Memory::now();
    let data = noise(images, side);
    if !Memory::count_anew() {
        return;
    }
    let usual = ImageGanParams::default();
    let training = TrainingParams { epochs: 1, batch_size, ..usual.training };
    let params = ImageGanParams { training, filters, ..usual };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let fitted = pool.install(|| fit_images(&params, &data, None, &Keeper).unwrap());
    let taken = before.peak_above();
    drop(fitted);
    let needed = image_gan_memory(&params, &data, images.into()).unwrap();
    println!("{images} of {side} x {side}, {filters} filters: {taken} of {needed}");
    assert!(taken <= needed && needed <= 3 * taken, "{filters} filters: {taken} of {needed}");
}
