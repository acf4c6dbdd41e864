//! The few vector operations that the kernels are written in.

/// One instruction set. A value of the type exists only where the processor has it.
///
/// All operations are exactly rounded, so an algorithm over them that treats lanes alike gives
/// the same bits for every implementation.
pub(super) trait Simd: Copy {
    type Vector: Copy;
    /// Chooses the first lanes of a vector.
    type Mask: Copy;

    const LANES: usize;
    /// Vector registers, which decide how large a tile may be.
    const REGISTERS: usize;

    fn splat(self, value: f32) -> Self::Vector;

    /// `a * b + sum`, rounded once.
    fn fma(self, a: Self::Vector, b: Self::Vector, sum: Self::Vector) -> Self::Vector;

    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// `a - b`.
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// `a * b`.
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// The sum of 16 numbers, in as many vectors as they fill, by halves: the first 8 and the last
    /// 8 are added by lane, so are the first 4 and the last 4 of these, and so on.
    fn sum16(self, numbers: [Self::Vector; 4]) -> f32;

    /// `if a > b { yes } else { no }` by lane.
    fn if_greater(
        self,
        a: Self::Vector,
        b: Self::Vector,
        yes: Self::Vector,
        no: Self::Vector,
    ) -> Self::Vector;

    /// `if a == b { yes } else { no }` by lane.
    fn if_equal(
        self,
        a: Self::Vector,
        b: Self::Vector,
        yes: Self::Vector,
        no: Self::Vector,
    ) -> Self::Vector;

    /// `if a > b { a } else { b }` by lane: what is not a number passes only as `b`.
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// The first `lanes` lanes, at most `LANES`.
    fn mask(self, lanes: usize) -> Self::Mask;

    /// # Safety
    /// `from` must be readable for `LANES` floats.
    unsafe fn load(self, from: *const f32) -> Self::Vector;

    /// The lanes outside the mask are zero.
    ///
    /// # Safety
    /// `from` must be readable for the lanes of `mask`.
    unsafe fn load_masked(self, mask: Self::Mask, from: *const f32) -> Self::Vector;

    /// # Safety
    /// `to` must be writable for `LANES` floats.
    unsafe fn store(self, to: *mut f32, vector: Self::Vector);

    /// # Safety
    /// `to` must be writable for the lanes of `mask`.
    unsafe fn store_masked(self, mask: Self::Mask, to: *mut f32, vector: Self::Vector);

    /// Runs `work` in a function compiled with the features of this instruction set.
    fn vectorize<W: Work>(self, work: W) -> W::Output;
}

/// Something to be compiled for each instruction set. `run` must be `#[inline(always)]`, as must
/// be all that it calls: what stays a function of its own is compiled without the features, and
/// each of its vector operations becomes a call. Large closures are not inlined.
pub trait Work {
    /// What comes of it.
    type Output;

    /// Does it.
    fn run(self) -> Self::Output;
}
