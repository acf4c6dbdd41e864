//! The training of classifiers of texts.

use std::sync::Arc;

use teller_numeric::{Cancelled, CheckpointBytes, Control, Isa, Moment, Step};
use teller_payload::{AlignedBytes, CheckpointError, PayloadWriter, SharedBytes, TrainingKey};

use super::bag::{self, BagLearner, BagTerms};
use super::encoder::{EncodedTexts, Lexicon};
use super::{BagParams, FittedText, RecurrentTextParams, TextDataset, TextParams};
use crate::fitted::Epoch;
use crate::floats::Floats;
use crate::judging;
use crate::objective::Objective;
use crate::sequence::{Extents, Network, Recipe, SequenceLearner, floats_needed, most_steps};
use crate::training::{Course, REVISION, Split, Trained, memory_of_state, stratified};
use crate::{Error, Predictions, TrainingParams};

/// Texts with the terms that their classifier is to know.
pub struct PreparedTexts<'a> {
    params: &'a TextParams,
    data: &'a TextDataset,
    split: Split,
    lexicon: Option<(Lexicon, EncodedTexts<'a>)>,
    terms: Option<BagTerms>,
}

/// What a member of a classifier has learned.
struct Member {
    trained: Trained,
    /// Epochs that it has at most.
    of: u32,
}

impl<'a> PreparedTexts<'a> {
    /// Finds the terms, in the caller's thread.
    pub fn new(
        params: &'a TextParams,
        data: &'a TextDataset,
        control: &dyn Control,
    ) -> Result<Self, Error> {
        let training = params.training();
        let classes = data.labels().len();
        let split =
            stratified(data.targets(), classes, training.validation_fraction, training.seed);
        let (most, max_tokens) = (params.max_terms, params.architecture.max_tokens);
        let rows = &split.training;
        let lexicon = match &params.recurrent {
            Some(recurrent) => {
                let lexicon = Lexicon::new(data, rows, most, max_tokens, control)?;
                let kept = (max_tokens, recurrent.token_dropout as f32);
                let texts = EncodedTexts::new(data, lexicon.view(), kept, control)?;
                Some((lexicon, texts))
            }
            None => None,
        };
        let terms = match params.bag {
            Some(_) => Some(BagTerms::new(data, rows, most, max_tokens, control)?),
            None => None,
        };
        Ok(Self { params, data, split, lexicon, terms })
    }

    /// Bytes that [`Self::fit`], one checkpoint of it and the texts hold at most.
    pub fn memory_needed(&self) -> u64 {
        let classes = self.data.labels().len();
        let (mut most, mut weights) = (0u64, 0u64);
        if let (Some(network), Some(params), Some((_, texts))) =
            (self.network(), &self.params.recurrent, &self.lexicon)
        {
            let batch = self.split.batch(&params.training);
            let steps = most_steps(texts, 0..self.data.len() as u32, batch);
            let floats = floats_needed(&network, steps, batch).saturating_mul(4);
            most = floats.saturating_add(memory_of_state(&params.training, network.weights));
            weights = 4 * network.weights as u64;
        }
        if let Some((terms, params)) = self.terms.as_ref().zip(self.params.bag.as_ref()) {
            let len = bag::weights(terms.view().len(), classes);
            let needed = memory_of_state(&params.training, len).saturating_add(8 * len as u64);
            most = most.max(needed);
            weights = weights.saturating_add(4 * len as u64);
        }
        // The features of all texts: grams of four lengths, and words.
        let text: u64 = (0..self.data.len()).map(|row| self.data.text(row).len() as u64).sum();
        let judging = self.split.validation.len() as u64 * 2 * Predictions::BYTES_PER_ROW;
        most.saturating_add(2 * weights).saturating_add(64 * text).saturating_add(judging)
    }

    fn network(&self) -> Option<Network> {
        let spec = self.params.architecture.recurrent.as_ref()?;
        let table = self.lexicon.as_ref()?.0.view().rows();
        Some(Network::new(spec, self.extents(table)))
    }

