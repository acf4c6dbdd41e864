//! Which rows are kept apart to see how training goes.

use teller_numeric::Stream;

use super::TrainingParams;

/// Rows to learn from and rows to check with, each ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Split {
    pub(crate) training: Vec<u32>,
    pub(crate) validation: Vec<u32>,
}

impl Split {
    /// Most rows of one step.
    pub(crate) fn batch(&self, params: &TrainingParams) -> usize {
        params.batch_size.min(self.training.len())
    }
}

/// Keeps the same share of every label apart, and at least one row of each to learn from.
pub(crate) fn stratified(targets: &[u32], classes: usize, fraction: f64, seed: u64) -> Split {
    let mut by_class = vec![Vec::new(); classes];
    for (row, &target) in (0u32..).zip(targets) {
        by_class[target as usize].push(row);
    }
    let mut split = Split { training: Vec::new(), validation: Vec::new() };
    for (class, mut rows) in (0u64..).zip(by_class) {
        Stream::new(seed, "validation split", class).shuffle(&mut rows);
        let apart = (rows.len() as f64 * fraction).round() as usize;
        let apart = apart.min(rows.len().saturating_sub(1));
        split.validation.extend(&rows[..apart]);
        split.training.extend(&rows[apart..]);
    }
    split.training.sort_unstable();
    split.validation.sort_unstable();
    split
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_gives_its_share() {
        let targets: Vec<u32> = (0..1000).map(|row| u32::from(row % 10 == 0)).collect();
        let split = stratified(&targets, 2, 0.2, 1);
        let count = |rows: &[u32], class| {
            rows.iter().filter(|&&row| targets[row as usize] == class).count()
        };
        assert_eq!((count(&split.validation, 0), count(&split.validation, 1)), (180, 20));
        let mut all = [split.training.clone(), split.validation.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..1000).collect::<Vec<u32>>());
        assert_eq!(split, stratified(&targets, 2, 0.2, 1));
        assert_ne!(split, stratified(&targets, 2, 0.2, 2));
    }

    #[test]
    fn a_lone_row_is_learned_from() {
        let split = stratified(&[0, 1], 2, 0.5, 1);
        assert_eq!((split.training, split.validation), (vec![0, 1], vec![]));
    }
}
