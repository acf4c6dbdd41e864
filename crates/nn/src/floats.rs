//! Floats that start at a cache line, so that vector loads do not straddle two.

use std::ops::{Deref, DerefMut};

use teller_payload::AlignedBytes;

use crate::Error;

#[derive(Clone, Debug)]
pub(crate) struct Floats(AlignedBytes);

impl Floats {
    /// `len` zeros; an error instead of an abort where the memory is not to be had.
    pub(crate) fn zeros(len: usize) -> Result<Self, Error> {
        let bytes = len.checked_mul(size_of::<f32>());
        match bytes.and_then(AlignedBytes::try_zeroed) {
            Some(bytes) => Ok(Self(bytes)),
            None => Err(Error::OutOfMemory { bytes: bytes.unwrap_or(usize::MAX) as u64 }),
        }
    }
}

impl Deref for Floats {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        bytemuck::cast_slice(&self.0)
    }
}

impl DerefMut for Floats {
    fn deref_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}
