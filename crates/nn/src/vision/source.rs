//! The bytes of an image as the stream that decoders read, which ends in an error once the caller
//! wants to stop: the decoders know nothing of cancellation, but all of them read.

use std::cell::Cell;
use std::io::{self, BufRead, Read, Seek, SeekFrom};

use teller_numeric::Control;

/// Bytes handed out at once. The best compression there is makes some 10 MB of them, a few
/// milliseconds of work.
const WINDOW: usize = 4096;

/// What happened to a stream while a decoder owned it.
pub(super) struct Watch<'c> {
    control: &'c dyn Control,
    handed_out: Cell<usize>,
    cancelled: Cell<bool>,
    beyond: Cell<bool>,
}

impl<'c> Watch<'c> {
    pub(super) fn new(control: &'c dyn Control) -> Self {
        Self {
            control,
            handed_out: Cell::new(0),
            cancelled: Cell::new(false),
            beyond: Cell::new(false),
        }
    }

    /// The control asked, for loops of our own.
    pub(super) fn control(&self) -> &'c dyn Control {
        self.control
    }

    /// Whether a read failed because of a cancellation. Decoders turn that error into many others.
    pub(super) fn cancelled(&self) -> bool {
        self.cancelled.get()
    }

    /// Whether the decoder stopped behind the end of the bytes, in the padding.
    pub(super) fn beyond(&self) -> bool {
        self.beyond.get()
    }

    /// Counts bytes handed out.
    fn count(&self, bytes: usize) {
        self.handed_out.set(self.handed_out.get().saturating_add(bytes));
    }

    /// Asks the control once in a window. Some decoders read a byte at a time, so a call counts
    /// too. Sticky: some go on after a failed read.
    fn poll(&self) -> io::Result<()> {
        self.count(16);
        if self.handed_out.get() >= WINDOW {
            self.handed_out.set(0);
            if self.control.check().is_err() {
                self.cancelled.set(true);
            }
        }
        if self.cancelled.get() {
            return Err(io::Error::other("the computation was cancelled"));
        }
        Ok(())
    }
}

/// What follows the bytes of a padded stream.
const PADDING: [u8; 16] = [0; 16];

/// A readable, seekable view of bytes in memory.
pub(super) struct Source<'a> {
    bytes: &'a [u8],
    padding: &'a [u8],
    position: u64,
    watch: &'a Watch<'a>,
}

impl<'a> Source<'a> {
    pub(super) fn new(bytes: &'a [u8], watch: &'a Watch<'a>) -> Self {
        Self { bytes, padding: &[], position: 0, watch }
    }

    /// The bytes followed by a few zeros, for a decoder that reads ahead: where it stands in the
    /// end tells whether it needed more than there was.
    pub(super) fn padded(bytes: &'a [u8], watch: &'a Watch<'a>) -> Self {
        Self { bytes, padding: &PADDING, position: 0, watch }
    }

    /// What comes next, at most a window of it, empty at the end.
    fn window(&self) -> &'a [u8] {
        let position = usize::try_from(self.position).unwrap_or(usize::MAX);
        let rest = match self.bytes.get(position..) {
            None | Some([]) => {
                self.padding.get(position.saturating_sub(self.bytes.len())..).unwrap_or_default()
            }
            Some(rest) => rest,
        };
        &rest[..rest.len().min(WINDOW)]
    }

    fn go_to(&mut self, position: u64) {
        self.position = position;
        self.watch.beyond.set(position > self.bytes.len() as u64);
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let window = self.window();
        let count = window.len().min(buffer.len());
        self.watch.poll()?;
        self.watch.count(count);
        buffer[..count].copy_from_slice(&window[..count]);
        self.go_to(self.position.saturating_add(count as u64));
        Ok(count)
    }
}

impl BufRead for Source<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.watch.poll()?;
        Ok(self.window())
    }

    fn consume(&mut self, amount: usize) {
        self.watch.count(amount);
        self.go_to(self.position.saturating_add(amount as u64));
    }
}

impl Seek for Source<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
            SeekFrom::End(offset) => (self.bytes.len() as u64).checked_add_signed(offset),
        };
        match target {
            Some(position) => {
                self.go_to(position);
                Ok(position)
            }
            None => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a position before the start of the file",
            )),
        }
    }
}
