//! NEON of 64-bit ARM.

use std::arch::aarch64::*;

use super::simd::{Simd, Work};

/// Proof that the processor has NEON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Neon(());

impl Neon {
    pub(super) fn detect() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("neon").then_some(Self(()))
    }
}

impl Simd for Neon {
    type Vector = float32x4_t;
    type Mask = usize;

    const LANES: usize = 4;
    const REGISTERS: usize = 32;

    #[inline(always)]
    fn splat(self, value: f32) -> float32x4_t {
        // SAFETY: `self` proves NEON.
        unsafe { vdupq_n_f32(value) }
    }

    #[inline(always)]
    fn fma(self, a: float32x4_t, b: float32x4_t, sum: float32x4_t) -> float32x4_t {
        // SAFETY: `self` proves NEON.
        unsafe { vfmaq_f32(sum, a, b) }
    }

    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: `self` proves NEON.
        unsafe { vaddq_f32(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: `self` proves NEON.
        unsafe { vsubq_f32(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: `self` proves NEON.
        unsafe { vmulq_f32(a, b) }
    }

    #[inline(always)]
    fn sum16(self, [a, b, c, d]: [float32x4_t; 4]) -> f32 {
        // SAFETY: `self` proves NEON.
        unsafe {
            let four = vaddq_f32(vaddq_f32(a, c), vaddq_f32(b, d));
            let two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
            vget_lane_f32::<0>(two) + vget_lane_f32::<1>(two)
        }
    }

    #[inline(always)]
    fn if_greater(
        self,
        a: float32x4_t,
        b: float32x4_t,
        yes: float32x4_t,
        no: float32x4_t,
    ) -> float32x4_t {
        // SAFETY: `self` proves NEON.
        unsafe { vbslq_f32(vcgtq_f32(a, b), yes, no) }
    }

    #[inline(always)]
    fn if_equal(
        self,
        a: float32x4_t,
        b: float32x4_t,
        yes: float32x4_t,
        no: float32x4_t,
    ) -> float32x4_t {
        // SAFETY: `self` proves NEON.
        unsafe { vbslq_f32(vceqq_f32(a, b), yes, no) }
    }

    #[inline(always)]
    fn max(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // The instruction for the maximum treats zeros and NaN otherwise than x86 does.
        // SAFETY: `self` proves NEON.
        unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) }
    }

    #[inline(always)]
    fn mask(self, lanes: usize) -> usize {
        lanes.min(4)
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> float32x4_t {
        // SAFETY: `self` proves NEON; the caller grants 4 floats.
        unsafe { vld1q_f32(from) }
    }

    #[inline(always)]
    unsafe fn load_masked(self, lanes: usize, from: *const f32) -> float32x4_t {
        let mut whole = [0f32; 4];
        // SAFETY: the caller grants the first `lanes` floats, `whole` has 4; `self` proves NEON.
        unsafe {
            std::ptr::copy_nonoverlapping(from, whole.as_mut_ptr(), lanes);
            vld1q_f32(whole.as_ptr())
        }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, vector: float32x4_t) {
        // SAFETY: `self` proves NEON; the caller grants 4 floats.
        unsafe { vst1q_f32(to, vector) }
    }

    #[inline(always)]
    unsafe fn store_masked(self, lanes: usize, to: *mut f32, vector: float32x4_t) {
        let mut whole = [0f32; 4];
        // SAFETY: `self` proves NEON; the caller grants the first `lanes` floats.
        unsafe {
            vst1q_f32(whole.as_mut_ptr(), vector);
            std::ptr::copy_nonoverlapping(whole.as_ptr(), to, lanes);
        }
    }

    #[inline(always)]
    fn vectorize<W: Work>(self, work: W) -> W::Output {
        // NEON is part of every 64-bit ARM target, so ordinary code may use it.
        work.run()
    }
}
