//! The real data that tests read: scans as rows of id, label and PNG as PostgreSQL copies them,
//! customers' questions, and customers' months.

#![allow(dead_code, reason = "each test reads its own")]

pub(crate) mod interrupting;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use teller_nn::{
    ImageDataset, ImageDatasetBuilder, SequenceDataset, SequenceDatasetBuilder, TextDataset,
    TextDatasetBuilder,
};
use teller_numeric::Stream;

/// Where a file of the real data is; `None`, with a word why, where it is absent.
fn found(file: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("TELLER_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")),
        PathBuf::from,
    );
    let path = folder.join(file);
    if !path.exists() {
        println!("skipped: no {}", path.display());
        return None;
    }
    Some(path)
}

/// The lines of a file without its header, in random order, since files may be sorted by label.
pub(crate) fn lines(file: &str) -> Option<Vec<String>> {
    let all = std::fs::read_to_string(found(file)?).unwrap();
    let mut lines: Vec<String> = all.lines().skip(1).map(str::to_owned).collect();
    Stream::new(1, "held out", 0).shuffle(&mut lines);
    Some(lines)
}

/// Of MNIST, datasets of so many images each.
pub(crate) fn mnist<const PARTS: usize>(sizes: [usize; PARTS]) -> Option<[ImageDataset; PARTS]> {
    Some(scans(&found("mnist_train.tsv.gz")?, 28, sizes))
}

/// Of Banking77, datasets of so many questions each, without overlap.
pub(crate) fn questions<const PARTS: usize>(sizes: [usize; PARTS]) -> Option<[TextDataset; PARTS]> {
    let lines = lines("banking77.tsv")?;
    let mut lines = lines.iter().map(String::as_str);
    Some(sizes.map(|size| labelled(lines.by_ref().take(size))))
}

/// Lines of a text and its label.
pub(crate) fn labelled<'a>(lines: impl Iterator<Item = &'a str>) -> TextDataset {
    let mut builder = TextDatasetBuilder::default();
    for line in lines {
        let (text, label) = line.rsplit_once('\t').unwrap();
        builder.push(text, label).unwrap();
    }
    builder.finish().unwrap()
}

/// Of the credit default data, datasets of so many customers each, without overlap: six months and
/// static columns.
pub(crate) fn customers<const PARTS: usize>(
    sizes: [usize; PARTS],
) -> Option<[SequenceDataset; PARTS]> {
    let lines = lines("credit_default.tsv")?;
    let mut lines = lines.iter();
    Some(sizes.map(|size| {
        let mut builder = SequenceDatasetBuilder::new(6);
        for line in lines.by_ref().take(size) {
            let columns: Vec<f32> = line.split('\t').map(|field| field.parse().unwrap()).collect();
            let (months, statics) = months(&columns);
            let label = if columns[24] == 1.0 { "default" } else { "-" };
            builder.push(&months, months.len() / 6, &statics, label).unwrap();
        }
        builder.finish().unwrap()
    }))
}

/// The months, the oldest first, 15 features each, and the static columns.
fn months(columns: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let [limit, sex, education, marriage, age] = columns[1..6].try_into().unwrap();
    let (status, bills, payments) = (&columns[6..12], &columns[12..18], &columns[18..24]);
    let signed_log = |x: f32| x.signum() * (1.0 + x.abs()).ln();
    let mut months = Vec::new();
    for month in (0..6).rev() {
        let (bill, payment) = (bills[month], payments[month]);
        let before = bills.get(month + 1).copied().unwrap_or(bill).max(1.0);
        months.extend([signed_log(bill), signed_log(payment), bill / limit]);
        months.push((payment.max(0.0) / limit).sqrt());
        months.push((payment / before).clamp(0.0, 3.0));
        months.push(status[month]);
        let code = status[month].clamp(-2.0, 6.0);
        months.extend((-2..7).map(|known| f32::from(u8::from(code == known as f32))));
    }
    let one_hot = |value: f32, count: i32| {
        (0..count).map(move |known| f32::from(u8::from(value == known as f32)))
    };
    let mut statics = vec![limit.ln(), age, sex];
    statics.extend(one_hot(education, 7));
    statics.extend(one_hot(marriage, 4));
    (months, statics)
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
