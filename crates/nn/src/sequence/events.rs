//! Labelled sequences whose steps are gathered one by one, in any order.

use std::collections::HashMap;

use super::SequenceDatasetBuilder;
use super::dataset::check;
use crate::Error;

/// A step of a sequence, with what is the same at all its steps.
#[derive(Clone, Copy, Debug)]
pub struct SequenceEvent<'a> {
    /// Which sequence.
    pub sequence: &'a str,
    /// Steps are in ascending order of it; no two of a sequence are equal.
    pub position: f64,
    /// Numbers of the step.
    pub features: &'a [f32],
    /// Numbers of the whole sequence.
    pub statics: &'a [f32],
    /// Of the whole sequence.
    pub label: &'a str,
}

/// Gathers a [`SequenceDataset`](super::SequenceDataset) event by event. Its sequences are in the order of their names, so
/// that the order of the events changes nothing.
///
/// ```
/// use teller_nn::{SequenceEvent, SequenceEventsBuilder};
/// let mut builder = SequenceEventsBuilder::default();
/// for (sequence, position, feature, label) in
///     [("b", 2.0, 4.0, "up"), ("a", 1.0, 9.0, "down"), ("b", 1.0, 3.0, "up")]
/// {
///     let features = &[feature];
///     builder.push(SequenceEvent { sequence, position, features, statics: &[], label }).unwrap();
/// }
/// let sequences = builder.finish(512).unwrap().finish().unwrap();
/// assert_eq!((sequences.sequence(0), sequences.sequence(1)), (&[9.0][..], &[3.0, 4.0][..]));
/// ```
#[derive(Clone, Debug, Default)]
pub struct SequenceEventsBuilder {
    numbers: HashMap<String, u32>,
    sequences: Vec<Whole>,
    places: Vec<Place>,
    /// Events x features.
    values: Vec<f32>,
    /// Features and static numbers.
    widths: (usize, usize),
    /// Of all sequences' names, labels and static numbers.
    bytes: u64,
}

/// What is known of a whole sequence.
#[derive(Clone, Debug)]
struct Whole {
    label: String,
    statics: Box<[f32]>,
}

/// Where an event belongs.
#[derive(Clone, Copy, Debug)]
struct Place {
    sequence: u32,
    position: f64,
}

impl SequenceEventsBuilder {
    /// Adds an event. All have as many features and static numbers, and all numbers are finite.
    pub fn push(&mut self, event: SequenceEvent<'_>) -> Result<(), Error> {
        let SequenceEvent { sequence, position, features, statics, label } = event;
        if self.places.is_empty() {
            self.widths = (features.len(), statics.len());
        }
        check(features, features.len(), statics, self.widths)?;
        if !position.is_finite() {
            return Err(Error::NotFinite);
        }
        if self.places.len() >= u32::MAX as usize {
            let limit = u64::from(u32::MAX);
            return Err(Error::TooLarge { what: "events", needed: limit + 1, limit });
        }
        let number = match self.numbers.get(sequence) {
            Some(&number) => {
                let whole = &self.sequences[number as usize];
                if whole.label != label || *whole.statics != *statics {
                    return Err(Error::ChangedSequence { sequence: sequence.to_owned() });
                }
                number
            }
            None => {
                let number = self.sequences.len() as u32;
                let whole = Whole { label: label.to_owned(), statics: statics.into() };
                // With the entries of both collections, of which the map keeps some free.
                self.bytes += (sequence.len() + label.len() + 4 * statics.len() + 128) as u64;
                self.numbers.insert(sequence.to_owned(), number);
                self.sequences.push(whole);
                number
            }
        };
        let bytes = self.memory();
        let reserved = self.values.try_reserve(features.len());
        reserved.and(self.places.try_reserve(1)).map_err(|_| Error::OutOfMemory { bytes })?;
        self.values.extend_from_slice(features);
        self.places.push(Place { sequence: number, position });
        Ok(())
    }

    /// Bytes that the events so far take, and what they are finished to.
    pub fn memory(&self) -> u64 {
        let event = 2 * size_of::<Place>() + 2 * size_of::<f32>() * self.widths.0;
        self.bytes * 2 + (self.places.len() * event) as u64
    }

