//! `h = tanh(gate)`.

use teller_numeric::kernels::Work;
use teller_numeric::math::tanh;

use super::CellStep;

pub(super) struct Forward<'a>(pub(super) CellStep<'a>);

impl Work for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let step = self.0;
        let gates = step.gates.iter_mut().zip(&*step.recurrent);
        for ((gate, &recurrent), state) in gates.zip(step.state) {
            *gate = tanh(*gate + recurrent);
            *state = *gate;
        }
    }
}

pub(super) struct Backward<'a>(pub(super) CellStep<'a>);

impl Work for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let step = self.0;
        let gates = step.gates.iter_mut().zip(step.recurrent);
        for ((gate, recurrent), state) in gates.zip(step.state) {
            *gate = *state * (1.0 - *gate * *gate);
            *recurrent = *gate;
            *state = 0.0;
        }
    }
}
