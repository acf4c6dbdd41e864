//! Columns of training data that no task names: what is known of an item.

use std::ffi::CStr;

use pgrx::pg_sys;
use teller_recommend::FeatureKind;

use crate::catalog::data::{number, type_name};
use crate::catalog::rows_digest::RowsDigest;
use crate::error::Error;

/// A column of features.
pub struct Feature {
    /// Its name in the query's result.
    pub name: String,
    /// What it holds.
    pub kind: FeatureKind,
    /// Where it stands there.
    pub attribute: i32,
    /// Its type.
    pub type_oid: pg_sys::Oid,
    read: Read,
}

/// What a column has in a row.
pub enum FeatureValue<'a> {
    Number(f64),
    Text(&'a str),
}

/// How a value is read.
enum Read {
    Number(pg_sys::Oid),
    /// Days, or microseconds, or the smallest coins.
    Count {
        wide: bool,
    },
    Boolean,
    /// By its type's output function.
    Text(pg_sys::Oid),
    /// Elements by the output function of theirs.
    Texts {
        element: pg_sys::Oid,
        output: pg_sys::Oid,
        len: i16,
        by_value: bool,
        align: std::ffi::c_char,
    },
}

impl Feature {
    /// A column of a type that features may have.
    pub fn new(name: String, attribute: i32, type_oid: pg_sys::Oid) -> Result<Self, Error> {
        use pg_sys::*;
        // SAFETY: look-ups in the system caches.
        let element = unsafe { get_element_type(type_oid) };
        let read = match type_oid {
            INT2OID | INT4OID | INT8OID | FLOAT4OID | FLOAT8OID | NUMERICOID => {
                Read::Number(type_oid)
            }
            BOOLOID => Read::Boolean,
            DATEOID => Read::Count { wide: false },
            TIMESTAMPOID | TIMESTAMPTZOID | MONEYOID => Read::Count { wide: true },
            _ if is_text(type_oid) => Read::Text(output(type_oid)),
            _ if is_text(element) => {
                let (mut len, mut by_value, mut align) = (0, false, 0);
                // SAFETY: a look-up in the system caches of a type that exists.
                unsafe { get_typlenbyvalalign(element, &mut len, &mut by_value, &mut align) };
                Read::Texts { element, output: output(element), len, by_value, align }
            }
            _ => {
                return Err(Error::ColumnType {
                    name,
                    got: type_name(type_oid),
                    expected: "a number, boolean, date, time stamp, money, text, enum or an array of texts",
                });
            }
        };
        let kind = match read {
            Read::Number(_) | Read::Count { .. } | Read::Boolean => FeatureKind::Number,
            Read::Text(_) => FeatureKind::Text,
            Read::Texts { .. } => FeatureKind::Texts,
        };
        Ok(Self { name, kind, attribute, type_oid, read })
    }

    /// Calls `each` with what a value holds.
    ///
    /// # Safety
    /// The value is of the column, and not NULL.
    pub unsafe fn read(
        &self,
        datum: pg_sys::Datum,
        digest: &RowsDigest,
        each: &mut dyn FnMut(FeatureValue) -> Result<(), Error>,
    ) -> Result<(), Error> {
        match self.read {
            Read::Number(type_oid) => {
                let number = number(datum, type_oid);
                digest.number(Some(number));
                each(FeatureValue::Number(number))
            }
            Read::Count { wide } => {
                let count = datum.value();
                let count = if wide { count as i64 } else { i64::from(count as i32) };
                digest.integer(count);
                each(FeatureValue::Number(count as f64))
            }
            Read::Boolean => {
                let number = f64::from(u8::from(datum.value() != 0));
                digest.number(Some(number));
                each(FeatureValue::Number(number))
            }
            // SAFETY: the function is that of the column's type.
            Read::Text(output) => unsafe { text(output, datum, digest, each) },
            // SAFETY: the column holds arrays of these elements; what deconstructing allocates is
            // freed, and so is a copy that detoasting made.
            Read::Texts { element, output, len, by_value, align } => unsafe {
                let toasted: *mut pg_sys::varlena = datum.cast_mut_ptr();
                let array = pg_sys::pg_detoast_datum(toasted);
                let (mut values, mut nulls, mut count) =
                    (std::ptr::null_mut(), std::ptr::null_mut(), 0);
                pg_sys::deconstruct_array(
                    array.cast(),
                    element,
                    i32::from(len),
                    by_value,
                    align,
                    &mut values,
                    &mut nulls,
                    &mut count,
                );
                digest.integer(i64::from(count));
                for index in 0..count as usize {
                    match *nulls.add(index) {
                        true => digest.number(None),
                        false => text(output, *values.add(index), digest, each)?,
                    }
                }
                pg_sys::pfree(values.cast());
                pg_sys::pfree(nulls.cast());
                if array != toasted {
                    pg_sys::pfree(array.cast());
                }
                Ok(())
            },
        }
    }
}

/// # Safety
/// `output` is the output function of the value's type.
unsafe fn text(
    output: pg_sys::Oid,
    datum: pg_sys::Datum,
    digest: &RowsDigest,
    each: &mut dyn FnMut(FeatureValue) -> Result<(), Error>,
) -> Result<(), Error> {
    // SAFETY: promised by the caller; the result is freed here.
    unsafe {
        let printed = pg_sys::OidOutputFunctionCall(output, datum);
        let text = CStr::from_ptr(printed).to_string_lossy();
        digest.text(&text);
        let result = each(FeatureValue::Text(&text));
        pg_sys::pfree(printed.cast());
        result
    }
}

fn is_text(type_oid: pg_sys::Oid) -> bool {
    use pg_sys::*;
    matches!(type_oid, TEXTOID | VARCHAROID | BPCHAROID | NAMEOID)
        // SAFETY: a look-up in the system caches.
        || (type_oid != Oid::INVALID && unsafe { type_is_enum(type_oid) })
}

fn output(type_oid: pg_sys::Oid) -> pg_sys::Oid {
    let (mut output, mut is_varlena) = (pg_sys::Oid::INVALID, false);
    // SAFETY: a look-up in the system caches of a type that exists.
    unsafe { pg_sys::getTypeOutputInfo(type_oid, &mut output, &mut is_varlena) };
    output
}
