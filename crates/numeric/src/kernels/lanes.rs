//! Loops over pixels, for one vector of their channels after another.

use super::simd::{Simd, Work};
use super::{Isa, Token};

/// Runs `pass` compiled for this instruction set.
pub(super) fn run(isa: Isa, pass: impl Pass) {
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        Token::Avx512(simd) => simd.vectorize(Everywhere { simd, pass }),
        #[cfg(target_arch = "x86_64")]
        Token::Avx2(simd) => simd.vectorize(Everywhere { simd, pass }),
        #[cfg(target_arch = "aarch64")]
        Token::Neon(simd) => simd.vectorize(Everywhere { simd, pass }),
        Token::Scalar(simd) => simd.vectorize(Everywhere { simd, pass }),
    }
}

/// Work that treats the channels of its pixels alike, a vector of them at a time.
pub(super) trait Pass {
    /// Contiguous numbers of a pixel.
    fn channels(&self) -> usize;

    /// # Safety
    /// The channels of `lanes` must exist, and the slices reach as far as the shape.
    unsafe fn lanes<S: Simd, const MASKED: bool>(&self, lanes: Lanes<S, MASKED>);
}

struct Everywhere<S, P> {
    simd: S,
    pass: P,
}

impl<S: Simd, P: Pass> Work for Everywhere<S, P> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { simd, pass } = self;
        let channels = pass.channels();
        let mut first = 0;
        while first < channels {
            let count = (channels - first).min(S::LANES);
            let mask = simd.mask(count);
            // SAFETY: the lanes are within the channels; whoever made the pass has checked it.
            unsafe {
                if count == S::LANES {
                    pass.lanes(Lanes::<S, false> { simd, first, mask });
                } else {
                    pass.lanes(Lanes::<S, true> { simd, first, mask });
                }
            }
            first += count;
        }
    }
}

/// A vector's channels, `first` and those after it; with `MASKED`, only those of the mask.
#[derive(Clone, Copy)]
pub(super) struct Lanes<S: Simd, const MASKED: bool> {
    pub(super) simd: S,
    first: usize,
    mask: S::Mask,
}

impl<S: Simd, const MASKED: bool> Lanes<S, MASKED> {
    /// # Safety
    /// The channels must be readable at `from`, which points to channel 0.
    #[inline(always)]
    pub(super) unsafe fn load(&self, from: *const f32) -> S::Vector {
        let from = from.wrapping_add(self.first);
        // SAFETY: the caller grants the channels.
        unsafe {
            if MASKED { self.simd.load_masked(self.mask, from) } else { self.simd.load(from) }
        }
    }

    /// # Safety
    /// The channels must be writable at `to`, which points to channel 0.
    #[inline(always)]
    pub(super) unsafe fn store(&self, to: *mut f32, vector: S::Vector) {
        let to = to.wrapping_add(self.first);
        // SAFETY: the caller grants the channels.
        unsafe {
            if MASKED {
                self.simd.store_masked(self.mask, to, vector);
            } else {
                self.simd.store(to, vector);
            }
        }
    }
}
