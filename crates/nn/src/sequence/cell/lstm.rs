//! Gates: input `i`, forget `f`, new `g`, output `o`; `c = f c' + i g`, `h = o tanh(c)`. Kept are
//! `c'` and `tanh(c)`.
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
            step.gates.chunks_exact_mut(4 * units).zip(step.recurrent.chunks_exact(4 * units));
        let states = step.state.chunks_exact_mut(units).zip(step.memory.chunks_exact_mut(units));
        let states = states.zip(step.kept.chunks_exact_mut(2 * units));
        for ((gates, recurrent), ((state, memory), kept)) in rows.zip(states) {
            let (both, rest) = gates.split_at_mut(2 * units);
            let (g, o) = rest.split_at_mut(units);
            let (before, curved) = kept.split_at_mut(units);
            let (of_both, rest) = recurrent.split_at(2 * units);
            let (of_g, of_o) = rest.split_at(units);
            for (gate, &recurrent) in both.iter_mut().zip(of_both) {
                *gate = sigmoid(*gate + recurrent);
            }
            for (gate, &recurrent) in g.iter_mut().zip(of_g) {
                *gate = tanh(*gate + recurrent);
            }
            for (gate, &recurrent) in o.iter_mut().zip(of_o) {
                *gate = sigmoid(*gate + recurrent);
            }
            before.copy_from_slice(memory);
            let (i, f) = both.split_at(units);
            let gates = i.iter().zip(f).zip(&*g);
            for (memory, ((&i, &f), &g)) in memory.iter_mut().zip(gates) {
                *memory = f * *memory + i * g;
            }
            for (curved, &memory) in curved.iter_mut().zip(&*memory) {
                *curved = tanh(memory);
            }
            for (state, (&o, &curved)) in state.iter_mut().zip(o.iter().zip(&*curved)) {
                *state = o * curved;
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
            step.gates.chunks_exact_mut(4 * units).zip(step.recurrent.chunks_exact_mut(4 * units));
        let states = step.state.chunks_exact_mut(units).zip(step.memory.chunks_exact_mut(units));
        let states = states.zip(step.kept.chunks_exact(2 * units));
        for ((gates, recurrent), ((state, memory), kept)) in rows.zip(states) {
            let (i, rest) = gates.split_at(units);
            let (f, rest) = rest.split_at(units);
            let (g, o) = rest.split_at(units);
            let (before, curved) = kept.split_at(units);
            let (d_i, rest) = recurrent.split_at_mut(units);
            let (d_f, rest) = rest.split_at_mut(units);
            let (d_g, d_o) = rest.split_at_mut(units);
            let outputs = state.iter().zip(o.iter().zip(curved));
            for (d_memory, (&d_state, (&o, &curved))) in memory.iter_mut().zip(outputs.clone()) {
                *d_memory += d_state * o * (1.0 - curved * curved);
            }
            for (d_o, (&d_state, (&o, &curved))) in d_o.iter_mut().zip(outputs) {
                *d_o = d_state * curved * (o * (1.0 - o));
            }
            for (d_g, (&d_memory, (&i, &g))) in
                d_g.iter_mut().zip(memory.iter().zip(i.iter().zip(g)))
            {
                *d_g = d_memory * i * (1.0 - g * g);
            }
            for (d_i, (&d_memory, (&i, &g))) in
                d_i.iter_mut().zip(memory.iter().zip(i.iter().zip(g)))
            {
                *d_i = d_memory * g * (i * (1.0 - i));
            }
            let forgotten = before.iter().zip(f);
            for (d_f, (&d_memory, (&before, &f))) in
                d_f.iter_mut().zip(memory.iter().zip(forgotten))
            {
                *d_f = d_memory * before * (f * (1.0 - f));
            }
            memory.iter_mut().zip(f).for_each(|(d_memory, &f)| *d_memory *= f);
            state.fill(0.0);
            gates.copy_from_slice(recurrent);
        }
    }
}
