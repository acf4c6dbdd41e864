//! Networks and images for other people's engines, and whether they answer as we do.

use std::path::Path;

use teller_bench::{Folder, Peer};
use teller_nn::{ImageClassifier, ImageDataset};

/// Starts one of the scripts here.
pub(crate) fn start(script: &str, threads: usize, folder: &Folder) -> Option<Peer> {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/engine/peers");
    Peer::start(&scripts, script, threads, folder)
}

pub(crate) fn write_weights(folder: &Folder, classifier: &ImageClassifier) {
    classifier.weights().for_each(|array| folder.write(&array.name, array.values));
}

/// Images as bytes, and the number of each one's label.
pub(crate) fn write_images(folder: &Folder, name: &str, data: &ImageDataset) {
    let rasters: Vec<u8> = (0..data.len()).flat_map(|row| data.raster(row).to_vec()).collect();
    let labels: Vec<u8> = data.targets().iter().map(|&label| label as u8).collect();
    folder.write_bytes(&format!("{name}.u8"), &rasters);
    folder.write_bytes(&format!("{name}.labels"), &labels);
}

/// Ends the bench unless a peer answers as we do: else it would be another network.
pub(crate) fn compare_answers(folder: &Folder, ours: &[f32]) {
    let theirs = folder.read("answers");
    assert_eq!(theirs.len(), ours.len(), "another number of answers");
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert!((ours - theirs).abs() < 1e-4, "{ours} is not {theirs}");
    }
}
