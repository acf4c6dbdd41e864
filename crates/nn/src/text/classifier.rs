//! A trained classifier of texts as it is asked: one text in, one probability a class out.

use rayon::prelude::*;
use teller_numeric::{Control, Isa, math};
use teller_payload::{Array, Payload, PayloadError, SharedBytes};

use super::bag::{self, StoredBagTerms};
use super::encoder::{StoredLexicon, embed};
use super::tokens::{normalize, tokens};
use super::{FittedText, TextArchitecture, TextDataset};
use crate::calibration::sharpness;
use crate::labels::check_stored;
use crate::layer::softmax;
use crate::sequence::{Answer, Extents, Network, SequenceWorkspace, Steps};
use crate::{Error, LayerWeights, Predictions};

/// A classifier of texts.
#[derive(Debug)]
pub struct TextClassifier {
    max_tokens: usize,
    recurrent: Option<RecurrentMember>,
    bag: Option<(StoredBagTerms, Array<f32>)>,
    labels: Vec<String>,
    payload: Payload,
    /// What the logarithms of probabilities are multiplied with.
    sharpness: f32,
}

#[derive(Debug)]
struct RecurrentMember {
    network: Network,
    lexicon: StoredLexicon,
    weights: Array<f32>,
}

/// Memory for a text on its way; serves any classifier.
#[derive(Debug, Default)]
pub struct TextWorkspace {
    sequence: SequenceWorkspace,
    /// Of one member, and of all.
    logits: Vec<f32>,
    scores: Vec<f32>,
}

impl TextClassifier {
    /// Checks untrusted parts against each other: the payload must hold exactly the arrays of
    /// `architecture` for as many classes as there are `labels`, which ascend.
    pub fn load(
        architecture: &TextArchitecture,
        labels: Vec<String>,
        bytes: SharedBytes,
    ) -> Result<Self, Error> {
        let TextArchitecture { max_tokens, recurrent, vector_size, bag } = architecture;
        check_stored(&labels)?;
        let classes = labels.len();
        let payload = Payload::parse(bytes)?;
        let mut arrays = 0;
        let recurrent = match recurrent {
            None => None,
            Some(spec) => {
                let lexicon = StoredLexicon::read(&payload)?;
                let table = lexicon.view(&payload).rows();
                let extents = Extents { inputs: *vector_size, statics: 0, classes, table };
                let network = Network::checked(spec, extents)?;
                let weights = payload.array_of("recurrent.weights", &[network.weights])?;
                arrays += 5;
                Some(RecurrentMember { network, lexicon, weights })
            }
        };
        let bag = match bag {
            false => None,
            true => {
                let terms = StoredBagTerms::read(&payload)?;
                let len = bag::weights(terms.view(&payload).len(), classes);
                arrays += 6;
                Some((terms, payload.array_of("bag.weights", &[len])?))
            }
        };
        if arrays == 0 || payload.arrays().count() != arrays {
            let what = "it has other arrays than the architecture names";
            return Err(PayloadError::Directory(what).into());
        }
        let max_tokens = *max_tokens;
        Ok(Self { max_tokens, recurrent, bag, labels, payload, sharpness: 1.0 })
    }

    /// The same with its temperature, 0.05 to 20, as
    /// [`FittedText::temperature`](crate::FittedText) has it.
    pub fn with_temperature(self, temperature: f32) -> Result<Self, Error> {
        Ok(Self { sharpness: sharpness(temperature)?, ..self })
    }

