//! Sequences of unequal lengths without padding: of some sequences, the longest first, all first
//! steps follow each other, then all second ones, and so on. The sequences that still go on are
//! always the first ones, so a step of all of them is one block of rows.

/// Where the steps of some sequences lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packing {
    /// For each step, the row of its first sequence; and the number of all rows.
    starts: Vec<usize>,
}

impl Packing {
    /// `lengths` of the sequences, descending, each at least 1.
    pub(super) fn new(lengths: &[usize]) -> Self {
        debug_assert!(lengths.is_sorted_by(|a, b| a >= b));
        let mut starts = vec![0];
        let mut going = lengths.len();
        for step in 0..lengths.first().copied().unwrap_or(0) {
            while going > 0 && lengths[going - 1] <= step {
                going -= 1;
            }
            starts.push(starts[step] + going);
        }
        Self { starts }
    }

    /// Steps of the longest.
    pub(super) fn steps(&self) -> usize {
        self.starts.len() - 1
    }

    /// Steps of all.
    pub(super) fn rows(&self) -> usize {
        self.starts[self.steps()]
    }

    /// The row of the first sequence at a step, and how many sequences have that step.
    pub(super) fn step(&self, step: usize) -> (usize, usize) {
        let first = self.starts[step];
        (first, self.starts[step + 1] - first)
    }

    /// The row of a step of a sequence.
    pub(super) fn row(&self, sequence: usize, step: usize) -> usize {
        self.starts[step] + sequence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_has_its_row() {
        let lengths = [4, 2, 2, 1];
        let packing = Packing::new(&lengths);
        assert_eq!((packing.steps(), packing.rows()), (4, 9));
        let counts: Vec<usize> = (0..4).map(|step| packing.step(step).1).collect();
        assert_eq!(counts, [4, 3, 1, 1]);
        let steps = |sequence: usize| (0..lengths[sequence]).map(move |step| (sequence, step));
        let mut rows: Vec<usize> =
            (0..4).flat_map(steps).map(|(sequence, step)| packing.row(sequence, step)).collect();
        rows.sort_unstable();
        assert_eq!(rows, (0..9).collect::<Vec<_>>());
        assert_eq!((Packing::new(&[]).steps(), Packing::new(&[]).rows()), (0, 0));
    }
}
