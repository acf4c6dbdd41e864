//! A training's threads, and the backend thread that watches over them.
//!
//! No thread but the backend's may call PostgreSQL. So the training runs on threads of its own,
//! with all signals blocked, and tells its steps through a channel; the backend thread reports
//! them and looks for interrupts in between.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use teller_numeric::{Cancelled, CheckpointBytes, Control, Moment, Step};

use crate::bridge::rhythm::Rhythm;
use crate::bridge::{interrupts, memory};
use crate::error::Error;

/// How long the backend thread sleeps between two looks at its interrupts.
const POLL: Duration = Duration::from_millis(10);

/// What the work tells the backend's thread.
pub enum Event {
    /// A step is done.
    Step(Step),
    /// The work can go on from here.
    Checkpoint(CheckpointBytes),
}

struct WorkerControl<'a> {
    cancelled: &'a AtomicBool,
    rhythm: &'a Rhythm,
    events: Mutex<Sender<Event>>,
}

impl WorkerControl<'_> {
    fn send(&self, event: Event) {
        if let Ok(events) = self.events.lock() {
            // The backend thread has hung up only if the work is about to be dropped anyway.
            let _ = events.send(event);
        }
    }
}

impl Control for WorkerControl<'_> {
    fn check(&self) -> Result<(), Cancelled> {
        if self.cancelled.load(Ordering::Relaxed) { Err(Cancelled) } else { Ok(()) }
    }

    fn report(&self, step: Step) {
        self.send(Event::Step(step));
    }

    fn checkpoint(&self, moment: Moment, state: &dyn Fn() -> Option<CheckpointBytes>) {
        if self.rhythm.is_due(moment) {
            match state() {
                Some(bytes) => self.send(Event::Checkpoint(bytes)),
                None => self.rhythm.kept(Duration::ZERO),
            }
        }
    }
}

/// Runs `work` on `threads` threads of a pool of its own and returns what it returns; `on_event` is
/// called on the backend's thread for every step that the work reports, and for the checkpoints
/// that `rhythm` asks for.
///
/// When the statement is cancelled, or `on_event` fails, the work is told so and waited for, and
/// the result is [`Error::Cancelled`] or that error; nothing is left running.
pub fn run<T: Send>(
    threads: usize,
    rhythm: &Rhythm,
    work: impl FnOnce(&dyn Control) -> T + Send,
    mut on_event: impl FnMut(Event) -> Result<(), Error>,
) -> Result<T, Error> {
    let cancelled = &AtomicBool::new(false);
    let (sender, events) = channel();
    std::thread::scope(|scope| {
        // The scope waits for the worker also when an interrupt unwinds through it: then the
        // worker must hear that it should stop.
        let cancel = CancelOnDrop(cancelled);
        let worker = {
            let _blocked = BlockedSignals::new();
            std::thread::Builder::new()
                .name("teller".to_owned())
                .spawn_scoped(scope, move || {
                    // Owned here, so that the channel hangs up when the work is over.
                    let control = WorkerControl { cancelled, rhythm, events: Mutex::new(sender) };
                    // Scoped: unlike a pool that is dropped, it waits for its threads to end.
                    rayon::ThreadPoolBuilder::new()
                        .num_threads(threads)
                        .thread_name(|index| format!("teller {index}"))
                        .build_scoped(|thread| thread.run(), |pool| pool.install(|| work(&control)))
                })
                .map_err(|error| Error::Threads(error.to_string()))?
        };
        let outcome = loop {
            match events.recv_timeout(POLL) {
                Ok(event) => {
                    let begun = Instant::now();
                    let is_checkpoint = matches!(event, Event::Checkpoint(_));
                    if let Err(error) = on_event(event) {
                        break Err(error);
                    }
                    if is_checkpoint {
                        rhythm.kept(begun.elapsed());
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break Ok(()),
            }
            memory::look();
            interrupts::notice_end_of_server();
            if interrupts::cancel_pending() {
                break Err(Error::Cancelled);
            }
            pgrx::check_for_interrupts!();
        };
        drop(cancel);
        let result = worker.join();
        outcome?;
        let result = result.map_err(|panic| Error::Internal(panic_text(&*panic)))?;
        result.map_err(|error| Error::Threads(error.to_string()))
    })
}

struct CancelOnDrop<'a>(&'a AtomicBool);

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Blocks all signals of this thread, which threads spawned meanwhile inherit: PostgreSQL's
/// handlers must run on the backend's thread only.
struct BlockedSignals(libc::sigset_t);

impl BlockedSignals {
    fn new() -> Self {
        // SAFETY: sigset_t is plain data that these calls fill in; they cannot fail with valid
        // pointers and a valid `how`.
        unsafe {
            let mut all = std::mem::zeroed();
            let mut before = std::mem::zeroed();
            libc::sigfillset(&mut all);
            // What its own access to memory raises reaches a thread that blocks it as a kill.
            libc::sigdelset(&mut all, libc::SIGBUS);
            libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
            Self(before)
        }
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // SAFETY: restores the mask that `new` read on this same thread.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, std::ptr::null_mut()) };
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a training thread failed".to_owned())
}
