//! A generator as it is stored: a description as JSON, and its numbers as named arrays.
//!
//! `counts` `[labels]`, `offsets` `[labels, width]`, and `quantiles` with their
//! `quantile_lengths` `[labels, columns of many numbers, 2]` are the margins; `weights` those of
//! the decoder or the generator. A decoder has with each label a mixture of codes, `mixture.0.shares`,
//! `.means` and `.roots`; a generator has `norm.0.means` and `norm.0.inverse_deviations`.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use teller_payload::{AlignedBytes, Payload, PayloadError, PayloadWriter, SharedBytes};

use super::gan::{GanSampler, Generator, Statistics};
use super::generator::TableGenerator;
use super::sampler::Sampler;
use super::table::{
    ColumnCodec, LabelMargins, Margins, Quantiles, Remap, TableEncoding, TableError,
};
use super::vae::{Mixture, VaeSampler};
use crate::Error;
use crate::floats::Floats;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    columns: Vec<ColumnCodec>,
    /// Number of the column.
    label: Option<usize>,
    network: Network,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Network {
    TabularVae { hidden: usize, latent: usize },
    TabularGan { hidden: usize, noise: usize },
}

/// Most units of a layer, codes or random numbers: forged ones must not overflow.
const WIDEST: usize = 1 << 16;

impl TableGenerator {
    /// All but the numbers: columns with their values, label, sizes of the network.
    pub fn description(&self) -> Value {
        let network = match &self.sampler {
            Sampler::Vae(vae) => {
                Network::TabularVae { hidden: vae.decoder.layers[0].units, latent: vae.latent }
            }
            Sampler::Gan(gan) => {
                let generator = &gan.generator;
                let noise = generator.inputs() - self.encoding.condition();
                Network::TabularGan { hidden: generator.hidden(), noise }
            }
        };
        let TableEncoding { columns, label, .. } = self.encoding.clone();
        serde_json::to_value(Description { columns, label, network }).unwrap_or_default()
    }

    /// The numbers.
    pub fn payload(&self) -> AlignedBytes {
        let Margins { counts, labels } = &self.margins;
        let offsets: Vec<f32> = labels.iter().flat_map(|label| &label.offsets).copied().collect();
        let tables = || {
            let remaps = labels.iter().flat_map(|label| &label.remaps);
            remaps.flat_map(|remap| [remap.raw.values(), remap.real.values()])
        };
        let quantiles: Vec<f64> = tables().flatten().copied().collect();
        let lengths: Vec<u32> = tables().map(|table| table.len() as u32).collect();
        let mut writer = PayloadWriter::new();
        writer.array("counts", &[counts.len()], counts);
        writer.array("offsets", &[labels.len(), self.encoding.width], &offsets);
        writer.array("quantiles", &[quantiles.len()], &quantiles);
        writer.array("quantile_lengths", &[labels.len(), self.encoding.numbers(), 2], &lengths);
        match &self.sampler {
            Sampler::Vae(vae) => {
                writer.array("weights", &[vae.weights.len()], &vae.weights);
                for (label, mixture) in vae.mixtures.iter().enumerate() {
                    let (components, d) = (mixture.shares.len(), mixture.dimensions);
                    let name = |what: &str| format!("mixture.{label}.{what}");
                    writer.array(&name("shares"), &[components], &mixture.shares);
                    writer.array(&name("means"), &[components, d], &mixture.means);
                    writer.array(&name("roots"), &[components, d, d], &mixture.roots);
                }
            }
            Sampler::Gan(gan) => {
                writer.array("weights", &[gan.weights.len()], &gan.weights);
                let Statistics { means, inverse } = &gan.statistics;
                for (norm, (means, inverse)) in means.iter().zip(inverse).enumerate() {
                    let name = |what: &str| format!("norm.{norm}.{what}");
                    writer.array(&name("means"), &[means.len()], means);
                    writer.array(&name("inverse_deviations"), &[inverse.len()], inverse);
                }
            }
        }
        writer.finish()
    }

