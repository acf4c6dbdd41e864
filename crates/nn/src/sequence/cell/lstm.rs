//! Gates: input `i`, forget `f`, new `g`, output `o`; `c = f c' + i g`, `h = o tanh(c)`. Kept are
//! `c'` and `tanh(c)`.

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
            let (i, rest) = gates.split_at_mut(units);
            let (f, rest) = rest.split_at_mut(units);
            let (g, o) = rest.split_at_mut(units);
            let (before, curved) = kept.split_at_mut(units);
            let (of_i, rest) = recurrent.split_at(units);
            let (of_f, rest) = rest.split_at(units);
            let (of_g, of_o) = rest.split_at(units);
            let (o, of_o, curved) = (&mut o[..units], &of_o[..units], &mut curved[..units]);
            let (state, memory) = (&mut state[..units], &mut memory[..units]);
            for u in 0..units {
                i[u] = sigmoid(i[u] + of_i[u]);
                f[u] = sigmoid(f[u] + of_f[u]);
                g[u] = tanh(g[u] + of_g[u]);
                o[u] = sigmoid(o[u] + of_o[u]);
                before[u] = memory[u];
                memory[u] = f[u] * memory[u] + i[u] * g[u];
                curved[u] = tanh(memory[u]);
                state[u] = o[u] * curved[u];
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
            let (i, rest) = gates.split_at_mut(units);
            let (f, rest) = rest.split_at_mut(units);
            let (g, o) = rest.split_at_mut(units);
            let (before, curved) = kept.split_at(units);
            let (o, curved) = (&mut o[..units], &curved[..units]);
            let (state, memory) = (&mut state[..units], &mut memory[..units]);
            for u in 0..units {
                let d_memory = memory[u] + state[u] * o[u] * (1.0 - curved[u] * curved[u]);
                let d_o = state[u] * curved[u] * (o[u] * (1.0 - o[u]));
                let d_g = d_memory * i[u] * (1.0 - g[u] * g[u]);
                let d_f = d_memory * before[u] * (f[u] * (1.0 - f[u]));
                let d_i = d_memory * g[u] * (i[u] * (1.0 - i[u]));
                memory[u] = d_memory * f[u];
                (i[u], f[u], g[u], o[u]) = (d_i, d_f, d_g, d_o);
                state[u] = 0.0;
            }
            recurrent.copy_from_slice(gates);
        }
    }
}
