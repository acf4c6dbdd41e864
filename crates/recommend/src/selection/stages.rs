//! A training that is made of several, one after the other: told and resumed as one.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use teller_numeric::{Cancelled, CheckpointBytes, Control, Moment, Step};
use teller_payload::{AlignedBytes, CheckpointError, Payload, SharedBytes, TrainingKey};

use crate::Error;
use crate::fitted::Part;

/// What is left of a training that is done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stage {
    pub(crate) figures: Vec<(String, f64)>,
    pub(crate) parts: Vec<Part>,
}

impl Stage {
    /// The figure of that name.
    pub(crate) fn figure(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|(figure, _)| figure == name).map(|&(_, value)| value)
    }
}

/// How the steps of a stage are told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Telling {
    /// Each; so many stages with as many steps are to come, this one included.
    Steps(u32),
    /// The whole stage as one step, of so many that are to come, this one included. Its loss is one
    /// minus its validation.
    One(u32),
    /// Not at all.
    None,
}

/// The stages so far.
pub(crate) struct Stages<'a> {
    control: &'a dyn Control,
    key: TrainingKey,
    done: Vec<Stage>,
    /// The next one's place among those that are done or will be.
    next: usize,
    /// Steps told of stages that are done.
    steps: u32,
    /// Of the stage that was under way when the training was interrupted.
    inner: Option<SharedBytes>,
    /// Steps that this stage had taken.
    inner_steps: u32,
}

impl<'a> Stages<'a> {
    /// From the beginning or from a checkpoint. There are at most `most` stages.
    pub(crate) fn begin(
        key: TrainingKey,
        resume: Option<SharedBytes>,
        most: usize,
        control: &'a dyn Control,
    ) -> Result<Self, CheckpointError> {
        let mut stages =
            Self { control, key, done: Vec::new(), next: 0, steps: 0, inner: None, inner_steps: 0 };
        let Some(checkpoint) = resume else { return Ok(stages) };
        let payload = stages.key.read(checkpoint)?;
        let position = payload.get(payload.array_of::<u64>("position", &[3])?);
        let (done, steps, inner) = (position[0], position[1], position[2]);
        let many = u64::from(u32::MAX);
        for (what, got, expected) in
            [("stage", done, most as u64), ("step", steps, many), ("step", inner, many)]
        {
            if got > expected {
                return Err(CheckpointError::Position { what, got, expected });
            }
        }
        (stages.steps, stages.inner_steps) = (steps as u32, inner as u32);
        stages.done = (0..done).map(|at| read(&payload, at)).collect::<Result<_, _>>()?;
        if payload.arrays().any(|(name, ..)| name == "inner") {
            stages.inner = Some(Arc::new(bytes(&payload, "inner")?));
        }
        Ok(stages)
    }

    /// Does the next stage, unless it is done: `work` gets the checkpoint that it goes on from.
    /// `validation` names the figure that its last step is told with.
    pub(crate) fn run(
        &mut self,
        telling: Telling,
        validation: Option<&'static str>,
        rows: u64,
        work: impl FnOnce(Option<SharedBytes>, &dyn Control) -> Result<Stage, Error>,
    ) -> Result<Stage, Error> {
        let at = self.next;
        self.next += 1;
        if let Some(stage) = self.done.get(at) {
            return Ok(stage.clone());
        }
        let inner = self.inner.take();
        let begun = Instant::now();
        let heard = Heard { steps: std::mem::take(&mut self.inner_steps), ..Heard::default() };
        let control = StageControl { stages: self, telling, heard: Mutex::new(heard) };
        let stage = work(inner, &control)?;
        let heard = control.heard().clone();
        let value = validation.and_then(|name| stage.figure(name).map(|value| (name, value)));
        let last = match (telling, heard.last, heard.held) {
            (Telling::One(left), ..) => {
                let loss = 1.0 - value.map_or(0.0, |(_, value)| value);
                let (step, of, elapsed) = (1, left, begun.elapsed());
                Some(Step { step, of, loss, validation: None, rows, elapsed })
            }
            (Telling::Steps(_), Some(last), true) => Some(last),
            _ => None,
        };
        let told = match telling {
            Telling::One(_) => 1,
            Telling::Steps(_) => heard.steps,
            Telling::None => 0,
        };
        let step = last.map(|last| self.place(telling, Step { validation: value, ..last }));
        self.done.push(stage.clone());
        self.steps = self.steps.saturating_add(told);
        let moment = if step.is_some() { Moment::EndOfStep } else { Moment::InsideStep };
        if let Some(step) = step {
            self.control.report(step);
        }
        self.control.checkpoint(moment, &|| self.checkpoint(None, 0));
        Ok(stage)
    }

    /// Keeps only the figures of the stages that are done.
    pub(crate) fn forget_parts(&mut self) {
        self.done.iter_mut().take(self.next).for_each(|stage| stage.parts.clear());
    }

