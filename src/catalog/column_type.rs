//! The types of a table's columns that rows are generated for, and how their values are told.

use std::ffi::{CStr, CString, c_int};

use pgrx::pg_sys;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use teller_nn::{ColumnKind, TableCell};
use teller_recommend::FeatureKind;

use crate::catalog::data::type_name;
use crate::catalog::feature::Feature;
use crate::error::Error;

/// What a column's numbers or texts stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// Integers, floats, `numeric`.
    Number,
    /// 0 and 1.
    Boolean,
    /// Days since 2000.
    Date,
    /// Microseconds since 2000.
    Timestamp,
    /// The same in UTC.
    Timestamptz,
    /// The smallest coins.
    Money,
    /// Texts and enums.
    Text,
}

/// Bytes of the longest date or time with its end (`MAXDATELEN`).
const LONGEST: usize = 129;

impl ColumnType {
    /// That of a column of a query.
    pub fn of(column: &Feature) -> Result<Self, Error> {
        Ok(match (column.type_oid, column.kind) {
            (pg_sys::BOOLOID, _) => Self::Boolean,
            (pg_sys::DATEOID, _) => Self::Date,
            (pg_sys::TIMESTAMPOID, _) => Self::Timestamp,
            (pg_sys::TIMESTAMPTZOID, _) => Self::Timestamptz,
            (pg_sys::MONEYOID, _) => Self::Money,
            (_, FeatureKind::Number) => Self::Number,
            (_, FeatureKind::Text) => Self::Text,
            (type_oid, FeatureKind::Texts) => {
                return Err(Error::ColumnType {
                    name: column.name.clone(),
                    got: type_name(type_oid),
                    expected: "a number, boolean, date, time stamp, money, text or enum",
                });
            }
        })
    }

    /// What the engine is to see in it.
    pub fn kind(self) -> ColumnKind {
        if self == Self::Text { ColumnKind::Category } else { ColumnKind::Number }
    }

    /// A value as `to_jsonb` would tell it; times with a time zone in UTC.
    pub fn json(self, cell: TableCell) -> Value {
        let number = match cell {
            TableCell::Null => return Value::Null,
            TableCell::Text(text) => return text.into(),
            TableCell::Number(number) => number,
        };
        match self {
            Self::Boolean => Value::Bool(number != 0.0),
            Self::Date => time(pg_sys::Datum::from(number as i32), pg_sys::DATEOID),
            Self::Timestamp => time(pg_sys::Datum::from(number as i64), pg_sys::TIMESTAMPOID),
            Self::Timestamptz => time(pg_sys::Datum::from(number as i64), pg_sys::TIMESTAMPTZOID),
            Self::Money => money(number as i64),
            Self::Number | Self::Text if number.fract() == 0.0 && number.abs() < 9e15 => {
                Value::from(number as i64)
            }
            Self::Number | Self::Text => number.into(),
        }
    }

    /// The value that [`Self::json`] tells, however times and money are written; `None` for a
    /// value of another kind.
    pub fn read(self, value: &Value) -> Option<TableCell<'_>> {
        let number = match (self, value) {
            (_, Value::Null) => return Some(TableCell::Null),
            (Self::Text, Value::String(text)) => return Some(TableCell::Text(text)),
            (Self::Boolean, Value::Bool(is)) => f64::from(u8::from(*is)),
            (Self::Number, Value::Number(number)) => number.as_f64()?,
            (Self::Date, Value::String(text)) => {
                f64::from(input(text, pg_sys::F_DATE_IN)?.value() as i32)
            }
            (Self::Timestamp, Value::String(text)) => {
                input(text, pg_sys::F_TIMESTAMP_IN)?.value() as i64 as f64
            }
            (Self::Timestamptz, Value::String(text)) => {
                input(text, pg_sys::F_TIMESTAMPTZ_IN)?.value() as i64 as f64
            }
            (Self::Money, Value::String(text)) => {
                input(text, pg_sys::F_CASH_IN)?.value() as i64 as f64
            }
            _ => return None,
        };
        Some(TableCell::Number(number))
    }
}

/// What a type that is passed by value reads from a text, as PostgreSQL's errors say if it cannot;
/// `None` for a text that is none of PostgreSQL's.
fn input(text: &str, function: u32) -> Option<pg_sys::Datum> {
    let text = CString::new(text).ok()?;
    let (no_element, any_length) = (pg_sys::InvalidOid, -1);
    // SAFETY: the text ends, and the input function of the type reads nothing else.
    Some(unsafe {
        pg_sys::OidInputFunctionCall(
            function.into(),
            text.as_ptr().cast_mut(),
            no_element,
            any_length,
        )
    })
}

/// In ISO 8601.
fn time(datum: pg_sys::Datum, type_oid: pg_sys::Oid) -> Value {
    let mut text = [0; LONGEST];
    let utc: c_int = 0;
    // SAFETY: the buffer is as long as the function wants it, and it ends what it writes there.
    let text = unsafe {
        CStr::from_ptr(pg_sys::JsonEncodeDateTime(text.as_mut_ptr(), datum, type_oid, &utc))
    };
    text.to_string_lossy().into()
}

fn money(coins: i64) -> Value {
    // SAFETY: the output function of the type; its result is freed here.
    unsafe {
        let datum = pg_sys::Datum::from(coins);
        let printed = pg_sys::OidOutputFunctionCall(pg_sys::F_CASH_OUT.into(), datum);
        let text = CStr::from_ptr(printed).to_string_lossy().into_owned();
        pg_sys::pfree(printed.cast());
        text.into()
    }
}
