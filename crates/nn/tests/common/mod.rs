//! The real scans that tests read: rows of id, label and PNG as PostgreSQL copies them.

#![allow(dead_code, reason = "each test reads its own")]

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use teller_nn::{ImageDataset, ImageDatasetBuilder};
use teller_numeric::Stream;

/// Of MNIST, datasets of so many images each; `None`, with a word why, where the data is absent.
pub(crate) fn mnist<const PARTS: usize>(sizes: [usize; PARTS]) -> Option<[ImageDataset; PARTS]> {
    let folder = std::env::var_os("TELLER_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")),
        PathBuf::from,
    );
    let path = folder.join("mnist_train.tsv.gz");
    if !path.exists() {
        println!("skipped: no {}", path.display());
        return None;
    }
    Some(scans(&path, 28, sizes))
}

/// Datasets of so many square images each, drawn at random without overlap, since files may be
/// sorted by label.
pub(crate) fn scans<const PARTS: usize>(
    path: &Path,
    side: usize,
    sizes: [usize; PARTS],
) -> [ImageDataset; PARTS] {
    let lines = BufReader::new(GzDecoder::new(File::open(path).unwrap())).lines();
    let mut lines: Vec<String> = lines.map(|line| line.unwrap()).collect();
    Stream::new(1, "mnist parts", 0).shuffle(&mut lines);
    let mut lines = lines.iter();
    sizes.map(|size| dataset(lines.by_ref().take(size), side))
}

fn dataset<'l>(lines: impl Iterator<Item = &'l String>, side: usize) -> ImageDataset {
    let mut builder = ImageDatasetBuilder::new(side, side, 1);
    for line in lines {
        let mut fields = line.split('\t').skip(1);
        let label = fields.next().unwrap();
        let hex = fields.next().unwrap().trim_start_matches("\\\\x").as_bytes();
        let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
        let png: Vec<u8> = hex.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect();
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
        let mut raster = vec![0; side * side];
        reader.next_frame(&mut raster).unwrap();
        builder.push(&raster, label).unwrap();
    }
    builder.finish().unwrap()
}
