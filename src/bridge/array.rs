//! Arrays of floats as SQL has them: read where they lie, made by one copy.
//!
//! pgrx gathers the elements first, in 8 bytes each, which PostgreSQL refuses to do for more than
//! 67 million of them.

use std::ptr::NonNull;

use pgrx::array::RawArray;
use pgrx::{AnyArray, Array, FromDatum, pg_sys};

use crate::error::Error;

/// Numbers in a value: PostgreSQL's values end at 1 GB, with room for the rest of a row.
const MOST: usize = ((1 << 30) - (1 << 12)) / size_of::<f32>();

/// Whether an array may hold so many numbers; `what` they are is for the message.
pub fn check_len(what: &str, len: usize) -> Result<(), Error> {
    if len <= MOST {
        return Ok(());
    }
    Err(Error::ArrayTooLong { what: what.to_owned(), got: len, limit: MOST })
}

/// The numbers as a `real[]` in the current memory context, where the caller uses it up. More than
/// an array holds are an error that PostgreSQL raises.
pub fn real_array(numbers: &[f32]) -> Option<AnyArray> {
    const HEADER: usize = size_of::<pg_sys::ArrayType>() + 2 * size_of::<i32>();
    const { assert!(HEADER.is_multiple_of(8)) };
    // SAFETY: `palloc` gives what is asked for, aligned, or raises an error. The layout is that of
    // an array of one dimension without nulls: the header, the length, the first index, the
    // numbers. An array of no elements has no dimension, which `construct_empty_array` knows.
    unsafe {
        let array = if numbers.is_empty() {
            pg_sys::construct_empty_array(pg_sys::FLOAT4OID)
        } else {
            let len = HEADER + size_of_val(numbers);
            let array = pg_sys::palloc(len).cast::<pg_sys::ArrayType>();
            let header = pg_sys::ArrayType {
                vl_len_: 0,
                ndim: 1,
                dataoffset: 0,
                elemtype: pg_sys::FLOAT4OID,
            };
            array.write(header);
            pgrx::set_varsize_4b(array.cast(), len as i32);
            array.add(1).cast::<[i32; 2]>().write([numbers.len() as i32, 1]);
            let to = array.cast::<u8>().add(HEADER).cast::<f32>();
            to.copy_from_nonoverlapping(numbers.as_ptr(), numbers.len());
            array
        };
        AnyArray::from_polymorphic_datum(array.into(), false, pg_sys::FLOAT4ARRAYOID)
    }
}

/// A copy of the numbers of an argument, row by row, and how many each row has, as [`read_reals`];
/// `nulls` says what is wrong where one is NULL.
pub fn numbers(array: Array<'_, f32>, nulls: &'static str) -> Result<(Vec<f32>, usize), Error> {
    // SAFETY: pgrx has made sure of the type and of a plain array.
    unsafe {
        read_reals(array.into_array_type().cast_mut(), |numbers| match numbers {
            Some((numbers, width)) => Ok((numbers.to_vec(), width)),
            None => Err(Error::NullArgument(nulls)),
        })
    }
}

/// Calls `read` with the numbers of a `real[]`, row by row, and how many each row has: one of an
/// array of one dimension. An array with a NULL has none that count.
///
/// # Safety
/// `array` is a valid, plain array of `real`.
pub unsafe fn read_reals<T>(
    array: *mut pg_sys::ArrayType,
    read: impl FnOnce(Option<(&[f32], usize)>) -> T,
) -> T {
    let Some(array) = NonNull::new(array) else { return read(None) };
    // SAFETY: promised by the caller; the data has as many numbers as the dimensions say, since
    // there is no NULL among them.
    unsafe {
        let mut raw = RawArray::from_ptr(array);
        if raw.any_nulls() || raw.oid() != pg_sys::FLOAT4OID {
            return read(None);
        }
        let width = match *raw.dims() {
            [_] => 1,
            [_, width] => width as usize,
            _ => 0,
        };
        let numbers = raw.data::<f32>();
        read(Some((numbers.as_ref(), width)))
    }
}
