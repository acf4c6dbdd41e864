/// Begins to bring numbers into the cache that will be read soon, where that can be asked for.
#[inline(always)]
pub fn prefetch(numbers: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        /// Numbers of a line of the cache.
        const LINE: usize = 16;
        for line in numbers.chunks(LINE) {
            // SAFETY: every x86-64 processor has SSE; prefetching changes nothing, and the address
            // is that of a number that lives.
            unsafe { _mm_prefetch(line.as_ptr().cast(), _MM_HINT_T0) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = numbers;
}
