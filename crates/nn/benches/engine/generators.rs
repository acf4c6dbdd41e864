//! Training the generative networks with their defaults beside PyTorch: an autoencoder of 28 x 28
//! pixels and a GAN of such images with ten labels, on one step's batch each, and a GAN of rows of
//! ten numbers, 14 categories of eight values and a label of two.

use std::sync::Arc;

use serde_json::json;
use teller_bench::{Folder, Times, compared, in_turns, title};
use teller_nn::{
    AutoencoderParams, ColumnKind, Examples, GenerationParams, ImageDataset, ImageGanParams,
    Likelihood, Table, TableCell, fit_autoencoder, fit_images, fit_table,
};
use teller_numeric::{Control, Options, Stream};
use teller_payload::Payload;

use crate::peers;
use crate::training::{Elapsed, noise};

const ROWS: usize = 6_400;
const NUMBERS: usize = 10;
const CATEGORIES: usize = 14;
const VALUES: u32 = 8;
const ROUNDS: usize = 6;
/// Theirs takes at least as long.
const GOAL: f64 = 1.0;

/// Trains one epoch, and tells the numbers that it has learned, as many as theirs.
type Train<'a> = Box<dyn Fn(&dyn Control) -> usize + Send + Sync + 'a>;

pub(crate) fn run() {
    let folder = Folder::new("generators_beside");
    let images = noise();
    peers::write_images(&folder, "sample", &images);
    let rows = table(&folder);
    let networks: [(&str, &str, usize, Train<'_>); 3] = [
        ("autoencoder, image", "vae_peer.py", images.len(), autoencoder(&images)),
        ("tabular GAN, row", "table_gan_peer.py", rows.rows(), table_gan(&rows)),
        ("image GAN, image", "image_gan_peer.py", images.len(), image_gan(&images)),
    ];
    title("Learning from one image or row");
    for (what, script, rows, train) in &networks {
        for threads in [1, 2] {
            let what = format!("{what}, {threads} threads");
            let taken = beside(&what, script, (threads, *rows), train, &folder);
            println!("  {:<28} {:.0} a second", "which is", 1.0 / taken.fastest());
        }
    }
}

fn beside(
    what: &str,
    script: &str,
    (threads, rows): (usize, usize),
    train: &Train<'_>,
    folder: &Folder,
) -> Times {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let mut ours = || {
        let elapsed = Elapsed::default();
        pool.install(|| train(&elapsed));
        elapsed.seconds() / rows as f64
    };
    let Some(mut peer) = peers::start(script, threads, folder) else {
        let [ours] = in_turns(ROUNDS, [&mut ours]);
        return ours;
    };
    let (learned, theirs) = (pool.install(|| train(&Elapsed::default())), peer.ask("weights"));
    assert_eq!(learned as f64, theirs, "{what}: another network");
    let mut theirs = || peer.ask("rate") / rows as f64;
    let [ours, theirs] = in_turns(ROUNDS, [&mut ours, &mut theirs]);
    compared(what, &ours, "PyTorch", &theirs, GOAL);
    ours
}

fn autoencoder(images: &ImageDataset) -> Train<'_> {
    let mut params = AutoencoderParams::of(Likelihood::Bernoulli);
    params.training.epochs = 1;
    params.training.validation_fraction = 0.0;
    let mut examples = Examples::pixels(28, 28, 1, u64::MAX);
    (0..images.len()).for_each(|row| examples.push_pixels(images.raster(row)).unwrap());
    Box::new(move |control| {
        let fitted = fit_autoencoder(&params, &examples, None, control).unwrap();
        fitted.autoencoder().unwrap().weights().map(|array| array.values.len()).sum()
    })
}

/// Of the generator, whose critic's are not kept.
fn image_gan(images: &ImageDataset) -> Train<'_> {
    let mut params = ImageGanParams::default();
    params.training.epochs = 1;
    params.training.validation_fraction = 0.0;
    Box::new(move |control| {
        let fitted = fit_images(&params, images, None, control).unwrap();
        fitted.generator().unwrap().weights().map(|array| array.values.len()).sum()
    })
}

/// Of the generator, whose critic's are not kept.
fn table_gan(rows: &Table) -> Train<'_> {
    let given = json!({"epochs": 1, "validation_fraction": 0});
    let mut options = Options::new("tabular_gan", &given).unwrap();
    let params = GenerationParams::read_gan(&mut options).unwrap();
    Box::new(move |control| {
        let fitted = fit_table(&params, rows, Some("label"), None, control).unwrap();
        let payload = Payload::parse(Arc::new(fitted.generator.payload())).unwrap();
        let (weights, _) = payload.array::<f32>("weights").unwrap();
        payload.get(weights).len()
    })
}

/// Numbers of many values, categories and a label, for peers as the networks see them: numbers,
/// places of the values, and labels.
fn table(folder: &Folder) -> Table {
    let numbers = (0..NUMBERS).map(|column| (format!("n{column}"), ColumnKind::Number));
    let categories = (0..CATEGORIES).map(|column| (format!("c{column}"), ColumnKind::Category));
    let label = [("label".to_owned(), ColumnKind::Category)];
    let columns: Vec<_> = numbers.chain(categories).chain(label).collect();
    let mut table = Table::new(columns.iter().map(|(name, kind)| (&**name, *kind)));
    let mut stream = Stream::new(1, "bench", 3);
    let names: Vec<String> = (0..VALUES).map(|value| value.to_string()).collect();
    let (mut seen, mut chosen, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROWS {
        let mut cells = Vec::with_capacity(columns.len());
        for _ in 0..NUMBERS {
            let number = stream.normal() as f32;
            seen.push(number);
            cells.push(TableCell::Number(number.into()));
        }
        for _ in 0..CATEGORIES {
            let value = stream.below(VALUES);
            chosen.push(value);
            cells.push(TableCell::Text(&names[value as usize]));
        }
        let label = stream.below(2);
        labels.push(label);
        cells.push(TableCell::Text(&names[label as usize]));
        table.push(&cells).unwrap();
    }
    folder.write("numbers", &seen);
    folder.write_indexes("choices", &chosen);
    folder.write_indexes("labels", &labels);
    table
}
