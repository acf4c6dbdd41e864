//! A variational autoencoder of number rows and of images (Kingma and Welling 2014): each row
//! becomes a short code, from which it is made again; a row that the network can tell only with
//! many nats is unlike those that it has learned from.

mod batch;
mod examples;
mod fit;
mod layout;
mod learner;
mod likelihood;
mod params;
mod payload;
mod scale;
mod serving;
mod usual;

pub use examples::Examples;
pub(super) use examples::unit;
pub use fit::{
    FittedAutoencoder, autoencoder_memory, evaluate_autoencoder, fit_autoencoder,
    fit_autoencoder_on,
};
pub use layout::AutoencoderLayout;
pub use likelihood::Likelihood;
pub use params::AutoencoderParams;
pub use serving::Autoencoder;

#[cfg(test)]
mod tests;
