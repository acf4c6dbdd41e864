use std::sync::Arc;

use crate::ALIGNMENT;

/// Where a payload's bytes lie.
pub trait Bytes: AsRef<[u8]> + Send + Sync {
    /// Whether whoever provides these bytes has compared their checksum already, so that
    /// [`crate::Payload::parse`] need not read them all. Everything else is checked regardless.
    fn checksum_known(&self) -> bool {
        false
    }
}

impl Bytes for AlignedBytes {}

/// Bytes of a payload, shared by its readers: owned memory or a mapped file.
pub type SharedBytes = Arc<dyn Bytes>;

#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([u8; ALIGNMENT]);

/// Owned bytes that start at a multiple of [`ALIGNMENT`].
#[derive(Clone)]
pub struct AlignedBytes {
    lines: Vec<Line>,
    len: usize,
}

impl AlignedBytes {
    /// `len` zero bytes.
    pub fn zeroed(len: usize) -> Self {
        Self { lines: vec![bytemuck::Zeroable::zeroed(); len.div_ceil(ALIGNMENT)], len }
    }

    /// `len` zero bytes, or nothing if the memory is not to be had.
    pub fn try_zeroed(len: usize) -> Option<Self> {
        let mut lines: Vec<Line> = Vec::new();
        let count = len.div_ceil(ALIGNMENT);
        lines.try_reserve_exact(count).ok()?;
        lines.resize(count, bytemuck::Zeroable::zeroed());
        Some(Self { lines, len })
    }
}

impl std::ops::Deref for AlignedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }
}

impl std::ops::DerefMut for AlignedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}

impl AsRef<[u8]> for AlignedBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<&[u8]> for AlignedBytes {
    fn from(bytes: &[u8]) -> Self {
        let mut aligned = Self::zeroed(bytes.len());
        aligned.copy_from_slice(bytes);
        aligned
    }
}

impl std::fmt::Debug for AlignedBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlignedBytes({} bytes)", self.len)
    }
}
