//! Measuring a version on rows that it has not seen.

use pgrx::pg_sys;

use crate::bridge::rhythm::Rhythm;
use crate::bridge::sandbox::Reader;
use crate::bridge::workers;
use crate::cache::{self, Model};
use crate::catalog::data::Query;
use crate::catalog::manifest::Task;
use crate::catalog::version::Wanted;
use crate::error::Error;
use crate::settings;
use crate::training::image_rows::LABELLED;
use crate::training::{
    autoencoding, generation, image_generation, image_rows, recommendation, sequence_rows,
    text_classification,
};

/// Ranks up to here count for a recommender.
const K: usize = 10;

/// The metrics of a version of `model` on the rows of the caller's query.
pub fn evaluate_version(
    model: pg_sys::Oid,
    data: &str,
    wanted: Wanted,
) -> Result<Vec<(String, f64)>, Error> {
    let query = Query { text: data, reader: Reader::Caller };
    evaluate(&*cache::version(model, wanted)?, query)
}

/// The metrics of `model` on the rows of `query`.
pub fn evaluate(model: &Model, query: Query) -> Result<Vec<(String, f64)>, Error> {
    let limit = settings::max_training_memory();
    match model.task() {
        Task::ImageClassification => {
            let images = model.images()?;
            let fits = |rows, _: &[String]| format!("{} images", rows - 1);
            let preprocessing = images.preprocessing();
            let (builder, _) =
                image_rows::read_dataset(query, &LABELLED, preprocessing, limit, fits)?;
            let dataset = builder.finish_for_evaluation()?;
            let classifier = images.classifier();
            run(|control| teller_nn::evaluate(classifier, &dataset, control))
        }
        Task::TextClassification => {
            let (builder, _) = text_classification::read_dataset(query, limit)?;
            let dataset = builder.finish_for_evaluation()?;
            let classifier = model.texts()?.classifier();
            run(|control| classifier.evaluate(&dataset, control))
        }
        Task::SequenceClassification => {
            let classifier = model.sequences()?.classifier();
            let max_steps = classifier.max_steps();
            let (builder, _) = sequence_rows::read_dataset(query, max_steps, limit)?;
            let dataset = builder.finish_for_evaluation()?;
            run(|control| classifier.evaluate(&dataset, control))
        }
        Task::Recommendation => {
            let recommender = model.recommender()?;
            let (held_out, _) = recommendation::read_interactions(query, limit)?;
            run(|control| teller_recommend::evaluate(recommender, &held_out, K, control))
        }
        Task::Generation if model.makes_images() => {
            let model = model.image_generator()?;
            let (images, _) = image_generation::read_images(query, model.preprocessing(), limit)?;
            let generator = model.generator();
            run(|control| teller_nn::evaluate_image_generator(generator, &images, control))
        }
        Task::Generation => {
            let generator = model.generator()?.generator();
            let (rows, _) = generation::read_rows(query, limit)?;
            run(|control| teller_nn::evaluate_generator(generator, &rows.table, control))
        }
        Task::Autoencoding => {
            let autoencoder = model.autoencoder()?;
            let fits = |rows| format!("{} rows", rows - 1);
            let preprocessing = autoencoder.preprocessing();
            let (examples, _) = autoencoding::read_examples(query, preprocessing, limit, fits)?;
            let network = autoencoder.network();
            run(|control| teller_nn::evaluate_autoencoder(network, &examples, control))
        }
    }
}

fn run<T: Send, E: Into<Error> + Send>(
    work: impl FnOnce(&dyn teller_numeric::Control) -> Result<T, E> + Send,
) -> Result<T, Error> {
    workers::run(settings::threads(), &Rhythm::never(), work, |_| Ok(()))?.map_err(Into::into)
}
