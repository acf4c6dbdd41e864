//! The settings (`teller.*`), their defaults and ranges.

use std::ffi::CString;

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

use crate::bridge::instruction_set;

const KB: u64 = 1024;

static DEFAULT_IMAGE_MODEL: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"teller.digits"));
static DEFAULT_RECOMMENDER: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c""));
static THREADS: GucSetting<i32> = GucSetting::<i32>::new(0);
static MAX_IMAGE_PIXELS: GucSetting<i32> = GucSetting::<i32>::new(50_000_000);
static MAX_TRAINING_MEMORY: GucSetting<i32> = GucSetting::<i32>::new(2 * 1024 * 1024);
static CACHE_SIZE: GucSetting<i32> = GucSetting::<i32>::new(256 * 1024);
static SHARED_CACHE_SIZE: GucSetting<i32> = GucSetting::<i32>::new(4 * 1024 * 1024);

/// Registers all settings; called once, when the library is loaded.
pub fn init() {
    GucRegistry::define_string_guc(
        c"teller.default_image_model",
        c"The model of image functions that are called without one.",
        c"A table name, with its schema where the search_path does not lead to it.",
        &DEFAULT_IMAGE_MODEL,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_string_guc(
        c"teller.default_recommender",
        c"The model of recommendation functions that are called without one.",
        c"A table name, with its schema where the search_path does not lead to it; empty for none.",
        &DEFAULT_RECOMMENDER,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"teller.threads",
        c"Threads that one training statement uses.",
        c"0 takes as many as the machine has processors. The trained numbers do not depend on it.",
        &THREADS,
        0,
        1024,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"teller.max_image_pixels",
        c"The largest image, in pixels, that is decoded.",
        c"A larger one is refused by its header, before memory is allocated for it.",
        &MAX_IMAGE_PIXELS,
        1,
        i32::MAX,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"teller.max_training_memory",
        c"The most memory that one training statement may use for its data and its work.",
        c"A statement that would need more is refused before it allocates.",
        &MAX_TRAINING_MEMORY,
        1024,
        i32::MAX,
        GucContext::Suset,
        GucFlags::UNIT_KB,
    );
    GucRegistry::define_int_guc(
        c"teller.cache_size",
        c"The most memory that one connection keeps for the models it serves.",
        c"Models used least recently leave first.",
        &CACHE_SIZE,
        64,
        i32::MAX,
        GucContext::Suset,
        GucFlags::UNIT_KB,
    );
    GucRegistry::define_int_guc(
        c"teller.shared_cache_size",
        c"The most disk space of the files in which all connections share the models they serve.",
        c"Files used least recently leave first. 0 shares nothing.",
        &SHARED_CACHE_SIZE,
        0,
        i32::MAX,
        GucContext::Suset,
        GucFlags::UNIT_KB,
    );
    instruction_set::define();
    // SAFETY: called once on the backend's thread with a constant string.
    unsafe { pgrx::pg_sys::MarkGUCPrefixReserved(c"teller".as_ptr()) };
}

/// A setting that names the model of calls without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultModel {
    /// `teller.default_image_model`
    Image,
    /// `teller.default_recommender`
    Recommender,
}

impl DefaultModel {
    /// The setting's name.
    pub fn setting(self) -> &'static str {
        match self {
            Self::Image => "teller.default_image_model",
            Self::Recommender => "teller.default_recommender",
        }
    }

    /// The setting's value, unless it is empty.
    pub fn value(self) -> Option<CString> {
        let setting = match self {
            Self::Image => &DEFAULT_IMAGE_MODEL,
            Self::Recommender => &DEFAULT_RECOMMENDER,
        };
        setting.get().filter(|name| !name.is_empty())
    }
}

/// Threads of a training statement, at least 1.
pub fn threads() -> usize {
    match THREADS.get() {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads as usize,
    }
}

/// `teller.max_image_pixels`.
pub fn max_image_pixels() -> u64 {
    MAX_IMAGE_PIXELS.get() as u64
}

/// `teller.max_training_memory` in bytes.
pub fn max_training_memory() -> u64 {
    MAX_TRAINING_MEMORY.get() as u64 * KB
}

/// `teller.cache_size` in bytes.
pub fn cache_size() -> u64 {
    CACHE_SIZE.get() as u64 * KB
}

/// `teller.shared_cache_size` in bytes; 0 shares nothing.
pub fn shared_cache_size() -> u64 {
    SHARED_CACHE_SIZE.get() as u64 * KB
}
