//! The numbers that a payload can hold. The set is closed: it is part of the format.

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Kind {
    F32,
    U32,
    I64,
    U64,
    U8,
    F64,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::F32 => "f32",
            Kind::U32 => "u32",
            Kind::I64 => "i64",
            Kind::U64 => "u64",
            Kind::U8 => "u8",
            Kind::F64 => "f64",
        }
    }

    pub(crate) fn bytes(self) -> u64 {
        match self {
            Kind::F32 | Kind::U32 => 4,
            Kind::I64 | Kind::U64 | Kind::F64 => 8,
            Kind::U8 => 1,
        }
    }
}

mod sealed {
    pub trait Sealed {
        const KIND: super::Kind;
    }
}

/// A number that payloads can hold: `f32`, `u32`, `i64`, `u64`, `u8`, `f64`.
pub trait Element: bytemuck::Pod + sealed::Sealed {}

macro_rules! element {
    ($($number:ty => $kind:ident),*) => {$(
        impl sealed::Sealed for $number {
            const KIND: Kind = Kind::$kind;
        }
        impl Element for $number {}
    )*};
}
element!(f32 => F32, u32 => U32, i64 => I64, u64 => U64, u8 => U8, f64 => F64);