    /// The classes, ascending: index i of the probabilities is label i.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// All trained numbers: those of the recurrent network, then those of the bag.
    pub fn weights(&self) -> Vec<LayerWeights<'_>> {
        let mut arrays = Vec::new();
        if let Some(RecurrentMember { network, weights, .. }) = &self.recurrent {
            arrays = network.arrays("", self.payload.get(*weights));
        }
        if let Some((_, weights)) = &self.bag {
            let classes = self.labels.len();
            let weights = self.payload.get(*weights);
            let (kernel, bias) = weights.split_at(weights.len() - classes);
            let array = |name: &str, shape, values| LayerWeights {
                name: format!("bag.{name}"),
                shape,
                values,
            };
            arrays.push(array("kernel", vec![kernel.len() / classes, classes], kernel));
            arrays.push(array("bias", vec![classes], bias));
        }
        arrays
    }

    /// Bytes held, the payload included.
    pub fn memory(&self) -> usize {
        let labels: usize = self.labels.iter().map(|label| label.len() + size_of::<String>()).sum();
        size_of::<Self>() + self.payload.bytes().len() + labels
    }

    /// Bytes of a [`TextWorkspace`] for the longest text.
    pub fn working_memory(&self) -> usize {
        let network = self.recurrent.as_ref().map(|member| &member.network);
        network.map_or(0, |network| network.working_memory(self.max_tokens))
    }

    /// The probability of each label.
    pub fn probabilities<'w>(
        &self,
        text: &str,
        workspace: &'w mut TextWorkspace,
        control: &dyn Control,
    ) -> Result<&'w [f32], Error> {
        let normalized = normalize(text);
        self.score(&tokens(&normalized, self.max_tokens), workspace, control)?;
        Ok(self.sharpen(workspace))
    }

    /// What the recurrent network knows of a text before its last layers decide: near for texts
    /// that mean the same to it.
    pub fn embedding<'w>(
        &self,
        text: &str,
        workspace: &'w mut TextWorkspace,
        control: &dyn Control,
    ) -> Result<&'w [f32], Error> {
        let Some(member) = &self.recurrent else { return Err(Error::NoEmbedding) };
        let normalized = normalize(text);
        let tokens = tokens(&normalized, self.max_tokens);
        Ok(self.ask(member, &tokens, &mut workspace.sequence, control)?.pooled)
    }

    /// For each word and punctuation mark, by how much the logarithm of the probability of the
    /// most probable label falls without it (Li et al., "Understanding neural networks through
    /// representation erasure", 2016).
    pub fn explain(
        &self,
        text: &str,
        workspace: &mut TextWorkspace,
        control: &dyn Control,
    ) -> Result<Vec<(String, f32)>, Error> {
        let normalized = normalize(text);
        let tokens = tokens(&normalized, self.max_tokens);
        self.score(&tokens, workspace, control)?;
        let probabilities = self.sharpen(workspace);
        let label = crate::best(probabilities);
        let whole = math::ln(probabilities[label]);
        let mut contributions = Vec::with_capacity(tokens.len());
        for (at, token) in tokens.iter().enumerate() {
            control.check()?;
            let rest = [&tokens[..at], &tokens[at + 1..]].concat();
            self.score(&rest, workspace, control)?;
            let without = math::ln(self.sharpen(workspace)[label]);
            contributions.push(((*token).to_owned(), whole - without));
        }
        Ok(contributions)
    }

    /// The figures of `teller.evaluate` over all texts of `data`: see [`Predictions::figures`]. On
    /// the threads of the ambient rayon pool.
    pub fn evaluate(
        &self,
        data: &TextDataset,
        control: &dyn Control,
    ) -> Result<Vec<(String, f64)>, Error> {
        let theirs = (data.labels(), data.targets());
        let scores_of = |rows: &[u32]| self.all_scores(data, rows, control);
        let predictions = Predictions::gather(&self.labels, theirs, self.sharpness, scores_of)?;
        Ok(predictions.figures())
    }

    /// The mean logarithms of all members' probabilities for the texts of `rows`: rows x classes.
    /// On the threads of the ambient rayon pool.
    pub(super) fn all_scores(
        &self,
        data: &TextDataset,
        rows: &[u32],
        control: &dyn Control,
    ) -> Result<Vec<f32>, Error> {
        const ROWS: usize = 16;
        let classes = self.labels.len();
        let mut scores = vec![0.0; rows.len() * classes];
        scores.par_chunks_mut(ROWS * classes).zip(rows.par_chunks(ROWS)).try_for_each_init(
            TextWorkspace::default,
            |workspace, (scores, rows)| {
                for (scores, &row) in scores.chunks_exact_mut(classes).zip(rows) {
                    control.check()?;
                    let normalized = normalize(data.text(row as usize));
                    self.score(&tokens(&normalized, self.max_tokens), workspace, control)?;
                    scores.copy_from_slice(&workspace.scores);
                }
                Ok::<_, Error>(())
            },
        )?;
        Ok(scores)
    }

    /// Leaves the mean logarithms of all members' probabilities in the workspace.
    fn score(
        &self,
        tokens: &[&str],
        workspace: &mut TextWorkspace,
        control: &dyn Control,
    ) -> Result<(), Error> {
        let classes = self.labels.len();
        workspace.scores.clear();
        workspace.scores.resize(classes, 0.0);
        workspace.logits.resize(classes, 0.0);
        let members = usize::from(self.recurrent.is_some()) + usize::from(self.bag.is_some());
        let share = 1.0 / members as f32;
        let TextWorkspace { sequence, logits, scores } = workspace;
        if let Some(member) = &self.recurrent {
            let answer = self.ask(member, tokens, sequence, control)?;
            logits.copy_from_slice(answer.logits);
            add_log_softmax(logits, share, scores);
        }
        if let Some((terms, weights)) = &self.bag {
            control.check()?;
            let features = terms.view(&self.payload).features(tokens);
            bag::logits(Isa::detect(), self.payload.get(*weights), &features, logits);
            add_log_softmax(logits, share, scores);
        }
        Ok(())
    }

    /// From the scores to probabilities.
    fn sharpen<'w>(&self, workspace: &'w mut TextWorkspace) -> &'w [f32] {
        let scores = &mut workspace.scores;
        scores.iter_mut().for_each(|score| *score *= self.sharpness);
        softmax(scores, self.labels.len());
        scores
    }

    fn ask<'w>(
        &self,
        member: &RecurrentMember,
        tokens: &[&str],
        workspace: &'w mut SequenceWorkspace,
        control: &dyn Control,
    ) -> Result<Answer<'w>, Error> {
        let RecurrentMember { network, lexicon, weights } = member;
        let (isa, weights) = (Isa::detect(), self.payload.get(*weights));
        let (lexicon, table) = (lexicon.view(&self.payload), network.table(weights));
        let steps = tokens.len().max(1);
        let load = |input: Steps<'_>, _: &mut [f32]| embed(isa, lexicon, table, tokens, input);
        network.ask(isa, weights, steps, workspace, load, control)
    }
}

impl FittedText {
    /// The classifier ready to be asked.
    pub fn classifier(&self) -> Result<TextClassifier, Error> {
        TextClassifier::load(&self.architecture, self.labels.clone(), self.payload())?
            .with_temperature(self.temperature)
    }
}

/// Adds the logarithms of the probabilities that logits stand for, times `share`.
fn add_log_softmax(logits: &[f32], share: f32, scores: &mut [f32]) {
    let max = logits.iter().fold(f32::NEG_INFINITY, |max, &x| if x > max { x } else { max });
    let sum: f32 = logits.iter().map(|&x| math::exp(x - max)).sum();
    let all = max + math::ln(sum);
    scores.iter_mut().zip(logits).for_each(|(score, &x)| *score += share * (x - all));
}
