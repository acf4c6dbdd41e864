//! Everything that can go wrong, and the one table of SQLSTATEs (shown in docs/errors.md).

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::PgSqlErrorCode as Code;

use teller_nn::vision::ImageError;
use teller_nn::{ArchitectureError, StartError, TableError};
use teller_numeric::{Cancelled, OptionError};

use crate::bridge::interrupts;
use crate::catalog::manifest::Task;
use crate::catalog::model_table::{ModelTable, Privilege};
use crate::settings::{self, DefaultModel};

/// Characters of an unknown name, and names that there are, which an error tells.
const TOLD: usize = 100;
const MOST_TOLD: usize = 20;

/// Why a call of pg_teller failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the statement was cancelled")]
    Cancelled,
    #[error("{0}, got NULL")]
    NullArgument(&'static str),

    // Names and privileges.
    #[error("\"{name}\" is no valid name of a table")]
    ModelName { name: String },
    #[error("model {name} does not exist")]
    UnknownModel { name: String },
    #[error("{name} is not a model")]
    NotAModel { name: String },
    #[error("permission denied for model {model}: {} is needed", .privilege.grant())]
    Permission { model: String, privilege: Privilege },
    #[error("model {model} has row security, expected a table without")]
    RowSecurity { model: String },
    #[error("model {model} cannot be read here: {why}")]
    OutOfReach { model: String, why: &'static str },
    #[error("model {model} has no unique index on (version, part, chunk)")]
    NoKey { model: String },
    #[error("could not serialize access: model {model} was changed since this transaction began")]
    Overtaken { model: String },
    #[error("model {model} has no version in production")]
    NoProduction { model: String },
    #[error("model {model} has no version {number}")]
    NoVersion { model: String, number: i32 },
    #[error(
        "version {version} of model {model} is {status}, expected a candidate or an archived one"
    )]
    NotPromotable { model: String, version: i32, status: String },
    #[error("version {version} of model {model} is in production")]
    InProduction { model: String, version: i32 },
    #[error("model {model} has no version that was in production before")]
    NoEarlierVersion { model: String },
    #[error("version {version} of model {model} is {status}: it has no numbers")]
    NoNumbers { model: String, version: i32, status: String },
    #[error("no model was given, and {} is not set", .0.setting())]
    NoDefault(DefaultModel),
    #[error("model {model} does {}, this function expects {}", .got.name(), .expected.name())]
    WrongTask { model: String, got: Task, expected: Task },
    #[error("the items of model {model} are texts, this call expects integers")]
    TextItems { model: String },

    // Training.
    #[error("retrain commits as it goes, and somebody else is to end this transaction")]
    Atomic,
    #[error("model {model} is being retrained by another session")]
    AlreadyTraining { model: String },
    #[error("permission denied for model {model}: only its owner may give the option \"{option}\"")]
    OwnersOption { model: String, option: &'static str },
    #[error(
        "permission denied for model {model}: only its owner may check version {version}, a candidate"
    )]
    OwnersCheck { model: String, version: i32 },
    #[error("version {version} of model {model} was folded in, expected a trained one")]
    FoldedIn { model: String, version: i32 },
    #[error("{0}")]
    Checkpoint(String),
    #[error("unknown task \"{name}\"")]
    UnknownTask { name: String, nearest: Option<String>, known: String },
    #[error("the options cannot be read: {0}")]
    UnreadableOptions(String),
    #[error(transparent)]
    Option(Box<OptionError>),
    #[error(transparent)]
    Architecture(Box<ArchitectureError>),
    #[error(transparent)]
    Start(Box<StartError>),
    #[error("the training starts from version {version} of model {model}, which {why}")]
    StartGone { model: String, version: i32, why: &'static str },
    #[error("{0}")]
    Gate(String),
    #[error("the query must be one SELECT")]
    NotOneSelect,
    #[error("the query must only read, got {what}")]
    WritesInData { what: String },
    #[error("a stored query must not read temporary tables, got {table}")]
    TemporaryInData { table: String },
    #[error("the query lacks the column \"{name}\" ({expected})")]
    MissingColumn { name: &'static str, expected: &'static str },
    #[error("the query has a column \"{name}\" that the task does not use")]
    UnknownColumn { name: String, nearest: Option<String>, known: String },
    #[error("the query's column \"{name}\" is of type {got}, expected {expected}")]
    ColumnType { name: String, got: String, expected: &'static str },
    #[error("the query's column \"{name}\" is NULL in row {row}")]
    NullInData { name: String, row: u64 },
    #[error("row {row} of the data: {source}")]
    DataRow { row: u64, source: ImageError },
    #[error("element {element} of the array: {source}")]
    Element { element: usize, source: ImageError },
    #[error("the query of candidates has {0} columns, expected one of ids")]
    CandidatesColumns(usize),
    #[error("{0}")]
    Data(String),
    #[error("{0}")]
    NumberInData(String),
    #[error("the training needs {needed} for {what}, teller.max_training_memory is {limit}",
            needed = size(*needed), limit = size(*limit))]
    TrainingMemory { what: String, needed: u64, limit: u64, fits: Option<String> },
    #[error("{0}")]
    Diverged(String),
    #[error("the training threads could not be started: {0}")]
    Threads(String),

    // Serving.
    #[error("{0}")]
    Image(#[from] ImageError),
    #[error("{what} has {got} numbers, an array holds at most {limit}")]
    ArrayTooLong { what: String, got: usize, limit: usize },
    #[error("k is {0}, expected a number from 1 on")]
    K(i32),
    #[error("n is {0}, expected a number of rows from 0 on")]
    Count(i32),
    #[error("{0}")]
    RareRows(String),
    #[error("steps is {got}, expected 2 to {most}")]
    Steps { got: i32, most: i32 },
    #[error("the model cannot answer: {0}")]
    Unsupported(String),
    #[error("the version cannot answer: {0}")]
    Older(String),
    #[error("the {what} is \"{name}\", which does not exist")]
    UnknownChoice { what: &'static str, name: String, nearest: Option<String>, known: String },
    #[error("model {model}{} is damaged: {what}", version_text(*.version))]
    Damaged { model: String, version: Option<i32>, what: String },
    #[error(
        "a file of shared numbers was changed or could not be read while a transaction used it"
    )]
    FileLost,
    #[error("model {model} needs {needed} in memory, teller.cache_size is {limit}",
            needed = size(*needed), limit = size(*limit))]
    CacheSize { model: String, needed: u64, limit: u64 },
    #[error("out of memory: {} for {what}", size(*.bytes))]
    OutOfMemory { what: String, bytes: u64 },

    #[error("internal error: {0}")]
    Internal(String),
}

