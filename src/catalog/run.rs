//! A training in progress, as it stands in the model's table: a manifest row of status `training`
//! that tells how far it is, the log, and the checkpoint from which it can go on.

use std::ffi::CStr;

use pgrx::JsonB;
use serde_json::Value;
use teller_payload::SharedBytes;

use crate::catalog::life::status;
use crate::catalog::manifest::{Manifest, RunInfo};
use crate::catalog::model_table::{ModelTable, Privilege};
use crate::catalog::store::{self, LOG, TrainedVersion};
use crate::catalog::timestamp;
use crate::catalog::version::StoredPart;
use crate::catalog::writer::Writer;
use crate::error::Error;

const CHECKPOINT: &CStr = c"checkpoint";

/// A version that is being trained.
pub struct Run {
    /// The number it has got.
    pub version: i32,
    /// What its manifest row says.
    pub info: RunInfo,
}

impl Run {
    /// Adds a version of status `training`.
    pub fn begin(table: &ModelTable, info: RunInfo) -> Result<Self, Error> {
        let writer = Writer::open(table)?;
        let version = writer.next_version()?;
        writer.insert(version, "", 0, Some(status::TRAINING), Some(json(&info)?), None)?;
        Ok(Self { version, info })
    }

    /// The training of this model that did not come to its end, if there is one.
    pub fn interrupted(table: &ModelTable) -> Result<Option<Self>, Error> {
        let rows = table.manifests(|row| {
            let training = row.status().is_some_and(|status| status == status::TRAINING);
            Ok(row.version().zip(row.info()).filter(|_| training))
        })?;
        let Some((version, info)) = rows.into_iter().flatten().max_by_key(|(version, _)| *version)
        else {
            return Ok(None);
        };
        let info = serde_json::from_value(info).map_err(|error| {
            Error::damaged(table, Some(version), format!("its manifest cannot be read: {error}"))
        })?;
        Ok(Some(Self { version, info }))
    }

    /// The state from which it can go on, if one has been kept.
    pub fn checkpoint(&self, table: &ModelTable) -> Result<Option<SharedBytes>, Error> {
        let name = CHECKPOINT.to_string_lossy();
        if table.part(self.version, CHECKPOINT, |_| Ok(()))?.is_empty() {
            return Ok(None);
        }
        let part = StoredPart::find(table, self.version, &name)?;
        part.bytes(table, self.version).map(Some)
    }

    /// Notes that a step is done; steps of the log from this one on are of an earlier attempt.
    pub fn step(&mut self, table: &ModelTable, step: u32, record: Value) -> Result<(), Error> {
        let writer = Writer::open(table)?;
        let (part, chunk) = (LOG.to_string_lossy(), step as i32);
        writer.run(
            "DELETE FROM ONLY {model} WHERE version = $1 AND part = $2 AND chunk >= $3",
            &[self.version.into(), (*part).into(), chunk.into()],
        )?;
        writer.insert(self.version, &part, chunk, None, Some(record.clone()), None)?;
        self.info.progress = Some(record);
        self.info.updated_at = timestamp::now();
        self.update(&writer, status::TRAINING, json(&self.info)?)
    }

    /// Keeps a state from which the training can go on, in the place of the one before it.
    pub fn keep(&self, table: &ModelTable, checkpoint: &[u8]) -> Result<(), Error> {
        let writer = Writer::open(table)?;
        self.forget_checkpoint(&writer)?;
        writer.insert_part(self.version, &CHECKPOINT.to_string_lossy(), checkpoint)
    }

    /// Makes it a version like any other, and returns its status.
    pub fn finish(
        self,
        table: &ModelTable,
        trained: TrainedVersion,
        manifest: &Manifest,
        promote: bool,
    ) -> Result<&'static str, Error> {
        let promote = promote && table.permits(Privilege::Promote);
        let writer = Writer::open(table)?;
        self.forget_checkpoint(&writer)?;
        trained.insert(&writer, self.version)?;
        self.update(&writer, status::CANDIDATE, json(manifest)?)?;
        store::conclude(&writer, self.version, manifest, promote)
    }

    /// Gives it up; its log stays.
    pub fn fail(mut self, table: &ModelTable, error: String) -> Result<(), Error> {
        let writer = Writer::open(table)?;
        self.forget_checkpoint(&writer)?;
        self.info.error = Some(error);
        self.info.updated_at = timestamp::now();
        self.update(&writer, status::FAILED, json(&self.info)?)
    }

    fn forget_checkpoint(&self, writer: &Writer) -> Result<(), Error> {
        writer.run(
            "DELETE FROM ONLY {model} WHERE version = $1 AND part = $2",
            &[self.version.into(), (*CHECKPOINT.to_string_lossy()).into()],
        )
    }

    fn update(&self, writer: &Writer, status: &str, info: Value) -> Result<(), Error> {
        let updated = writer.get::<i32>(
            "UPDATE ONLY {model} SET status = $1, info = $2 \
             WHERE version = $3 AND part = '' AND status = $4 RETURNING version",
            &[status.into(), JsonB(info).into(), self.version.into(), status::TRAINING.into()],
        )?;
        // Somebody dropped the version.
        let gone = || Error::NoVersion { model: writer.table.name(), number: self.version };
        updated.map(drop).ok_or_else(gone)
    }
}

fn json(info: &impl serde::Serialize) -> Result<Value, Error> {
    serde_json::to_value(info).map_err(|error| Error::Internal(error.to_string()))
}
