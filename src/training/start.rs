//! The version that a training starts from: `options.start_from`.
//!
//! Which one that is, is decided once and noted in the definition, so that training again starts
//! from the same weights: found by model and version, recognized by the digest of its numbers.

use std::sync::Arc;

use pgrx::pg_sys;
use serde_json::Value;
use teller_nn::{Architecture, Head, StartFrom};
use teller_numeric::{OptionError, Options};
use teller_payload::AlignedBytes;

use crate::bridge::identity::RestrictedIdentity;
use crate::bridge::sandbox::Reader;
use crate::cache::{self, ImageModelInfo, WEIGHTS};
use crate::catalog::digest::digest_of;
use crate::catalog::manifest::StartPoint;
use crate::catalog::model_table::{ModelTable, Privilege};
use crate::catalog::name::{TableName, table_name};
use crate::catalog::version::{Version, Wanted};
use crate::error::Error;
use crate::settings;

/// The option.
pub const START_FROM: &str = "start_from";

/// Who is trained, and in whose name other models are read for that.
#[derive(Clone, Copy)]
pub struct Trainee<'a> {
    /// The model's table, once there is one.
    pub model: Option<pg_sys::Oid>,
    pub reader: Reader<'a>,
}

/// What a training starts from, in memory of its own.
pub struct Source {
    pub weights: StartFrom,
    pub architecture: Architecture,
    /// Of the version; its labels have moved into `weights`.
    pub info: ImageModelInfo,
}

/// The option as it is given.
struct Asked {
    model: String,
    wanted: Wanted,
    freeze: Vec<String>,
    head: Head,
}

impl Asked {
    fn read(options: &Options, value: &Value) -> Result<Self, OptionError> {
        let simple = |model: &str| Self {
            model: model.to_owned(),
            wanted: Wanted::Production,
            freeze: Vec::new(),
            head: Head::Keep,
        };
        let value = match value {
            Value::String(model) => return Ok(simple(model)),
            Value::Object(_) => value,
            other => {
                let expected = "the name of a model, or an object with \"model\"".to_owned();
                return Err(options.invalid(START_FROM, other, expected));
            }
        };
        let mut nested = Options::new(START_FROM, value)?;
        let Some(model) = nested.text("model")? else {
            let expected = "the name of a model".to_owned();
            return Err(nested.invalid("model", &Value::Null, expected));
        };
        let wanted = match nested.value("version") {
            None => Wanted::Production,
            Some(_) => {
                Wanted::Number(nested.integer("version", 1, 1..=i64::from(i32::MAX))? as i32)
            }
        };
        let freeze = match nested.value("freeze") {
            None => Vec::new(),
            Some(given) => {
                let name = |name: &Value| name.as_str().map(str::to_owned);
                let names = given.as_array().and_then(|names| names.iter().map(name).collect());
                names.ok_or_else(|| {
                    let expected = "an array of names of layers".to_owned();
                    nested.invalid("freeze", given, expected)
                })?
            }
        };
        let head = nested.choice("head", &[("keep", Head::Keep), ("new", Head::New)])?;
        nested.finish()?;
        Ok(Self { wanted, freeze, head, ..simple(model) })
    }
}

impl Source {
    /// The source that the options ask for, if they do. The version is the one that `point` names;
    /// if that is empty, the one that the options name today, which `point` then remembers.
    pub fn read(
        options: &mut Options,
        point: &mut Option<StartPoint>,
        trainee: Trainee,
    ) -> Result<Option<Self>, Error> {
        let Some(value) = options.value(START_FROM) else {
            *point = None;
            return Ok(None);
        };
        let asked = Asked::read(options, value)?;
        let _owner = match trainee.reader {
            Reader::Caller => None,
            Reader::Stored { role, .. } => Some(RestrictedIdentity::enter(role)),
        };
        match point {
            None => {
                let table = TableName::parse(&asked.model)?
                    .find()
                    .ok_or_else(|| Error::UnknownModel { name: asked.model.clone() })?;
                let (source, found) = Self::load(table, asked.wanted, &asked, trainee)?;
                *point = Some(found);
                Ok(Some(source))
            }
            Some(point) => Self::load_again(point, &asked, trainee).map(Some),
        }
    }

    fn load_again(point: &StartPoint, asked: &Asked, trainee: Trainee) -> Result<Self, Error> {
        let gone = |why| {
            let itself = || trainee.model.map(table_name).unwrap_or_default();
            let model = point.model.clone().unwrap_or_else(itself);
            Error::StartGone { model, version: point.version, why }
        };
        let table = match &point.model {
            None => trainee.model,
            Some(name) => TableName::parse(name)?.find(),
        };
        let table = table.ok_or_else(|| gone("does not exist"))?;
        match Self::load(table, Wanted::Number(point.version), asked, trainee) {
            Ok((_, found)) if found.digest != point.digest => Err(gone("has other numbers by now")),
            Ok((source, _)) => Ok(source),
            Err(Error::NoVersion { .. }) => Err(gone("does not exist")),
            Err(error) => Err(error),
        }
    }

    fn load(
        table: pg_sys::Oid,
        wanted: Wanted,
        asked: &Asked,
        trainee: Trainee,
    ) -> Result<(Self, StartPoint), Error> {
        let is_itself = trainee.model == Some(table);
        // Whoever starts from a model can read in his own what it has learned.
        let privilege = if is_itself { Privilege::Train } else { Privilege::Read };
        let table = ModelTable::open(table, privilege)?;
        let version = Version::find(&table, wanted)?;
        let damaged = |what: &str| Error::damaged(&table, Some(version.number), what);
        let manifest = version.manifest(&table)?;
        let model = cache::of_version(&table, &version)?;
        let classifier = model.images()?.classifier();
        let weights = copy(classifier.payload(), &table)?;
        // What then looks like damage in the table is none.
        cache::refuse_lost()?;
        let digest = digest_of([(WEIGHTS, &*weights)]).1;
        if digest != manifest.digest {
            return Err(damaged("its numbers are not those of its digest"));
        }
        let info = ImageModelInfo::read(&manifest).map_err(|what| damaged(&what))?;
        let weights = StartFrom::new(
            Arc::new(weights),
            info.labels.clone(),
            asked.freeze.clone(),
            asked.head,
        )?;
        let model = (!is_itself).then(|| table.name());
        let point = StartPoint { model, version: version.number, digest };
        Ok((Self { weights, architecture: classifier.architecture().clone(), info }, point))
    }
}

/// The training outlives the statement's hold on what other connections share.
fn copy(weights: &[u8], table: &ModelTable) -> Result<AlignedBytes, Error> {
    let (needed, limit) = (weights.len() as u64, settings::max_training_memory());
    let what = || format!("the weights of {}", table.name());
    if needed > limit {
        let fits = Some("a smaller network to start from".to_owned());
        return Err(Error::TrainingMemory { what: what(), needed, limit, fits });
    }
    let mut copy = AlignedBytes::try_zeroed(weights.len())
        .ok_or_else(|| Error::OutOfMemory { what: what(), bytes: needed })?;
    copy.copy_from_slice(weights);
    Ok(copy)
}
