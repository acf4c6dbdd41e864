//! What brings the columns of synthetic rows home: of each label, offsets that give every choice
//! its share, and quantiles by which numbers take on the distribution of the real ones.

use rayon::prelude::*;
use teller_numeric::{Control, Stream, math};

use super::encoding::{Encoded, Place, TableEncoding};
use super::{Domain, NULL, Quantiles, Table, Values};
use crate::Error;

/// Times that the offsets are improved.
const ROUNDS: usize = 20;
/// The fewest raw numbers by which a column is brought home; where fewer rows choose one, all do.
const FEWEST_TOLD: usize = 32;
/// The offset of a choice that no real row makes.
const NEVER: f32 = -60.0;

/// A column's numbers as the network gives them and as they are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Remap {
    pub(crate) raw: Quantiles,
    pub(crate) real: Quantiles,
}

/// Of the rows of one label.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LabelMargins {
    /// As long as an encoded row; 0 for numbers.
    pub(crate) offsets: Vec<f32>,
    /// Of each column of many numbers, in the order of the columns.
    pub(crate) remaps: Vec<Remap>,
}

/// Of all labels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Margins {
    /// How many rows each label has.
    pub(crate) counts: Vec<u64>,
    pub(crate) labels: Vec<LabelMargins>,
}

/// The value of a column that was drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Drawn {
    Null,
    Number(f64),
    Choice(usize),
}

impl Margins {
    /// Compares the real rows with raw ones of each label, which `raw` gives.
    pub(crate) fn settle(
        encoding: &TableEncoding,
        (table, rows, encoded): (&Table, &[u32], &Encoded),
        raw: impl Fn(u32) -> Result<Vec<f32>, Error>,
        seed: u64,
        control: &dyn Control,
    ) -> Result<Self, Error> {
        let mut by_label = vec![Vec::new(); encoding.labels()];
        (0u32..).zip(&encoded.labels).for_each(|(row, &label)| by_label[label as usize].push(row));
        let mut labels = Vec::new();
        for (label, members) in (0u32..).zip(&by_label) {
            let raw = raw(label)?;
            let offsets = encoding
                .places
                .par_iter()
                .map(|place| {
                    choice_offsets(place, (&encoded.values, members), &raw, encoding.width, control)
                })
                .collect::<Result<Vec<Vec<f32>>, Error>>()?;
            let mut all = vec![0.0; encoding.width];
            for (place, offsets) in encoding.places.iter().zip(&offsets) {
                all[place.choice.clone()].copy_from_slice(offsets);
            }
            let rows: Vec<u32> = members.iter().map(|&member| rows[member as usize]).collect();
            let numbers = encoding.places.par_iter().filter_map(|of| Some((of, of.number?)));
            let remaps = numbers
                .map(|(place, number)| {
                    control.check()?;
                    let real = match &table.columns[place.column].values {
                        Values::Numbers(numbers) => encoding.numbers_of(place, numbers, &rows),
                        Values::Categories { .. } => Vec::new(),
                    };
                    let rows = (0..).zip(raw.chunks_exact(encoding.width));
                    let mut told: Vec<f64> = rows
                        .filter(|&(row, raw)| {
                            let mut stream = Stream::new(seed, "which are numbers", row);
                            choose(place, raw, &all, &mut stream).is_none_or(|chosen| chosen == 0)
                        })
                        .map(|(_, raw)| raw[number].into())
                        .collect();
                    if told.len() < FEWEST_TOLD {
                        told = raw.chunks_exact(encoding.width).map(|r| r[number].into()).collect();
                    }
                    told.sort_unstable_by(f64::total_cmp);
                    Ok(Remap { raw: Quantiles::of(&told), real: Quantiles::of(&real) })
                })
                .collect::<Result<Vec<Remap>, Error>>()?;
            labels.push(LabelMargins { offsets: all, remaps });
        }
        let counts = by_label.iter().map(|members| members.len() as u64).collect();
        Ok(Self { counts, labels })
    }

