//! A generative adversarial network of images: a convolutional generator (Radford et al. 2016) and
//! a Wasserstein critic with a penalty on its gradient (Gulrajani et al. 2017), which judges an
//! image by its label where there is one (Miyato and Koyama 2018). Both learn from the same step,
//! and what is kept is a moving average of the generator.

mod critic;
mod fit;
mod frechet;
mod generator;
mod layout;
mod learner;
mod params;
mod report;

pub use fit::{FittedImageGenerator, fit_images, fit_images_on, image_gan_memory};
pub use frechet::frechet_distance;
pub use generator::ImageGenerator;
pub use layout::ImageGanLayout;
pub use params::ImageGanParams;
pub use report::{Distances, ImageReport, evaluate_image_generator};
