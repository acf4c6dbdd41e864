//! The loop of epochs, whatever is learned: gradients of everything, a step of Adam, a checkpoint.

use std::time::Instant;

use teller_numeric::{Cancelled, CheckpointBytes, Control, Moment, Step};
use teller_payload::{CheckpointError, SharedBytes, TrainingKey};

use super::KnowledgeGraphParams;
use crate::Error;
use crate::algorithm::adam::Learned;

/// What is learned by gradients: matrices, all with rows of [`KnowledgeGraphParams::width`].
pub(super) trait Problem {
    /// Name and rows of each matrix.
    fn matrices(&self) -> Vec<(&'static str, usize)>;

    /// The first numbers.
    fn start(&self, control: &dyn Control) -> Result<Vec<Vec<f32>>, Cancelled>;

    /// The gradients of an epoch.
    fn gradients(
        &self,
        epoch: u32,
        numbers: &[&[f32]],
        control: &dyn Control,
    ) -> Result<Gradients, Cancelled>;

    /// Brings numbers back to where they may be.
    fn constrain(&self, _numbers: &mut [&mut [f32]]) {}
}

/// The loss of an epoch, and by what it changes with the numbers.
pub(super) struct Gradients {
    /// The cross-entropy of all that was drawn.
    pub(super) loss: f64,
    /// How much was drawn.
    pub(super) drawn: usize,
    /// Of the cross-entropy and of the squares of numbers, by each matrix.
    pub(super) by: Vec<Vec<f32>>,
}

/// Learns the numbers, or goes on learning them; gives them and the mean loss of the last epoch.
pub(super) fn learn(
    params: &KnowledgeGraphParams,
    problem: &dyn Problem,
    key: &TrainingKey,
    rows: u64,
    resume: Option<SharedBytes>,
    control: &dyn Control,
) -> Result<(Vec<Vec<f32>>, f64), Error> {
    let width = params.width();
    let mut state = match resume {
        Some(checkpoint) => State::read(key, checkpoint, params.epochs, problem, width)?,
        None => {
            let learned = problem.start(control)?.into_iter().map(Learned::new).collect();
            State { epochs: 0, loss: 0.0, learned }
        }
    };
    while state.epochs < params.epochs {
        let begun = Instant::now();
        let step = state.epochs + 1;
        let numbers: Vec<&[f32]> = state.learned.iter().map(|l| &l.numbers[..]).collect();
        let Gradients { loss, drawn, by } = problem.gradients(step, &numbers, control)?;
        let loss = loss / drawn.max(1) as f64;
        if !loss.is_finite() {
            return Err(Error::Diverged { algorithm: "knowledge_graph", step, loss });
        }
        for (learned, gradient) in state.learned.iter_mut().zip(&by) {
            learned.step(gradient, step, params.learning_rate);
        }
        let mut numbers: Vec<&mut [f32]> =
            state.learned.iter_mut().map(|l| &mut l.numbers[..]).collect();
        problem.constrain(&mut numbers);
        (state.epochs, state.loss) = (step, loss);
        let elapsed = begun.elapsed();
        control.report(Step { step, of: params.epochs, loss, validation: None, rows, elapsed });
        control.checkpoint(Moment::EndOfStep, &|| state.checkpoint(key, problem, width));
    }
    Ok((state.learned.into_iter().map(|learned| learned.numbers).collect(), state.loss))
}

/// A training on its way.
struct State {
    epochs: u32,
    /// Of the last epoch.
    loss: f64,
    learned: Vec<Learned>,
}

impl State {
    /// The whole state, or nothing if the memory is not to be had.
    fn checkpoint(
        &self,
        key: &TrainingKey,
        problem: &dyn Problem,
        width: usize,
    ) -> Option<CheckpointBytes> {
        let position = [u64::from(self.epochs), self.loss.to_bits()];
        let mut writer = key.writer();
        writer.array("position", &[2], &position);
        for ((name, rows), learned) in problem.matrices().into_iter().zip(&self.learned) {
            let Learned { numbers, mean, square } = learned;
            let parts = [("numbers", numbers), ("mean", mean), ("square", square)];
            for (part, array) in parts {
                writer.array(&format!("{name} {part}"), &[rows, width], array);
            }
        }
        Some(Box::new(writer.try_finish()?))
    }

    fn read(
        key: &TrainingKey,
        checkpoint: SharedBytes,
        epochs: u32,
        problem: &dyn Problem,
        width: usize,
    ) -> Result<Self, CheckpointError> {
        let payload = key.read(checkpoint)?;
        let position = payload.get(payload.array_of::<u64>("position", &[2])?);
        let (got, expected) = (position[0], u64::from(epochs));
        if got > expected {
            return Err(CheckpointError::Position { what: "epoch", got, expected });
        }
        let loss = f64::from_bits(position[1]);
        if !loss.is_finite() {
            return Err(CheckpointError::NotFinite("loss"));
        }
        let learned = |(name, rows): (&str, usize)| -> Result<Learned, CheckpointError> {
            let array = |part: &str| -> Result<Vec<f32>, CheckpointError> {
                let array = payload.array_of::<f32>(&format!("{name} {part}"), &[rows, width])?;
                Ok(payload.get(array).to_vec())
            };
            Ok(Learned {
                numbers: array("numbers")?,
                mean: array("mean")?,
                square: array("square")?,
            })
        };
        let learned = problem.matrices().into_iter().map(learned).collect::<Result<_, _>>()?;
        Ok(Self { epochs: got as u32, loss, learned })
    }
}
