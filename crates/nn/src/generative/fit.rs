//! The training of generators of table rows.

use teller_numeric::{Control, Isa, Stream};
use teller_payload::{SharedBytes, TrainingKey};

use super::affine::Work;
use super::gan::{self, GanLearner, GanNet, GanSampler};
use super::generator::TableGenerator;
use super::params::GenerationParams;
use super::report::Report;
use super::sampler::{Draw, Sampler};
use super::table::{Encoded, Margins, Table, TableEncoding, TableError};
use super::vae::{self, VaeLearner, VaeNet, VaeSampler};
use crate::Error;
use crate::fitted::Epoch;
use crate::training::{Course, REVISION, Split, memory_of_state, stratified};

/// The fewest rows that are learned from.
const FEWEST_ROWS: usize = 100;
/// Raw rows of each label by which the margins are brought home.
const MARGIN_ROWS: usize = 8192;

/// What [`fit_table`] gives.
#[derive(Clone, Debug)]
pub struct FittedTable {
    /// Makes rows.
    pub generator: TableGenerator,
    /// All epochs that were run.
    pub epochs: Vec<Epoch>,
    /// Rows learned from.
    pub training_rows: u64,
    /// How near its rows are to the real ones, and how near to single ones of them.
    pub report: Report,
}

impl FittedTable {
    /// Its figures, for the version's manifest.
    pub fn metrics(&self) -> Vec<(String, f64)> {
        let loss = self.epochs.last().map_or(0.0, |epoch| epoch.loss);
        let training = [
            ("epochs", self.epochs.len() as f64),
            ("training_rows", self.training_rows as f64),
            ("training_loss", loss),
        ];
        let training = training.map(|(name, value)| (name.to_owned(), value));
        training.into_iter().chain(self.report.metrics()).collect()
    }
}

/// Trains a generator of rows like those of `table` on the threads of the ambient rayon pool,
/// reporting a step for every epoch. Rows depend on the column `label` where one is named.
///
/// The same table, with its rows in the same order, and the same parameters give the same
/// generator, bit by bit, also when the training goes on from a checkpoint (`resume`) that an
/// earlier call with the same arguments offered to its control.
pub fn fit_table(
    params: &GenerationParams,
    table: &Table,
    label: Option<&str>,
    resume: Option<SharedBytes>,
    control: &dyn Control,
) -> Result<FittedTable, Error> {
    let isa = Isa::detect();
    let training = params.training();
    if table.rows() < FEWEST_ROWS {
        let (got, expected) = (table.rows(), FEWEST_ROWS);
        return Err(TableError::FewRows { got, expected }.into());
    }
    let all: Vec<u32> = (0..table.rows() as u32).collect();
    let label_column = table.label(label)?;
    let whole = TableEncoding::of(table, label_column, &all)?;
    let labels = whole.labels_of(table, &all);
    let apart = stratified(&labels, whole.labels(), training.validation_fraction, training.seed);
    let encoding = TableEncoding::of(table, label_column, &apart.training)?;
    let data = encoding.encode(table, &apart.training, training.seed, control)?;

    let learned = Split { training: (0..data.labels.len() as u32).collect(), validation: vec![] };
    let asked = format!("table {REVISION} {params:?} {label:?}");
    let key = TrainingKey::new(&asked, table.digest(control)?);
    let course = Course { params: training, split: &learned, key };
    let (sampler, epochs) = match params {
        GenerationParams::Vae(vae) => {
            let net = VaeNet::new(&encoding, vae);
            let learner = VaeLearner::new(isa, &net, &encoding, vae, &data)?;
            let trained = course.run(learner, resume, control)?;
            let weights = &trained.weights;
            let sampler = VaeSampler::new(isa, &net, weights, &encoding, vae, &data, control)?;
            (Sampler::Vae(sampler), trained.epochs)
        }
        GenerationParams::Gan(gan) => {
            let net = GanNet::new(&encoding, gan);
            let learner = GanLearner::new(isa, &net, &encoding, gan, &data)?;
            let trained = course.run(learner, resume, control)?;
            let weights = &trained.weights;
            let sampler = GanSampler::new(isa, &net, weights, &encoding, gan, &data, control)?;
            (Sampler::Gan(sampler), trained.epochs)
        }
    };
    let learned = (table, &*apart.training, &data);
    let margins = settle(&sampler, &encoding, learned, training.seed, control)?;
    let generator = TableGenerator { encoding, sampler, margins };
    let report = Report::new(&generator, table, &apart, training.seed, control)?;
    let training_rows = apart.training.len() as u64;
    Ok(FittedTable { generator, epochs, training_rows, report })
}

/// Bytes that [`fit_table`] and one checkpoint of it hold at most, beside the table.
pub fn table_memory_needed(
    params: &GenerationParams,
    table: &Table,
    label: Option<&str>,
) -> Result<u64, Error> {
    let rows = table.rows();
    let all: Vec<u32> = (0..rows as u32).collect();
    let encoding = TableEncoding::of(table, table.label(label)?, &all)?;
    let (floats_of_a_row, weights) = match params {
        GenerationParams::Vae(vae) => {
            (vae::floats_of_a_row(&encoding, vae), VaeNet::new(&encoding, vae).weights)
        }
        GenerationParams::Gan(gan) => {
            let net = GanNet::new(&encoding, gan);
            (gan::floats_of_a_row(&net, &encoding), net.weights())
        }
    };
    let training = params.training();
    let batch = training.batch_size.min(rows).saturating_mul(floats_of_a_row);
    let encoded = rows.saturating_mul(encoding.width);
    // Raw rows as they are sorted, of one label at a time; a batch that is settled or encoded.
    let margins = MARGIN_ROWS.saturating_mul(3 * encoding.width + floats_of_a_row);
    let floats = [batch, encoded, margins, 3 * weights].iter().fold(0, |sum: u64, &floats| {
        sum.saturating_add((floats as u64).saturating_mul(size_of::<f32>() as u64))
    });
    // Sorted columns, and what tells copies.
    let sorted = (rows as u64).saturating_mul(8 * (encoding.places.len() as u64 + 4));
    Ok(floats
        .saturating_add(sorted)
        .saturating_add(memory_of_state(training, weights))
        .saturating_add(Report::memory(table)))
}

/// Brings the margins of raw rows home.
fn settle(
    sampler: &Sampler,
    encoding: &TableEncoding,
    (table, rows, data): (&Table, &[u32], &Encoded),
    seed: u64,
    control: &dyn Control,
) -> Result<Margins, Error> {
    let work = Work { isa: Isa::detect(), control };
    // Others than those that a user of the same seed asks for.
    let seed = Stream::new(seed, "margins", 0).next_u64();
    let raw = |label: u32| {
        let labels = vec![label; MARGIN_ROWS];
        let first = u64::from(label) * MARGIN_ROWS as u64;
        let numbers: Vec<u64> = (first..first + MARGIN_ROWS as u64).collect();
        sampler.raw(&work, encoding, Draw { seed, numbers: &numbers, labels: &labels })
    };
    Margins::settle(encoding, (table, rows, data), raw, seed, control)
}
