//! Gates: reset `r`, update `z`, new `n = tanh(input + r * recurrent)`; `h = n + z (h' - n)`.
//!
//! Loops over few slices each: over all at once the compiler leaves them to scalar instructions.

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
            let (both, n) = gates.split_at_mut(2 * units);
            let (of_both, of_n) = recurrent.split_at(2 * units);
            for (gate, &recurrent) in both.iter_mut().zip(of_both) {
                *gate = sigmoid(*gate + recurrent);
            }
            let (r, z) = both.split_at(units);
            for (n, (&r, &of_n)) in n.iter_mut().zip(r.iter().zip(of_n)) {
                *n = tanh(*n + r * of_n);
            }
            for (state, (&n, &z)) in state.iter_mut().zip(n.iter().zip(z)) {
                *state = n + z * (*state - n);
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
            let (both, n) = gates.split_at_mut(2 * units);
            let (r, z) = both.split_at(units);
            let (of_both, of_n) = recurrent.split_at_mut(2 * units);
            let (of_r, of_z) = of_both.split_at_mut(units);
            let d_states = state.iter().zip(previous).zip(n.iter().zip(z));
            for (d_z, ((&d_state, &previous), (&n, &z))) in of_z.iter_mut().zip(d_states) {
                *d_z = d_state * (previous - n) * (z * (1.0 - z));
            }
            for (n, (d_state, &z)) in n.iter_mut().zip(state.iter_mut().zip(z)) {
                *n = *d_state * (1.0 - z) * (1.0 - *n * *n);
                *d_state *= z;
            }
            for (d_r, (&d_n, (&of_n, &r))) in of_r.iter_mut().zip(n.iter().zip(of_n.iter().zip(r)))
            {
                *d_r = d_n * of_n * (r * (1.0 - r));
            }
            for (of_n, (&d_n, &r)) in of_n.iter_mut().zip(n.iter().zip(r)) {
                *of_n = d_n * r;
            }
            both.copy_from_slice(of_both);
        }
    }
}
