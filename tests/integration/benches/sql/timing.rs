use std::time::Instant;

use postgres::Client;

use crate::report::Figure;

/// What a measurement took, often repeated.
#[derive(Clone, Copy)]
pub(crate) struct Taken {
    /// Milliseconds of the middle one.
    pub(crate) median: f64,
    /// Milliseconds of the fastest one: what it takes where nothing disturbs it.
    pub(crate) fastest: f64,
}

/// Milliseconds that a statement takes as its client sees it.
pub(crate) fn milliseconds(client: &mut Client, sql: &str) -> f64 {
    timed(|| client.simple_query(sql).unwrap_or_else(|error| panic!("{sql}\n{error:?}")))
}

/// Milliseconds that `run` takes.
pub(crate) fn timed<T>(run: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_secs_f64() * 1e3
}

/// Measures several things in turns, so that whatever else the machine does falls on all of them.
pub(crate) fn in_turns<const N: usize>(
    rounds: usize,
    mut measure: impl FnMut(usize) -> f64,
) -> [Taken; N] {
    let mut taken: [Vec<f64>; N] = std::array::from_fn(|_| Vec::with_capacity(rounds));
    for _ in 0..rounds {
        for (index, taken) in taken.iter_mut().enumerate() {
            taken.push(measure(index));
        }
    }
    taken.map(|mut times| {
        times.sort_by(f64::total_cmp);
        Taken { median: times[times.len() / 2], fastest: times[0] }
    })
}

impl Taken {
    /// In milliseconds.
    pub(crate) fn ms(self) -> Figure {
        self.scaled(1.0, "ms")
    }

    /// In microseconds.
    pub(crate) fn us(self) -> Figure {
        self.scaled(1e3, "us")
    }

    /// In nanoseconds.
    pub(crate) fn ns(self) -> Figure {
        self.scaled(1e6, "ns")
    }

    /// How much longer this took than another, of which each took at least as long.
    pub(crate) fn more_than(self, other: Self) -> Self {
        let more = |one: f64, other: f64| (one - other).max(0.0);
        Self { median: more(self.median, other.median), fastest: more(self.fastest, other.fastest) }
    }

    fn scaled(self, factor: f64, unit: &'static str) -> Figure {
        Figure { value: self.median * factor, fastest: Some(self.fastest * factor), unit }
    }
}
