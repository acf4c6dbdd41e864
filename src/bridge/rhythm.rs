//! When a training keeps a checkpoint.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use teller_numeric::Moment;

/// No more than this is lost of a long step.
const AT_LEAST_EVERY: Duration = Duration::from_secs(30);

/// Keeping may take this part of the time.
const SHARE: u32 = 10;

/// Decides which of the offered checkpoints are kept: those at the ends of steps, as long as
/// keeping them takes at most a tenth of the time, and in any case one every 30 seconds.
pub struct Rhythm(Option<Mutex<State>>);

struct State {
    /// Since when the last one has been kept.
    since: Instant,
    /// How long keeping it took.
    cost: Duration,
    /// Whether one is being kept.
    pending: bool,
}

impl Rhythm {
    /// For work that nobody will resume.
    pub fn never() -> Self {
        Self(None)
    }

    /// From now on.
    pub fn start() -> Self {
        let (since, cost) = (Instant::now(), Duration::ZERO);
        Self(Some(Mutex::new(State { since, cost, pending: false })))
    }

    /// Whether a checkpoint that is offered now is wanted; if so the next one is refused until
    /// this one is [`Rhythm::kept`].
    pub fn is_due(&self, moment: Moment) -> bool {
        let Some(Ok(mut state)) = self.0.as_ref().map(Mutex::lock) else { return false };
        let wait = match moment {
            Moment::EndOfStep => AT_LEAST_EVERY.min(state.cost * SHARE),
            Moment::InsideStep => AT_LEAST_EVERY,
        };
        let due = !state.pending && state.since.elapsed() >= wait;
        state.pending |= due;
        due
    }

    /// Notes that a checkpoint has been kept, which took as long as `cost`.
    pub fn kept(&self, cost: Duration) {
        if let Some(Ok(mut state)) = self.0.as_ref().map(Mutex::lock) {
            *state = State { since: Instant::now(), cost, pending: false };
        }
    }
}