    /// Puts the sequences together; of each, the last `max_steps` steps count.
    pub fn finish(self, max_steps: usize) -> Result<SequenceDatasetBuilder, Error> {
        let Self { numbers, sequences, places, values, widths, .. } = self;
        let mut names: Vec<(String, u32)> = numbers.into_iter().collect();
        names.sort_unstable();
        let mut ranks = vec![0u32; names.len()];
        for (rank, (_, number)) in names.iter().enumerate() {
            ranks[*number as usize] = rank as u32;
        }
        let mut order: Vec<u32> = (0..places.len() as u32).collect();
        let place = |event: u32| places[event as usize];
        let rank = |event: u32| ranks[place(event).sequence as usize];
        order.sort_unstable_by(|&a, &b| {
            let positions = || place(a).position.total_cmp(&place(b).position);
            rank(a).cmp(&rank(b)).then_with(positions).then(a.cmp(&b))
        });
        let features = widths.0;
        let mut builder = SequenceDatasetBuilder::new(max_steps);
        let mut steps = Vec::new();
        for events in order.chunk_by(|&a, &b| place(a).sequence == place(b).sequence) {
            let (name, number) = &names[rank(events[0]) as usize];
            if let Some(same) =
                events.array_windows().find(|[a, b]| place(*a).position == place(*b).position)
            {
                let (sequence, row) = (name.clone(), u64::from(same[1]) + 1);
                return Err(Error::SamePosition { sequence, row });
            }
            steps.clear();
            for &event in &events[events.len().saturating_sub(max_steps)..] {
                steps.extend_from_slice(&values[event as usize * features..][..features]);
            }
            let Whole { label, statics } = &sequences[*number as usize];
            builder.push(&steps, features, statics, label)?;
        }
        Ok(builder)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use teller_numeric::Stream;

    use super::*;

    const ZERO: SequenceEvent<'_> =
        SequenceEvent { sequence: "a", position: 0.0, features: &[1.0], statics: &[], label: "x" };

    proptest! {
        #[test]
        fn the_order_of_the_events_changes_nothing(
            lengths in prop::collection::vec(1usize..7, 1..12),
            max_steps in 1usize..7,
            seed in any::<u64>(),
        ) {
            let mut expected = SequenceDatasetBuilder::new(max_steps);
            let mut events = Vec::new();
            for (number, &steps) in lengths.iter().enumerate() {
                let feature = |step: usize| [number as f32, step as f32];
                let sequence: Vec<f32> = (0..steps).flat_map(feature).collect();
                let label = if number % 2 == 0 { "even" } else { "odd" };
                expected.push(&sequence, 2, &[0.5 * number as f32], label).unwrap();
                events.extend((0..steps).map(|step| (number, step, label)));
            }
            Stream::new(seed, "events", 0).shuffle(&mut events);
            let mut builder = SequenceEventsBuilder::default();
            for (number, step, label) in events {
                builder.push(SequenceEvent {
                    sequence: &format!("{number:02}"),
                    position: step as f64 - 3.0,
                    features: &[number as f32, step as f32],
                    statics: &[0.5 * number as f32],
                    label,
                }).unwrap();
            }
            let got = builder.finish(max_steps).unwrap().finish_for_evaluation().unwrap();
            let expected = expected.finish_for_evaluation().unwrap();
            prop_assert_eq!((got.labels(), got.targets()), (expected.labels(), expected.targets()));
            for row in 0..lengths.len() {
                prop_assert_eq!(got.sequence(row), expected.sequence(row));
                prop_assert_eq!(got.statics(row), expected.statics(row));
            }
        }
    }

    #[test]
    fn what_is_no_sequence_is_refused() {
        let push = |events: &[SequenceEvent<'_>]| {
            let mut builder = SequenceEventsBuilder::default();
            events.iter().try_for_each(|&event| builder.push(event))?;
            builder.finish(9)
        };
        let changed = Error::ChangedSequence { sequence: "a".to_owned() };
        let width = Error::SequenceWidth { got: (2, 0), expected: (1, 0) };
        for (second, error) in [
            (SequenceEvent { label: "y", position: 1.0, ..ZERO }, changed.clone()),
            (SequenceEvent { features: &[1.0, 2.0], ..ZERO }, width),
            (SequenceEvent { features: &[], ..ZERO }, Error::EmptySequence),
            (SequenceEvent { features: &[f32::NAN], ..ZERO }, Error::NotFinite),
            (SequenceEvent { position: f64::INFINITY, ..ZERO }, Error::NotFinite),
            (ZERO, Error::SamePosition { sequence: "a".to_owned(), row: 2 }),
        ] {
            assert_eq!(push(&[ZERO, second]).err(), Some(error));
        }
        let given = |number| SequenceEvent { statics: number, ..ZERO };
        assert_eq!(push(&[given(&[1.0]), given(&[2.0])]).err(), Some(changed));
        assert!(push(&[ZERO, SequenceEvent { sequence: "b", ..ZERO }]).is_ok());
        let empty = push(&[]).unwrap().finish_for_evaluation().err();
        assert_eq!(empty, Some(Error::NoRows));
    }
}