    /// The generator that was stored; both parts are untrusted.
    pub fn load(description: &Value, bytes: SharedBytes) -> Result<Self, Error> {
        let stored = |what| Error::from(TableError::Stored(what));
        let Description { columns, label, network } = Description::deserialize(description)
            .map_err(|_| stored("is not one of a generator"))?;
        let encoding =
            TableEncoding::new(columns, label).ok_or_else(|| stored("has impossible columns"))?;
        let payload = Payload::parse(bytes)?;
        let margins = read_margins(&payload, &encoding)?;
        let check = |size: usize| {
            let possible = (1..=WIDEST).contains(&size);
            if possible { Ok(size) } else { Err(stored("has an impossible size")) }
        };
        let sampler = match network {
            Network::TabularVae { hidden, latent } => {
                let (hidden, latent) = (check(hidden)?, check(latent)?);
                let (decoder, log_variances) = VaeSampler::place(&encoding, latent, hidden);
                let weights = read_weights(&payload, log_variances.end)?;
                let mixtures = (0..encoding.labels()).map(|l| read_mixture(&payload, l, latent));
                let mixtures = mixtures.collect::<Result<_, _>>()?;
                Sampler::Vae(VaeSampler { latent, decoder, log_variances, weights, mixtures })
            }
            Network::TabularGan { hidden, noise } => {
                let (hidden, noise) = (check(hidden)?, check(noise)?);
                let condition = encoding.condition();
                let generator = Generator::new(noise, condition, hidden, encoding.width);
                let weights = read_weights(&payload, generator.weights)?;
                let mut statistics = Statistics::default();
                for norm in 0..2 {
                    let read = |what: &str| {
                        let name = format!("norm.{norm}.{what}");
                        let array = payload.array_of::<f32>(&name, &[hidden])?;
                        Ok::<_, PayloadError>(payload.get(array).to_vec())
                    };
                    statistics.means[norm] = read("means")?;
                    statistics.inverse[norm] = read("inverse_deviations")?;
                }
                Sampler::Gan(GanSampler { generator, weights, statistics })
            }
        };
        Ok(Self { encoding, sampler, margins })
    }
}

fn read_weights(payload: &Payload, len: usize) -> Result<Floats, Error> {
    let stored = payload.array_of::<f32>("weights", &[len])?;
    let mut weights = Floats::zeros(len)?;
    weights.copy_from_slice(payload.get(stored));
    Ok(weights)
}

fn read_mixture(payload: &Payload, label: usize, d: usize) -> Result<Mixture, PayloadError> {
    let name = |what: &str| format!("mixture.{label}.{what}");
    let (shares, _) = payload.array::<f64>(&name("shares"))?;
    let shares = payload.get(shares).to_vec();
    let array = |what, shape: &[usize]| {
        let array = payload.array_of::<f64>(&name(what), shape)?;
        Ok::<_, PayloadError>(payload.get(array).to_vec())
    };
    let components = shares.len();
    let means = array("means", &[components, d])?;
    let roots = array("roots", &[components, d, d])?;
    if components == 0 {
        return Err(PayloadError::Value {
            name: name("shares"),
            got: "nothing".to_owned(),
            expected: "at least one share",
        });
    }
    Ok(Mixture { dimensions: d, shares, means, roots })
}

fn read_margins(payload: &Payload, encoding: &TableEncoding) -> Result<Margins, PayloadError> {
    let (labels, numbers, width) = (encoding.labels(), encoding.numbers(), encoding.width);
    let wrong = |name: &str, got: String, expected| PayloadError::Value {
        name: name.to_owned(),
        got,
        expected,
    };
    let counts = payload.get(payload.array_of::<u64>("counts", &[labels])?).to_vec();
    let sum = counts.iter().try_fold(0u64, |sum, &count| sum.checked_add(count));
    if sum.is_none_or(|sum| sum == 0 || sum > 1 << 53) {
        return Err(wrong("counts", format!("{counts:?}"), "rows of which there are some"));
    }
    let offsets = payload.get(payload.array_of::<f32>("offsets", &[labels, width])?);
    let lengths = payload.array_of::<u32>("quantile_lengths", &[labels, numbers, 2])?;
    let (quantiles, _) = payload.array::<f64>("quantiles")?;
    let mut left = payload.get(quantiles);
    let mut tables = Vec::new();
    for &length in payload.get(lengths) {
        let table = left.split_at_checked(length as usize);
        let read = table.and_then(|(table, rest)| Some((Quantiles::stored(table)?, rest)));
        let Some((table, rest)) = read else {
            let expected = "tables of ascending numbers";
            return Err(wrong("quantiles", format!("{} more numbers", left.len()), expected));
        };
        tables.push(table);
        left = rest;
    }
    let mut tables = tables.into_iter();
    let mut remaps = || -> Vec<Remap> {
        let next = |_| Some(Remap { raw: tables.next()?, real: tables.next()? });
        (0..numbers).map_while(next).collect()
    };
    let labels = offsets
        .chunks_exact(width)
        .map(|offsets| LabelMargins { offsets: offsets.to_vec(), remaps: remaps() });
    Ok(Margins { counts, labels: labels.collect() })
}