impl Error {
    /// The numbers or the manifest of a model cannot be what `train` wrote.
    pub fn damaged(table: &ModelTable, version: Option<i32>, what: impl Into<String>) -> Self {
        Self::Damaged { model: table.name(), version, what: what.into() }
    }

    /// An argument that is none of the names that there are. Of long texts the beginning is told.
    pub fn unknown<'n>(
        what: &'static str,
        name: &str,
        known: impl Iterator<Item = &'n str> + Clone,
    ) -> Self {
        let name: String = name.chars().take(TOLD).collect();
        let nearest = teller_numeric::options::nearest(&name, known.clone());
        let mut list: Vec<&str> = known.clone().take(MOST_TOLD).collect();
        if known.count() > MOST_TOLD {
            list.push("...");
        }
        Self::UnknownChoice { what, name, nearest, known: list.join(", ") }
    }

    /// The same of a row of training data.
    pub fn in_row(self, row: u64) -> Self {
        match self {
            Self::Data(what) => Self::Data(format!("row {row} of the data: {what}")),
            Self::NumberInData(what) => {
                Self::NumberInData(format!("row {row} of the data: {what}"))
            }
            other => other,
        }
    }

    /// Whether an image was refused for what it is.
    pub fn is_unreadable_image(&self) -> bool {
        matches!(self, Self::Image(error) if !matches!(error, ImageError::Cancelled(_)))
    }

    fn code(&self) -> Code {
        match self {
            Self::Cancelled => Code::ERRCODE_QUERY_CANCELED,
            Self::ModelName { .. } => Code::ERRCODE_INVALID_NAME,
            Self::UnknownModel { .. } => Code::ERRCODE_UNDEFINED_TABLE,
            Self::NotAModel { .. } | Self::WrongTask { .. } => Code::ERRCODE_WRONG_OBJECT_TYPE,
            Self::Permission { .. } | Self::OwnersOption { .. } | Self::OwnersCheck { .. } => {
                Code::ERRCODE_INSUFFICIENT_PRIVILEGE
            }
            Self::Overtaken { .. } => Code::ERRCODE_T_R_SERIALIZATION_FAILURE,
            Self::Atomic => Code::ERRCODE_INVALID_TRANSACTION_TERMINATION,
            Self::AlreadyTraining { .. } => Code::ERRCODE_OBJECT_IN_USE,
            Self::RowSecurity { .. }
            | Self::OutOfReach { .. }
            | Self::NoKey { .. }
            | Self::NoProduction { .. }
            | Self::NotPromotable { .. }
            | Self::NoNumbers { .. }
            | Self::InProduction { .. }
            | Self::StartGone { .. }
            | Self::NoEarlierVersion { .. }
            | Self::Older(_)
            | Self::FoldedIn { .. }
            | Self::NoDefault(_) => Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            Self::Unsupported(_) => Code::ERRCODE_FEATURE_NOT_SUPPORTED,
            Self::CandidatesColumns(_) => Code::ERRCODE_SYNTAX_ERROR,
            Self::NoVersion { .. } => Code::ERRCODE_UNDEFINED_OBJECT,
            Self::TextItems { .. } | Self::ColumnType { .. } => Code::ERRCODE_DATATYPE_MISMATCH,
            Self::UnknownTask { .. }
            | Self::UnreadableOptions(_)
            | Self::Option(_)
            | Self::Architecture(_)
            | Self::Start(_)
            | Self::Gate(_)
            | Self::Data(_)
            | Self::K(_)
            | Self::Count(_)
            | Self::Steps { .. }
            | Self::UnknownChoice { .. } => Code::ERRCODE_INVALID_PARAMETER_VALUE,
            Self::NotOneSelect => Code::ERRCODE_SYNTAX_ERROR,
            Self::WritesInData { .. } => Code::ERRCODE_READ_ONLY_SQL_TRANSACTION,
            Self::TemporaryInData { .. } => Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
            Self::MissingColumn { .. } | Self::UnknownColumn { .. } => {
                Code::ERRCODE_UNDEFINED_COLUMN
            }
            Self::NullInData { .. } | Self::NullArgument(_) => Code::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            Self::NumberInData(_) | Self::Diverged(_) => Code::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
            Self::Image(error)
            | Self::DataRow { source: error, .. }
            | Self::Element { source: error, .. } => image_code(error),
            Self::TrainingMemory { .. } | Self::CacheSize { .. } | Self::OutOfMemory { .. } => {
                Code::ERRCODE_OUT_OF_MEMORY
            }
            Self::ArrayTooLong { .. } | Self::RareRows(_) => Code::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            Self::Threads(_) => Code::ERRCODE_INSUFFICIENT_RESOURCES,
            Self::Damaged { .. } | Self::FileLost | Self::Checkpoint(_) => {
                Code::ERRCODE_DATA_CORRUPTED
            }
            Self::Internal(_) => Code::ERRCODE_INTERNAL_ERROR,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotAModel { .. } => {
                Some("A model is a table of type teller.model; teller.train makes one.".to_owned())
            }
            Self::Permission { model, privilege } => Some(format!(
                "The model's owner can GRANT {} ON {model} TO a role.",
                privilege.grant()
            )),
            Self::RowSecurity { model } => {
                Some(format!("ALTER TABLE {model} DISABLE ROW LEVEL SECURITY."))
            }
            Self::NoKey { model } => {
                Some(format!("ALTER TABLE {model} ADD PRIMARY KEY (version, part, chunk)."))
            }
            Self::Overtaken { .. } => Some("Run the transaction again.".to_owned()),
            Self::Atomic => Some(
                "CALL it by itself: not in BEGIN ... COMMIT, a function, an EXCEPTION block, or \
                 with autocommit off."
                    .to_owned(),
            ),
            Self::AlreadyTraining { .. } => {
                Some("teller.training_runs shows how far it is.".to_owned())
            }
            Self::OwnersOption { .. } => {
                Some("Its query would run with the owner's rights.".to_owned())
            }
            Self::OwnersCheck { .. } => Some(
                "The query of a version runs with the owner's rights once it was promoted."
                    .to_owned(),
            ),
            Self::NoNumbers { .. } | Self::NoProduction { .. } => {
                Some("teller.model_versions shows its versions and their status.".to_owned())
            }
            Self::InProduction { .. } => {
                Some("Promote another version first, or drop the whole table.".to_owned())
            }
            Self::NoDefault(default) => Some(format!(
                "Name a model in the call, or SET {} = 'schema.model'.",
                default.setting()
            )),
            Self::TextItems { .. } => Some(
                "Pass the ids as text (user_id::text): the text functions serve every model."
                    .to_owned(),
            ),
            Self::UnknownTask { nearest, known, .. } => {
                Some(suggestion(nearest.as_deref(), "The tasks are", known))
            }
            Self::Option(error) => option_hint(error),
            Self::Architecture(error) => match &**error {
                ArchitectureError::UnknownName { nearest, .. }
                | ArchitectureError::UnknownType { nearest, .. } => did_you_mean(nearest),
                ArchitectureError::Sum { .. } => Some(
                    "Give a \"shortcut\" that ends in the shape of the layers, such as a conv2d of \
                     kernel 1, with their filters, stride and padding, and a batch_norm2d."
                        .to_owned(),
                ),
                _ => None,
            },
            Self::Start(error) => match &**error {
                StartError::UnknownLayer { nearest, known, .. } => {
                    let known = known.join(", ");
                    Some(suggestion(nearest.as_deref(), "The layers that learn are", &known))
                }
                StartError::NothingFits { .. } => Some(
                    "Leave \"architecture\" out to take that of the model to start from."
                        .to_owned(),
                ),
                StartError::Untrained { .. } | StartError::AllFrozen => None,
            },
            Self::StartGone { .. } => Some(
                "CALL teller.retrain with the option \"start_from\": a version that there is, or \
                 null to start from random weights."
                    .to_owned(),
            ),
            Self::UnknownColumn { nearest, known, .. } => {
                Some(suggestion(nearest.as_deref(), "The task's columns are", known))
            }
            Self::MissingColumn { name, .. } => {
                Some(format!("Name the column in the query: SELECT ... AS {name}."))
            }
            Self::UnknownChoice { nearest, known, .. } => {
                Some(suggestion(nearest.as_deref(), "There are", known))
            }
            Self::WritesInData { .. } => Some(
                "Prepare what the data needs in statements of their own, before it is read."
                    .to_owned(),
            ),
            Self::TemporaryInData { .. } => Some(
                "A temporary table is one session's; name the schema of the table that is meant."
                    .to_owned(),
            ),
            Self::NullInData { name, .. } => {
                Some(format!("Leave such rows out: WHERE {name} IS NOT NULL."))
            }
            Self::TrainingMemory { fits, .. } => {
                let fits = fits.as_deref().unwrap_or("fewer rows or a smaller model");
                Some(format!("What would fit: {fits}; a superuser can raise teller.max_training_memory."))
            }
            Self::CacheSize { .. } => Some("A superuser can raise teller.cache_size.".to_owned()),
            Self::Image(ImageError::TooLarge { limit, .. })
            | Self::DataRow { source: ImageError::TooLarge { limit, .. }, .. }
            | Self::Element { source: ImageError::TooLarge { limit, .. }, .. } => {
                Some(if *limit < settings::max_image_pixels() {
                    "Convert the image to PNG, JPEG or TIFF: a large WebP cannot be decoded so \
                     that a cancel stops it at once."
                        .to_owned()
                } else {
                    "Scale the image down, or let a superuser raise teller.max_image_pixels."
                        .to_owned()
                })
            }
            Self::Image(_) => Some(
                "teller.try_classify_image answers NULL for an image that cannot be read."
                    .to_owned(),
            ),
            Self::Damaged { .. } => {
                Some("Restore the model's table from a backup, or train a new version.".to_owned())
            }
            Self::FileLost => Some(
                "Run the transaction again: the file is built anew from the model's table. Look for \
                 what writes into pg_teller in the data directory, and for errors of its disk."
                    .to_owned(),
            ),
            Self::FoldedIn { .. } => Some(
                "Check the version that it starts from: start_version in teller.model_versions."
                    .to_owned(),
            ),
            Self::Older(_) => Some("CALL teller.retrain(model) to train a version that has it.".to_owned()),
            Self::Unsupported(_) => Some(
                "docs/sql.md tells which algorithms answer which functions.".to_owned(),
            ),
            Self::RareRows(_) => Some(
                "Ask for fewer columns at once, or train with the column as \"label\": that is \
                 drawn as it is asked for."
                    .to_owned(),
            ),
            Self::Diverged(_) => Some("Try a smaller learning_rate.".to_owned()),
            _ => None,
        }
    }
}

