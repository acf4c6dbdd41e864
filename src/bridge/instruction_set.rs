//! The setting `teller.instruction_set`, which forces the kernels to one path of the processor.

use std::ffi::{c_int, c_void};

use pgrx::guc::{GucContext, GucEnum, GucFlags, GucRegistry, GucSetting, PostgresGucEnum};
use pgrx::{pg_guard, pg_sys};
use teller_numeric::Isa;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PostgresGucEnum)]
enum InstructionSet {
    #[name = c"auto"]
    Auto,
    #[name = c"avx512"]
    Avx512,
    #[name = c"avx2"]
    Avx2,
    #[name = c"neon"]
    Neon,
    #[name = c"scalar"]
    Scalar,
}

static INSTRUCTION_SET: GucSetting<InstructionSet> =
    GucSetting::<InstructionSet>::new(InstructionSet::Auto);

impl InstructionSet {
    /// `None` for the widest.
    fn name(self) -> Option<&'static str> {
        match self {
            Self::Auto => None,
            Self::Avx512 => Some("avx512"),
            Self::Avx2 => Some("avx2"),
            Self::Neon => Some("neon"),
            Self::Scalar => Some("scalar"),
        }
    }
}

/// Registers the setting; called once, when the library is loaded.
pub fn define() {
    // SAFETY: both hooks are guarded against panics.
    unsafe {
        GucRegistry::define_enum_guc_with_hooks(
            c"teller.instruction_set",
            c"The vector instructions that models are computed with.",
            c"auto takes the widest that the processor has. No number depends on it.",
            &INSTRUCTION_SET,
            GucContext::Userset,
            GucFlags::default(),
            Some(check),
            Some(assign),
            None,
        );
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn check(
    value: *mut c_int,
    _extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: PostgreSQL passes the new value.
    let value = InstructionSet::from_ordinal(unsafe { *value });
    value.name().is_none_or(|name| Isa::named(name).is_some())
}

#[pg_guard]
unsafe extern "C-unwind" fn assign(value: c_int, _extra: *mut c_void) {
    Isa::force(InstructionSet::from_ordinal(value).name().and_then(Isa::named));
}
