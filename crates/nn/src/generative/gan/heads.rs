//! What the generator's last layer means: numbers within bounds, and choices softened by noise.

use teller_numeric::{Isa, Stream, math};

use crate::generative::table::TableEncoding;

/// Numbers lie within so many deviations.
const BOUND: f32 = 4.0;

/// A number within its bounds.
pub(super) fn bounded(x: f32) -> f32 {
    BOUND * math::tanh(x / BOUND)
}

/// Choices with less weight have none: their gradients would soon be subnormal numbers, with which
/// processors take a hundred times as long.
const LEAST_CHOICE: f32 = 1e-12;

/// One row of outputs becomes what the critic sees.
pub(super) fn forward(
    isa: Isa,
    encoding: &TableEncoding,
    temperature: f32,
    stream: &mut Stream,
    row: &mut [f32],
) {
    let mut noise = vec![0.0; row.len()];
    for place in &encoding.places {
        // The uniform number is never 0 or 1.
        let choice = noise[place.choice.clone()].iter_mut();
        choice.for_each(|to| *to = stream.uniform().max(1e-7));
        if let Some(number) = place.number {
            row[number] = bounded(row[number]);
        }
    }
    isa.vectorize(gumbel, &mut noise);
    for place in &encoding.places {
        let logits = row[place.choice.clone()].iter_mut();
        logits.zip(&noise[place.choice.clone()]).for_each(|(x, g)| *x = (*x + g) / temperature);
    }
    encoding.soften(isa, row, &mut noise);
    for place in &encoding.places {
        let choice = row[place.choice.clone()].iter_mut();
        choice.for_each(|x| *x = if *x < LEAST_CHOICE { 0.0 } else { *x });
        if let Some(number) = place.number {
            row[number] *= place.numeric(row);
        }
    }
}

/// Uniform numbers become ones of Gumbel's distribution.
#[inline(always)]
fn gumbel(noise: &mut [f32]) {
    for x in noise {
        *x = -math::ln(-math::ln(*x));
    }
}

/// From the gradient to what [`forward`] gave, `row`, to that to the outputs, in its place.
pub(super) fn backward(encoding: &TableEncoding, temperature: f32, row: &[f32], d: &mut [f32]) {
    for place in &encoding.places {
        if let Some(number) = place.number {
            let numeric = place.numeric(row);
            // What there is nothing of pulls nothing.
            let bounded = if numeric > 1e-6 { row[number] / numeric } else { 0.0 };
            if !place.choice.is_empty() {
                d[place.choice.start] += d[number] * bounded;
            }
            let tanh = bounded / BOUND;
            d[number] *= numeric * (1.0 - tanh * tanh);
        }
        let (y, d) = (&row[place.choice.clone()], &mut d[place.choice.clone()]);
        let mean: f32 = y.iter().zip(&*d).map(|(y, d)| y * d).sum();
        d.iter_mut().zip(y).for_each(|(d, y)| *d = y * (*d - mean) / temperature);
    }
}

#[cfg(test)]
mod tests {
    use teller_numeric::Uninterrupted;

    use super::*;
    use crate::generative::table::{ColumnKind, Table, TableCell};

    #[test]
    fn the_gradient_is_that_of_what_the_critic_sees() {
        let mut table = Table::new([("n", ColumnKind::Number), ("c", ColumnKind::Number)]);
        for row in 0..40 {
            let n = if row == 3 { TableCell::Null } else { TableCell::Number(f64::from(row)) };
            table.push(&[n, TableCell::Number(f64::from(row % 4))]).unwrap();
        }
        let rows: Vec<u32> = (0..40).collect();
        let encoding = TableEncoding::of(&table, None, &rows).unwrap();
        let data = encoding.encode(&table, &rows, 1, &Uninterrupted).unwrap();
        assert_eq!((encoding.width, data.labels.len()), (7, 40));
        let outputs = [2.0f32, 0.3, -0.2, 0.5, 0.1, -0.4, 0.2];
        let pulls = [0.7f32, -0.3, 0.4, 0.2, -1.0, 0.5, 0.9];
        let seen = |outputs: &[f32]| {
            let mut row = outputs.to_vec();
            forward(Isa::detect(), &encoding, 0.8, &mut Stream::new(1, "choices", 0), &mut row);
            row
        };
        let value = |row: &[f32]| row.iter().zip(pulls).map(|(y, p)| y * p).sum::<f32>();
        let row = seen(&outputs);
        let choices: f32 = row[3..].iter().sum();
        assert!((choices - 1.0).abs() < 1e-5);
        let mut gradient = pulls;
        backward(&encoding, 0.8, &row, &mut gradient);
        for i in 0..7 {
            let at = |by: f32| {
                let mut outputs = outputs;
                outputs[i] += by;
                value(&seen(&outputs))
            };
            let slope = (at(1e-2) - at(-1e-2)) / 2e-2;
            assert!((slope - gradient[i]).abs() < 2e-3, "{i}: {} {slope}", gradient[i]);
        }
    }
}