    fn extents(&self, table: usize) -> Extents {
        let (inputs, classes) = (self.params.architecture.vector_size, self.data.labels().len());
        Extents { inputs, statics: 0, classes, table }
    }

    /// Trains on the threads of the ambient rayon pool, reporting a step for every epoch of every
    /// member: the bag's first, which take less time.
    ///
    /// The same texts, in the same order, and the same parameters give the same numbers, bit by
    /// bit, also when a training goes on from a checkpoint (`resume`) that an earlier call with
    /// the same arguments offered to its control. From one of the recurrent network, the bag is
    /// trained again.
    pub fn fit(
        &self,
        resume: Option<SharedBytes>,
        control: &dyn Control,
    ) -> Result<FittedText, Error> {
        self.fit_on(Isa::detect(), resume, control)
    }

    /// [`Self::fit`] on a chosen instruction set.
    pub fn fit_on(
        &self,
        isa: Isa,
        resume: Option<SharedBytes>,
        control: &dyn Control,
    ) -> Result<FittedText, Error> {
        let Self { params, data, .. } = self;
        let digest = || data.digest(control);
        let key = |member: &str| {
            let asked = format!("{member} {REVISION} {params:?} {:?}", data.labels());
            Ok::<_, Error>(TrainingKey::new(&asked, digest()?))
        };
        let of_bag = params.bag.as_ref().map_or(0, |bag| bag.training.epochs);
        let of_recurrent = params.recurrent.as_ref().map_or(0, |member| member.training.epochs);
        let of = of_bag + of_recurrent;
        let recurrent_key = key("recurrent")?;
        let (resume_recurrent, resume_bag) = match resume {
            None => (None, None),
            Some(bytes) => match recurrent_key.read(bytes.clone()) {
                Ok(_) => (Some(bytes), None),
                // Of a recurrent network that is none of this training.
                Err(error) if of_bag == 0 || error == CheckpointError::OtherTraining("data") => {
                    return Err(error.into());
                }
                Err(_) => (None, Some(bytes)),
            },
        };
        let mut bag = None;
        if let Some((params, terms)) = params.bag.as_ref().zip(self.terms.as_ref()) {
            let stage = Stage { control, before: 0, of, again: resume_recurrent.is_some() };
            let trained = self.fit_bag(isa, params, terms, key("bag")?, resume_bag, &stage)?;
            bag = Some(Member { trained, of: of_bag });
        }
        let mut recurrent = None;
        if let Some((params, network)) = params.recurrent.as_ref().zip(self.network()) {
            let before = bag.as_ref().map_or(0, |bag| bag.of);
            let stage = Stage { control, before, of, again: false };
            let trained =
                self.fit_recurrent(isa, params, &network, recurrent_key, resume_recurrent, &stage)?;
            recurrent = Some(Member { trained, of: of_recurrent });
        }
        self.finish(bag, recurrent, control)
    }

    fn fit_bag(
        &self,
        isa: Isa,
        params: &BagParams,
        terms: &BagTerms,
        key: TrainingKey,
        resume: Option<SharedBytes>,
        control: &dyn Control,
    ) -> Result<Trained, Error> {
        let training = &params.training;
        let objective = self.objective(training)?;
        let max_tokens = self.params.architecture.max_tokens;
        let sizes = (max_tokens, self.split.batch(training), training.seed);
        let rules = (training.update, params.dropout as f32);
        let learner =
            BagLearner::new(isa, self.data, terms.view(), sizes, rules, objective, control)?;
        Course { params: training, split: &self.split, key }.run(learner, resume, control)
    }

