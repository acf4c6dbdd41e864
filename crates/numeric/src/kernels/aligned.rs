//! Numbers that lie well for rows that are read from anywhere.

use std::ops::{Deref, DerefMut};

/// Bytes of a line of the cache.
const LINE: usize = 64;

/// Numbers whose first begins a line of the cache, so that a row of sixteen, or of a multiple, has
/// no line more than it needs; many of them are in pages of megabytes where the system has such,
/// so that rows from anywhere wait less for their addresses.
#[derive(Debug, Default)]
pub struct Aligned {
    numbers: Vec<f32>,
    first: usize,
    len: usize,
}

impl Aligned {
    /// So many zeros.
    pub fn zeroed(len: usize) -> Self {
        let numbers = vec![0f32; len + LINE / size_of::<f32>()];
        in_huge_pages(&numbers);
        let first = numbers.as_ptr().align_offset(LINE).min(LINE / size_of::<f32>());
        Self { numbers, first, len }
    }

    /// So many numbers, whatever they are, in the same memory where they fit.
    pub fn sized(&mut self, len: usize) -> &mut [f32] {
        if self.first + len > self.numbers.len() {
            *self = Self::zeroed(len);
        }
        self.len = len;
        self
    }

    /// Without a second copy.
    pub fn into_vec(mut self) -> Vec<f32> {
        self.numbers.copy_within(self.first..self.first + self.len, 0);
        self.numbers.truncate(self.len);
        self.numbers
    }
}

impl Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.numbers[self.first..self.first + self.len]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.numbers[self.first..self.first + self.len]
    }
}

/// Asks for the pages before the first of the numbers is written: later they would have to move.
fn in_huge_pages(numbers: &[f32]) {
    #[cfg(target_os = "linux")]
    {
        /// Bytes of a huge page of x86-64, and of most others.
        const HUGE: usize = 1 << 21;
        let start = numbers.as_ptr().cast::<u8>();
        let before = start.align_offset(HUGE);
        let whole = size_of_val(numbers).saturating_sub(before) / HUGE * HUGE;
        if whole > 0 {
            let start = start.wrapping_add(before).cast_mut().cast();
            // SAFETY: the pages lie within the numbers, and the advice changes none of these. It
            // may be refused, which changes nothing either.
            unsafe { libc::madvise(start, whole, libc::MADV_HUGEPAGE) };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = numbers;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_its_numbers_from_the_start_of_a_line_on() {
        for len in [0, 1, 63, 5_000_000] {
            let mut aligned = Aligned::zeroed(len);
            assert_eq!(aligned.as_ptr() as usize % LINE, 0);
            assert!(aligned.len() == len && aligned.iter().all(|&x| x == 0.0));
            aligned.iter_mut().enumerate().for_each(|(at, x)| *x = at as f32);
            let numbers = aligned.into_vec();
            assert!(
                numbers.len() == len && numbers.iter().enumerate().all(|(at, &x)| x == at as f32)
            );
        }
    }

    #[test]
    fn keeps_its_memory_where_that_is_enough() {
        let mut aligned = Aligned::default();
        assert!(aligned.is_empty() && aligned.sized(0).is_empty());
        for len in [7, 3, 7, 0, 100] {
            let numbers = aligned.sized(len);
            assert_eq!(numbers.len(), len);
            assert!(len == 0 || (numbers.as_ptr() as usize).is_multiple_of(LINE));
        }
        let before = aligned.as_ptr();
        assert_eq!(aligned.sized(50).as_ptr(), before);
    }
}
