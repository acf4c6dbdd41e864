//! Gates: reset `r`, update `z`, new `n = tanh(input + r * recurrent)`; `h = n + z (h' - n)`.

use teller_numeric::activations::sigmoid;
use teller_numeric::kernels::Work;
use teller_numeric::math::tanh;

use super::CellStep;

pub(super) struct Forward<'a>(pub(super) CellStep<'a>);

impl Work for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let step = self.0;
        let units = step.units;
        let rows =
            step.gates.chunks_exact_mut(3 * units).zip(step.recurrent.chunks_exact(3 * units));
        for ((gates, recurrent), state) in rows.zip(step.state.chunks_exact_mut(units)) {
            let (r, rest) = gates.split_at_mut(units);
            let (z, n) = rest.split_at_mut(units);
            let (of_r, rest) = recurrent.split_at(units);
            let (of_z, of_n) = rest.split_at(units);
            let (n, of_n, state) = (&mut n[..units], &of_n[..units], &mut state[..units]);
            for i in 0..units {
                r[i] = sigmoid(r[i] + of_r[i]);
                z[i] = sigmoid(z[i] + of_z[i]);
                n[i] = tanh(n[i] + r[i] * of_n[i]);
                state[i] = n[i] + z[i] * (state[i] - n[i]);
            }
        }
    }
}

pub(super) struct Backward<'a>(pub(super) CellStep<'a>);

impl Work for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let step = self.0;
        let units = step.units;
        let rows =
            step.gates.chunks_exact_mut(3 * units).zip(step.recurrent.chunks_exact_mut(3 * units));
        let states = step.state.chunks_exact_mut(units).zip(step.previous.chunks_exact(units));
        for ((gates, recurrent), (state, previous)) in rows.zip(states) {
            let (r, rest) = gates.split_at_mut(units);
            let (z, n) = rest.split_at_mut(units);
            let (of_r, rest) = recurrent.split_at_mut(units);
            let (of_z, of_n) = rest.split_at_mut(units);
            let (n, of_n) = (&mut n[..units], &mut of_n[..units]);
            let (state, previous) = (&mut state[..units], &previous[..units]);
            for i in 0..units {
                let d_n = state[i] * (1.0 - z[i]) * (1.0 - n[i] * n[i]);
                let d_z = state[i] * (previous[i] - n[i]) * (z[i] * (1.0 - z[i]));
                let d_r = d_n * of_n[i] * (r[i] * (1.0 - r[i]));
                state[i] *= z[i];
                of_n[i] = d_n * r[i];
                (n[i], z[i], r[i]) = (d_n, d_z, d_r);
                (of_z[i], of_r[i]) = (d_z, d_r);
            }
        }
    }
}
