//! A digest of the rows that a training got, in their order.

use std::cell::RefCell;

use sha2::{Digest, Sha256};

use crate::catalog::digest::hex;

/// Hashing many small values one by one would cost more than the hash.
const BUFFER_BYTES: usize = 16 * 1024;

/// SHA-256 over all values, row by row and column by column, each as PostgreSQL sends it:
///
/// | value | bytes |
/// |---|---|
/// | `bytea` | `b`, length as `int4send`, the bytes |
/// | text, and what prints as one | `t`, length as `int4send`, the text |
/// | integer id | `i`, `int8send` |
/// | number | `n`, `float8send` |
/// | of a column that the query lacks | `-` |
///
/// Nobody needs this program to compute it again.
#[derive(Default)]
pub struct RowsDigest(RefCell<State>);

#[derive(Default)]
struct State {
    hasher: Sha256,
    buffer: Vec<u8>,
}

impl RowsDigest {
    /// Adds a `bytea`.
    pub fn bytes(&self, bytes: &[u8]) {
        self.0.borrow_mut().add_long(b'b', bytes);
    }

    /// Adds a text.
    pub fn text(&self, text: &str) {
        self.0.borrow_mut().add_long(b't', text.as_bytes());
    }

    /// Adds an integer.
    pub fn integer(&self, integer: i64) {
        self.0.borrow_mut().add(b'i', &integer.to_be_bytes());
    }

    /// Adds a number, or that there is none.
    pub fn number(&self, number: Option<f64>) {
        let mut state = self.0.borrow_mut();
        match number {
            Some(number) => state.add(b'n', &number.to_be_bytes()),
            None => state.add(b'-', &[]),
        }
    }

    /// The digest in hexadecimal.
    pub fn finish(self) -> String {
        let mut state = self.0.into_inner();
        state.flush();
        hex(&state.hasher.finalize())
    }
}

impl State {
    fn add(&mut self, tag: u8, value: &[u8]) {
        self.buffer.push(tag);
        self.buffer.extend_from_slice(value);
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush();
        }
    }

    fn add_long(&mut self, tag: u8, value: &[u8]) {
        // A value of PostgreSQL's has less than 1 GB.
        self.add(tag, &(value.len() as u32).to_be_bytes());
        if value.len() >= BUFFER_BYTES {
            self.flush();
            self.hasher.update(value);
        } else {
            self.buffer.extend_from_slice(value);
        }
    }

    fn flush(&mut self) {
        self.hasher.update(&self.buffer);
        self.buffer.clear();
    }
}