fn image_code(error: &ImageError) -> Code {
    match error {
        ImageError::TooLarge { .. } => Code::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
        ImageError::Cancelled(_) => Code::ERRCODE_QUERY_CANCELED,
        _ => Code::ERRCODE_INVALID_BINARY_REPRESENTATION,
    }
}

fn option_hint(error: &OptionError) -> Option<String> {
    match error {
        OptionError::Unknown { nearest, known, .. } => {
            Some(suggestion(nearest.as_deref(), "The options are", &known.join(", ")))
        }
        OptionError::Invalid { nearest, .. } => did_you_mean(nearest),
        OptionError::NotAnObject { .. } => None,
    }
}

fn did_you_mean(nearest: &Option<String>) -> Option<String> {
    nearest.as_ref().map(|nearest| format!("Did you mean \"{nearest}\"?"))
}

fn suggestion(nearest: Option<&str>, list: &str, known: &str) -> String {
    match nearest {
        Some(nearest) => format!("Did you mean \"{nearest}\"? {list}: {known}."),
        None => format!("{list}: {known}."),
    }
}

fn version_text(version: Option<i32>) -> String {
    version.map(|version| format!(" version {version}")).unwrap_or_default()
}

/// A number of bytes as people read it.
fn size(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{bytes} bytes"),
        10_240..10_485_760 => format!("{} kB", bytes.div_ceil(1 << 10)),
        _ => format!("{} MB", bytes.div_ceil(1 << 20)),
    }
}

