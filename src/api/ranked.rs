/// All labels with their probabilities, the most probable first.
pub fn ranked(labels: &[String], probabilities: &[f32]) -> Vec<(String, f32)> {
    let mut rows: Vec<_> = labels.iter().cloned().zip(probabilities.iter().copied()).collect();
    // Stable: equal probabilities keep the order of the labels.
    rows.sort_by(|a, b| b.1.total_cmp(&a.1));
    rows
}
