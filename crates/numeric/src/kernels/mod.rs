//! The matrix kernels, one for every vector unit, all giving the same bits.
//!
//! An [`Isa`] can only be had by detecting what the processor has, so that holding one is the
//! proof that its instructions may run. Each output element adds its products with fused
//! multiply-add in one order that the width of the vectors, the threads and the batch do not
//! change.
#![allow(unsafe_code)] // Vector instructions are; each block says why it may run.

mod aligned;
pub mod codes;
mod contraction;
mod depthwise;
mod dots;
mod lanes;
mod narrow;
#[cfg(target_arch = "aarch64")]
mod neon;
mod pooling;
mod prefetch;
mod projections;
mod scalar;
mod simd;
mod windows;
pub mod winograd;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::atomic::{AtomicU8, Ordering};

pub use aligned::Aligned;
pub use contraction::{Contraction, Grid, Start};
pub use depthwise::Depthwise;
pub use dots::{dots, dots_at};
pub use pooling::Unpool;
pub use prefetch::prefetch;
pub use projections::add_projections;
use simd::Simd;
pub use simd::Work;
pub use windows::Windows;

/// The code of the instruction set that [`Isa::force`] has chosen, 0 for none.
static FORCED: AtomicU8 = AtomicU8::new(0);

/// A vector instruction set that this processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa(Token);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    #[cfg(target_arch = "x86_64")]
    Avx512(x86::Avx512),
    #[cfg(target_arch = "x86_64")]
    Avx2(x86::Avx2),
    #[cfg(target_arch = "aarch64")]
    Neon(neon::Neon),
    Scalar(scalar::Scalar),
}

impl Isa {
    /// The portable path that every processor has, and the reference for the others.
    pub const SCALAR: Self = Self(Token::Scalar(scalar::Scalar));

    /// The widest that this processor has, unless [`Isa::force`] has chosen another.
    pub fn detect() -> Self {
        match FORCED.load(Ordering::Relaxed) {
            0 => Self::widest(),
            forced => Self::available()
                .into_iter()
                .find(|isa| isa.code() == forced)
                .unwrap_or(Self::SCALAR),
        }
    }

    /// Makes [`Isa::detect`] answer with this one in the whole process, `None` again with the
    /// widest. No number depends on it, so it is for tests of just that, and for comparisons.
    pub fn force(isa: Option<Self>) {
        FORCED.store(isa.map_or(0, Self::code), Ordering::Relaxed);
    }

    /// The one of this [`Isa::name`], if this processor has it.
    pub fn named(name: &str) -> Option<Self> {
        Self::available().into_iter().find(|isa| isa.name() == name)
    }

    fn code(self) -> u8 {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Token::Avx512(_) => 1,
            #[cfg(target_arch = "x86_64")]
            Token::Avx2(_) => 2,
            #[cfg(target_arch = "aarch64")]
            Token::Neon(_) => 3,
            Token::Scalar(_) => 4,
        }
    }

    fn widest() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(avx512) = x86::Avx512::detect() {
                return Self(Token::Avx512(avx512));
            }
            if let Some(avx2) = x86::Avx2::detect() {
                return Self(Token::Avx2(avx2));
            }
        }
        #[cfg(target_arch = "aarch64")]
        if let Some(neon) = neon::Neon::detect() {
            return Self(Token::Neon(neon));
        }
        Self::SCALAR
    }

    /// All that this processor has, the widest first and [`Isa::SCALAR`] last.
    pub fn available() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(x86::Avx512::detect().map(|avx512| Self(Token::Avx512(avx512))));
            all.extend(x86::Avx2::detect().map(|avx2| Self(Token::Avx2(avx2))));
        }
        #[cfg(target_arch = "aarch64")]
        all.extend(neon::Neon::detect().map(|neon| Self(Token::Neon(neon))));
        all.push(Self::SCALAR);
        all
    }

    /// `avx512`, `avx2`, `neon` or `scalar`.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Token::Avx512(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Token::Avx2(_) => "avx2",
            #[cfg(target_arch = "aarch64")]
            Token::Neon(_) => "neon",
            Token::Scalar(_) => "scalar",
        }
    }

    /// Runs `work(arguments)` compiled for this instruction set. Elementwise loops over exactly
    /// rounded operations (`+ - * /`, square root, comparisons) give the same bits on all of them.
    ///
    /// `work` must be a small function marked `#[inline(always)]`: what stays a function of its own
    /// is compiled for the oldest processor, and a closure often does, and a long function does.
    /// Those are to be a [`Work`] of their own, see [`Isa::run`].
    #[inline]
    pub fn vectorize<A, R>(self, work: impl FnOnce(A) -> R, arguments: A) -> R {
        self.run(Call { work, arguments })
    }

    /// Runs work compiled for this instruction set, however long it is.
    #[inline]
    pub fn run<W: Work>(self, work: W) -> W::Output {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Token::Avx512(simd) => simd.vectorize(work),
            #[cfg(target_arch = "x86_64")]
            Token::Avx2(simd) => simd.vectorize(work),
            #[cfg(target_arch = "aarch64")]
            Token::Neon(simd) => simd.vectorize(work),
            Token::Scalar(simd) => simd.vectorize(work),
        }
    }
}

struct Call<A, F> {
    work: F,
    arguments: A,
}

impl<A, R, F: FnOnce(A) -> R> Work for Call<A, F> {
    type Output = R;

    #[inline(always)]
    fn run(self) -> R {
        (self.work)(self.arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_comes_first_and_scalar_last() {
        let all = Isa::available();
        assert_eq!(all[0], Isa::detect());
        assert_eq!(*all.last().unwrap(), Isa::SCALAR);
        println!("{:?}", all.iter().map(|isa| isa.name()).collect::<Vec<_>>());
    }

    #[test]
    fn elementwise_loops_have_the_same_bits() {
        #[inline(always)]
        fn work(input: &[f32]) -> Vec<u32> {
            let f = |x: &f32| (x * 1.7 + 0.3) / (x.abs().sqrt() + 0.1);
            input.iter().map(|x| f(x).to_bits()).collect()
        }
        let input: Vec<f32> = (0..1000).map(|i| (i as f32 - 311.0) * 0.37).collect();
        let run = |isa: Isa| isa.vectorize(work, &input);
        for isa in Isa::available() {
            assert_eq!(run(isa), run(Isa::SCALAR), "{}", isa.name());
        }
    }
}