impl From<Cancelled> for Error {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}

impl From<OptionError> for Error {
    fn from(error: OptionError) -> Self {
        Self::Option(Box::new(error))
    }
}

impl From<pgrx::spi::SpiError> for Error {
    fn from(error: pgrx::spi::SpiError) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<teller_nn::Error> for Error {
    fn from(error: teller_nn::Error) -> Self {
        use teller_nn::Error as Source;
        match error {
            Source::Cancelled(_) => Self::Cancelled,
            Source::Option(error) | Source::Architecture(ArchitectureError::Option(error)) => {
                error.into()
            }
            Source::Architecture(error) => Self::Architecture(Box::new(error)),
            Source::Start(error) => Self::Start(Box::new(error)),
            Source::Table(TableError::Rare { .. }) => Self::RareRows(error.to_string()),
            Source::NoRows | Source::OneClass { .. } | Source::Table(_) | Source::Shape { .. } => {
                Self::Data(error.to_string())
            }
            Source::TooLarge { .. } | Source::RowLength { .. } | Source::FewImages { .. } => {
                Self::Data(error.to_string())
            }
            Source::NotANumber { .. } | Source::Probability { .. } => {
                Self::NumberInData(error.to_string())
            }
            Source::OutOfMemory { bytes } => {
                Self::OutOfMemory { what: "a network".to_owned(), bytes }
            }
            Source::Diverged { .. } => Self::Diverged(error.to_string()),
            Source::Checkpoint(_) => Self::Checkpoint(error.to_string()),
            Source::NoConvolution
            | Source::NoEmbedding
            | Source::EmptySequence
            | Source::SequenceWidth { .. }
            | Source::ChangedSequence { .. }
            | Source::SamePosition { .. } => Self::Data(error.to_string()),
            Source::NotFinite => Self::NumberInData(error.to_string()),
            Source::Payload(_)
            | Source::Encoding(_)
            | Source::Raster { .. }
            | Source::Labels { .. }
            | Source::Temperature(_)
            | Source::Normalization(_) => Self::Internal(error.to_string()),
        }
    }
}

impl From<teller_recommend::Error> for Error {
    fn from(error: teller_recommend::Error) -> Self {
        use teller_recommend::Error as Source;
        match error {
            Source::Cancelled(_) => Self::Cancelled,
            Source::Option(error) => error.into(),
            Source::Weight { .. } | Source::Time { .. } => Self::NumberInData(error.to_string()),
            Source::MixedIds { .. }
            | Source::OtherIds { .. }
            | Source::NoRows(_)
            | Source::TooMany { .. }
            | Source::DuplicateItem { .. }
            | Source::NoFeatures { .. }
            | Source::NoItemInGraph { .. }
            | Source::Lacks { .. } => Self::Data(error.to_string()),
            Source::TooLarge { what, needed, limit } => {
                Self::TrainingMemory { what: what.to_owned(), needed, limit, fits: None }
            }
            Source::Diverged { .. } => Self::Diverged(error.to_string()),
            Source::Unsupported(_) => Self::Unsupported(error.to_string()),
            Source::Older(_) => Self::Older(error.to_string()),
            Source::Checkpoint(_) => Self::Checkpoint(error.to_string()),
            Source::Payload { .. } | Source::Inconsistent(_) => Self::Internal(error.to_string()),
        }
    }
}

impl From<Error> for ErrorReport {
    fn from(error: Error) -> Self {
        if error.code() == Code::ERRCODE_QUERY_CANCELED {
            // PostgreSQL knows whether it was a user, a timeout or the end of the connection.
            interrupts::raise_cancel();
        }
        let report = ErrorReport::new(error.code(), error.to_string(), "pg_teller");
        match error.hint() {
            Some(hint) => report.set_hint(hint),
            None => report,
        }
    }
}