    /// A table's rows from raw ones: choices are drawn, numbers told in the real ones' terms.
    pub(crate) fn tell(
        &self,
        encoding: &TableEncoding,
        labels: &[u32],
        raw: &[f32],
        stream: impl Fn(usize) -> Stream + Sync,
    ) -> Table {
        let rows = raw.par_chunks(encoding.width).zip(labels).enumerate();
        let drawn: Vec<Vec<Drawn>> = rows
            .map(|(row, (raw, &label))| {
                let mut stream = stream(row);
                self.labels[label as usize].draw(encoding, raw, &mut stream)
            })
            .collect();
        let mut columns = encoding.empty_columns(labels.len());
        let mut put = |column: usize, row: usize, drawn: Drawn| {
            let domain = &encoding.columns[column].domain;
            match (&mut columns[column].values, drawn, domain) {
                (Values::Numbers(to), Drawn::Number(number), _) => to[row] = number,
                (
                    Values::Numbers(to),
                    Drawn::Choice(choice),
                    Domain::Few(known) | Domain::Many { frequent: known, .. },
                ) => to[row] = known.get(choice).copied().unwrap_or(f64::NAN),
                (Values::Categories { codes, names }, Drawn::Choice(choice), _) => {
                    codes[row] = if choice < names.len() { choice as u32 } else { NULL };
                }
                _ => {}
            }
        };
        for (row, (drawn, &label)) in drawn.iter().zip(labels).enumerate() {
            if let Some(column) = encoding.label {
                put(column, row, Drawn::Choice(label as usize));
            }
            for (place, &drawn) in encoding.places.iter().zip(drawn) {
                put(place.column, row, drawn);
            }
        }
        Table { columns, rows: labels.len() }
    }
}

impl LabelMargins {
    fn draw(&self, encoding: &TableEncoding, raw: &[f32], stream: &mut Stream) -> Vec<Drawn> {
        let mut remaps = self.remaps.iter();
        let draw = |place: &Place| {
            let number = place.number.and_then(|number| Some((raw[number], remaps.next()?)));
            match (number, choose(place, raw, &self.offsets, stream)) {
                (Some((number, remap)), None | Some(0)) => {
                    let value = remap.real.at(remap.raw.share(number.into()));
                    Drawn::Number(encoding.columns[place.column].domain.tell(value))
                }
                (Some(_), Some(chosen)) => Drawn::Choice(chosen - 1),
                (None, Some(chosen)) => Drawn::Choice(chosen),
                (None, None) => Drawn::Null,
            }
        };
        encoding.places.iter().map(draw).collect()
    }
}

/// What a raw row chooses, if there is a choice; `offsets` are added to the logits.
fn choose(place: &Place, raw: &[f32], offsets: &[f32], stream: &mut Stream) -> Option<usize> {
    let logits = raw[place.choice.clone()].iter().zip(&offsets[place.choice.clone()]);
    let mut probabilities: Vec<f32> = logits.map(|(logit, offset)| logit + offset).collect();
    math::softmax(&mut probabilities);
    (!probabilities.is_empty()).then(|| pick(&probabilities, stream.uniform()))
}

/// The one of some choices that a uniform number falls on.
fn pick(probabilities: &[f32], uniform: f32) -> usize {
    let mut left = uniform;
    for (choice, &probability) in probabilities.iter().enumerate() {
        if left < probability {
            return choice;
        }
        left -= probability;
    }
    // Rounding: the last one that is possible.
    probabilities.iter().rposition(|&probability| probability > 0.0).unwrap_or(0)
}

/// What is to be added to the logits of one column, so that each choice is made as often as by
/// the `members` among the real rows.
fn choice_offsets(
    place: &Place,
    (real, members): (&[f32], &[u32]),
    raw: &[f32],
    width: usize,
    control: &dyn Control,
) -> Result<Vec<f32>, Error> {
    let choices = place.choice.len();
    let mut wanted = vec![0.0f64; choices];
    for &member in members {
        let row = &real[member as usize * width..][place.choice.clone()];
        wanted.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    let all: f64 = wanted.iter().sum();
    let mut offsets: Vec<f32> =
        wanted.iter().map(|&sum| if sum > 0.0 || all == 0.0 { 0.0 } else { NEVER }).collect();
    if choices < 2 || all == 0.0 {
        return Ok(offsets);
    }
    let mut row = vec![0.0f32; choices];
    for _ in 0..ROUNDS {
        control.check()?;
        let mut got = vec![0.0f64; choices];
        for raw in raw.chunks_exact(width) {
            let logits = raw[place.choice.clone()].iter().zip(&offsets);
            row.iter_mut().zip(logits).for_each(|(to, (logit, offset))| *to = logit + offset);
            math::softmax(&mut row);
            got.iter_mut().zip(&row).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        let rows: f64 = got.iter().sum();
        for ((offset, &wanted), &got) in offsets.iter_mut().zip(&wanted).zip(&got) {
            if wanted > 0.0 {
                let ratio = (wanted / all) / (got / rows).max(1e-12);
                *offset = (*offset + libm::log(ratio) as f32).clamp(NEVER, -NEVER);
            }
        }
    }
    Ok(offsets)
}
