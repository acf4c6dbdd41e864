//! A mapped page that is not there: SIGBUS, which ends the whole server if nobody handles it.
//!
//! It comes when somebody shortens a file while a call reads it, or when its disk cannot be read.
//! The handler puts zeros in the place of the mapping, so that the call goes on, and marks it. What
//! such a call answers is worth nothing: [`super::answers`] refuses it.
//!
//! All of it is atomics and two system calls: whatever the thread was doing, the handler may.

use std::io;
use std::mem::MaybeUninit;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use memmap2::Mmap;
/// Mappings that a backend can have at once; further models are copied.
const SLOTS: usize = 512;

static MAPPINGS: [Slot; SLOTS] = [const { Slot::free() }; SLOTS];
/// An answer of this transaction may come from zeros.
static LOST: AtomicBool = AtomicBool::new(false);
/// Whose SIGBUS it is if not ours.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

struct Slot {
    start: AtomicUsize,
    /// Bytes; 0 while the slot is free.
    len: AtomicUsize,
    answers: AtomicBool,
    lost: AtomicBool,
}

impl Slot {
    const fn free() -> Self {
        Self {
            start: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
            answers: AtomicBool::new(false),
            lost: AtomicBool::new(false),
        }
    }

    fn contains(&self, address: usize) -> bool {
        address.wrapping_sub(self.start.load(Ordering::Acquire)) < self.len.load(Ordering::Acquire)
    }

    /// Zeros instead of the file; `false` if the kernel refuses.
    fn lose(&self) -> bool {
        let (start, len) = (self.start.load(Ordering::Acquire), self.len.load(Ordering::Acquire));
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
        // SAFETY: the range is a mapping of ours that lives, since its slot is taken; it is only
        // read, and reads find other bytes there, never none.
        let zeros =
            unsafe { libc::mmap(start as *mut libc::c_void, len, libc::PROT_READ, flags, -1, 0) };
        if zeros == libc::MAP_FAILED {
            return false;
        }
        self.lost.store(true, Ordering::Release);
        if self.answers.load(Ordering::Acquire) {
            LOST.store(true, Ordering::Release);
        }
        true
    }
}

/// Guards a mapping. It must end before the mapping does.
pub(super) struct Guard(&'static Slot);

impl Guard {
    /// Guards `map` from now on.
    pub(super) fn new(map: &Mmap) -> io::Result<Self> {
        handle_faults()?;
        // Taken on the backend's thread only; the handler and other threads only look.
        let slot = MAPPINGS.iter().find(|slot| slot.len.load(Ordering::Relaxed) == 0);
        let slot = slot.ok_or_else(|| io::Error::other("too many files are mapped"))?;
        slot.answers.store(false, Ordering::Relaxed);
        slot.lost.store(false, Ordering::Relaxed);
        slot.start.store(map.as_ptr() as usize, Ordering::Release);
        slot.len.store(map.len(), Ordering::Release);
        Ok(Self(slot))
    }

    /// From now on calls answer from the mapping, so that its loss concerns the transaction.
    pub(super) fn begin_answers(&self) {
        self.0.answers.store(true, Ordering::Release);
    }

    /// Whether zeros stand in its place.
    pub(super) fn is_lost(&self) -> bool {
        self.0.lost.load(Ordering::Acquire)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.len.store(0, Ordering::Release);
    }
}

/// Whether a call of this transaction may have answered from zeros.
pub(super) fn is_lost() -> bool {
    LOST.load(Ordering::Acquire)
}

/// Begins another transaction.
pub(super) fn forget() {
    LOST.store(false, Ordering::Release);
}

/// Installs the handler, once in a backend.
fn handle_faults() -> io::Result<()> {
    if PREVIOUS.get().is_some() {
        return Ok(());
    }
    // SAFETY: sigaction is plain data that the kernel fills in or reads; the handler keeps to what
    // a handler may do.
    unsafe {
        let mut previous = MaybeUninit::<libc::sigaction>::zeroed();
        if libc::sigaction(libc::SIGBUS, std::ptr::null(), previous.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        let previous = PREVIOUS.get_or_init(|| previous.assume_init());
        let mut action = *previous;
        action.sa_sigaction = on_bus_error as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        // PostgreSQL's own handlers wait until it is done.
        libc::sigfillset(&mut action.sa_mask);
        if libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

extern "C" fn on_bus_error(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the kernel passes a siginfo of a SIGBUS. Sent by kill() it holds no address.
    let address = unsafe { ((*info).si_code > 0).then(|| (*info).si_addr() as usize) };
    let ours = address.and_then(|address| MAPPINGS.iter().find(|slot| slot.contains(address)));
    if !ours.is_some_and(Slot::lose) {
        pass_on(signal, info, context);
    }
}

/// What would happen without us.
fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let Some(previous) = PREVIOUS.get() else { return };
    let handler = previous.sa_sigaction;
    // SAFETY: the kernel returned this action as the one that was installed, so its handler is a
    // function of the kind that its flags tell.
    unsafe {
        if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
            // At our return the access fails again, or the signal that was sent arrives.
            libc::sigaction(signal, previous, std::ptr::null_mut());
            libc::raise(signal);
        } else if previous.sa_flags & libc::SA_SIGINFO != 0 {
            type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
            std::mem::transmute::<libc::sighandler_t, Handler>(handler)(signal, info, context);
        } else {
            type Handler = extern "C" fn(libc::c_int);
            std::mem::transmute::<libc::sighandler_t, Handler>(handler)(signal);
        }
    }
}
