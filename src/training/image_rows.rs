//! Images out of the rows of a query.

use teller_nn::ImageDatasetBuilder;
use teller_nn::vision::{Limits, Preprocessing};

use crate::bridge::interrupts::StatementControl;
use crate::catalog::data::{self, Column, Kind, Query, RowsRead};
use crate::error::Error;
use crate::settings;

const IMAGE: Column = Column { name: "image", kind: Kind::Bytes, required: true };
const LABEL: Column = Column { name: "label", kind: Kind::Label, required: true };

/// Each image has a label.
pub const LABELLED: [Column; 2] = [IMAGE, LABEL];
/// There may be no labels; then all images have an empty one.
pub const LABELLED_OR_NOT: [Column; 2] = [IMAGE, Column { required: false, ..LABEL }];

/// Decodes the images of a query into one data set of at most `limit` bytes. If there are more,
/// `fits` says what would fit, from the number of images and the labels so far.
pub fn read_dataset(
    query: Query,
    columns: &[Column; 2],
    preprocessing: &Preprocessing,
    limit: u64,
    fits: impl Fn(u64, &[String]) -> String,
) -> Result<(ImageDatasetBuilder, RowsRead), Error> {
    let limits = Limits { max_pixels: settings::max_image_pixels() };
    let mut raster = vec![0; preprocessing.raster_len()];
    let mut builder = ImageDatasetBuilder::new(
        preprocessing.height(),
        preprocessing.width(),
        preprocessing.channels(),
    )
    .within(limit);
    let rows = data::read(query, columns, |row| {
        row.bytes(0, |image| preprocessing.raster(image, &limits, &StatementControl, &mut raster))?
            .map_err(|source| Error::DataRow { row: row.number(), source })?;
        match row.has(1) {
            true => row.text(1, |label| builder.push(&raster, label))??,
            false => builder.push(&raster, "")?,
        }
        let needed = builder.memory();
        if needed > limit {
            let what = format!("the first {} images", row.number());
            let fits = Some(fits(row.number(), &builder.labels()));
            return Err(Error::TrainingMemory { what, needed, limit, fits });
        }
        Ok(())
    })?;
    Ok((builder, rows))
}