    fn fit_recurrent(
        &self,
        isa: Isa,
        params: &RecurrentTextParams,
        network: &Network,
        key: TrainingKey,
        resume: Option<SharedBytes>,
        control: &dyn Control,
    ) -> Result<Trained, Error> {
        let training = &params.training;
        let Some((lexicon, texts)) = &self.lexicon else { return Err(Error::NoRows) };
        let recipe = Recipe {
            batch: self.split.batch(training),
            seed: training.seed,
            update: training.update,
            regularization: params.regularization(),
            objective: self.objective(training)?,
        };
        let rows = 0..self.data.len() as u32;
        let mut learner = SequenceLearner::new(isa, network, texts, rows, recipe)?;
        let width = self.params.architecture.vector_size;
        lexicon.initialize(training.seed, width, learner.table());
        Course { params: training, split: &self.split, key }.run(learner, resume, control)
    }

    fn objective(&self, training: &TrainingParams) -> Result<Objective, Error> {
        let targets = self.split.training.iter().map(|&row| self.data.targets()[row as usize]);
        let weights = training.class_weights.resolve(self.data.labels(), targets)?;
        Ok(Objective::new(training.label_smoothing, weights))
    }

    /// Writes what was learned, and judges it.
    fn finish(
        &self,
        bag: Option<Member>,
        recurrent: Option<Member>,
        control: &dyn Control,
    ) -> Result<FittedText, Error> {
        let payload = self.payload(
            bag.as_ref().map(|member| &member.trained.weights),
            recurrent.as_ref().map(|member| &member.trained.weights),
        )?;
        let mut epochs: Vec<Epoch> = Vec::new();
        let mut best_epochs = Vec::new();
        let mut before = 0;
        for Member { trained, of } in [bag, recurrent].into_iter().flatten() {
            best_epochs.push(before + trained.best_epoch);
            let moved = trained.epochs.into_iter();
            epochs.extend(moved.map(|epoch| Epoch { epoch: before + epoch.epoch, ..epoch }));
            before += of;
        }
        let mut fitted = FittedText {
            algorithm: self.params.algorithm,
            architecture: self.params.architecture.clone(),
            labels: self.data.labels().to_vec(),
            epochs,
            best_epochs,
            training_rows: self.split.training.len() as u64,
            temperature: 1.0,
            payload: Arc::new(payload),
            judged: None,
        };
        let rows = &self.split.validation;
        if !rows.is_empty() {
            let classifier = fitted.classifier()?;
            let scores = |rows: &[u32]| classifier.all_scores(self.data, rows, control);
            let at_once = judging::rows_at_once(fitted.labels.len());
            let targets = self.data.targets();
            let (temperature, judged) =
                judging::judge(&fitted.labels, targets, rows, at_once, scores, control)?;
            (fitted.temperature, fitted.judged) = (temperature, Some(judged));
        }
        Ok(fitted)
    }

    fn payload(
        &self,
        bag: Option<&Floats>,
        recurrent: Option<&Floats>,
    ) -> Result<AlignedBytes, Error> {
        let mut writer = PayloadWriter::new();
        if let Some(((lexicon, _), weights)) = self.lexicon.as_ref().zip(recurrent) {
            lexicon.write(&mut writer);
            writer.array("recurrent.weights", &[weights.len()], weights);
        }
        if let Some((terms, weights)) = self.terms.as_ref().zip(bag) {
            terms.write(&mut writer);
            writer.array("bag.weights", &[weights.len()], weights);
        }
        writer.try_finish().ok_or(Error::OutOfMemory { bytes: self.memory_needed() })
    }
}

/// The epochs of one member among those of all.
struct Stage<'a> {
    control: &'a dyn Control,
    /// Epochs of the members before it.
    before: u32,
    /// Epochs of all members.
    of: u32,
    /// Whether it was told of before.
    again: bool,
}

impl Control for Stage<'_> {
    fn check(&self) -> Result<(), Cancelled> {
        self.control.check()
    }

    fn report(&self, step: Step) {
        if !self.again {
            self.control.report(Step { step: self.before + step.step, of: self.of, ..step });
        }
    }

    fn checkpoint(&self, moment: Moment, state: &dyn Fn() -> Option<CheckpointBytes>) {
        if !self.again {
            self.control.checkpoint(moment, state);
        }
    }
}