    /// Does the last stage, of which nothing needs to be kept.
    pub(crate) fn finish<T>(
        mut self,
        work: impl FnOnce(Option<SharedBytes>, &dyn Control) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let inner = self.inner.take();
        let last = LastControl(&self);
        work(inner, &last)
    }

    /// A stage's step among those of all.
    fn place(&self, telling: Telling, step: Step) -> Step {
        let of = match telling {
            Telling::Steps(stages) => step.of.saturating_mul(stages),
            Telling::One(left) => left,
            Telling::None => 0,
        };
        Step {
            step: self.steps.saturating_add(step.step),
            of: self.steps.saturating_add(of),
            ..step
        }
    }

    /// What is done, and the checkpoint of what is under way.
    fn checkpoint(&self, inner: Option<&[u8]>, inner_steps: u32) -> Option<CheckpointBytes> {
        let position = [self.done.len() as u64, u64::from(self.steps), u64::from(inner_steps)];
        let figures =
            |stage: &Stage| stage.figures.iter().map(|&(_, value)| [value.to_bits()]).collect();
        let figures: Vec<Vec<[u64; 1]>> = self.done.iter().map(figures).collect();
        let mut writer = self.key.writer();
        writer.array("position", &[3], &position);
        for (at, (stage, figures)) in self.done.iter().zip(&figures).enumerate() {
            for ((name, _), bits) in stage.figures.iter().zip(figures) {
                writer.array(&format!("{at} figure {name}"), &[1], bits);
            }
            for (name, part) in &stage.parts {
                writer.array(&format!("{at} part {name}"), &[part.len()], part);
            }
        }
        if let Some(inner) = inner {
            writer.array("inner", &[inner.len()], inner);
        }
        Some(Box::new(writer.try_finish()?))
    }
}

/// The stage that was done as number `at`.
fn read(payload: &Payload, at: u64) -> Result<Stage, CheckpointError> {
    let mut stage = Stage::default();
    let (figure, part) = (format!("{at} figure "), format!("{at} part "));
    for (array, ..) in payload.arrays() {
        if let Some(name) = array.strip_prefix(&figure) {
            let bits = payload.get(payload.array_of::<u64>(array, &[1])?)[0];
            let value = f64::from_bits(bits);
            if !value.is_finite() {
                return Err(CheckpointError::NotFinite("figure of a stage"));
            }
            stage.figures.push((name.to_owned(), value));
        } else if let Some(name) = array.strip_prefix(&part) {
            let bytes = Arc::new(bytes(payload, array)?);
            stage.parts.push((Cow::Owned(name.to_owned()), bytes));
        }
    }
    Ok(stage)
}

fn bytes(payload: &Payload, array: &str) -> Result<AlignedBytes, CheckpointError> {
    Ok(AlignedBytes::from(payload.get(payload.array::<u8>(array)?.0)))
}

/// What a stage has told.
#[derive(Clone, Debug, Default)]
struct Heard {
    last: Option<Step>,
    steps: u32,
    /// Whether the last step waits for the stage's figures.
    held: bool,
}

struct StageControl<'s, 'a> {
    stages: &'s Stages<'a>,
    telling: Telling,
    heard: Mutex<Heard>,
}

impl StageControl<'_, '_> {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Control for StageControl<'_, '_> {
    fn check(&self) -> Result<(), Cancelled> {
        self.stages.control.check()
    }

    fn report(&self, step: Step) {
        let mut heard = self.heard();
        heard.steps = step.step;
        heard.held = matches!(self.telling, Telling::Steps(_)) && step.step >= step.of;
        if matches!(self.telling, Telling::Steps(_)) && !heard.held {
            self.stages.control.report(self.stages.place(self.telling, step.clone()));
        }
        heard.last = Some(step);
    }

    fn checkpoint(&self, moment: Moment, state: &dyn Fn() -> Option<CheckpointBytes>) {
        let moment = match self.telling {
            Telling::Steps(_) => moment,
            Telling::One(_) | Telling::None => Moment::InsideStep,
        };
        let (held, steps) = {
            let heard = self.heard();
            (heard.held, heard.steps)
        };
        // The stage's own end is the next state worth keeping.
        if !held {
            self.stages
                .control
                .checkpoint(moment, &|| self.stages.checkpoint(Some((*state()?).as_ref()), steps));
        }
    }
}

struct LastControl<'s, 'a>(&'s Stages<'a>);

impl Control for LastControl<'_, '_> {
    fn check(&self) -> Result<(), Cancelled> {
        self.0.control.check()
    }

    fn report(&self, step: Step) {
        self.0.control.report(self.0.place(Telling::Steps(1), step));
    }

    fn checkpoint(&self, moment: Moment, state: &dyn Fn() -> Option<CheckpointBytes>) {
        self.0.control.checkpoint(moment, &|| self.0.checkpoint(Some((*state()?).as_ref()), 0));
    }
}
