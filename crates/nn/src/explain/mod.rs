//! Why a network answered as it did: how much each pixel of a raster speaks for a label.

mod grad_cam;
mod occlusion;
mod overlay;

use teller_numeric::Control;

use crate::shape::Shape;
use crate::{Error, ImageClassifier, Workspace};

/// How the pixels that matter are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// What the label loses when a patch of the raster is covered (Zeiler, Fergus 2014).
    Occlusion,
    /// Where the channels of the last convolution are active that the label's score rises with
    /// (Selvaraju et al. 2017): coarser, and much faster for a large network.
    GradCam,
}

impl Method {
    /// All methods by their names.
    pub const NAMES: [(&'static str, Self); 2] =
        [("occlusion", Self::Occlusion), ("grad_cam", Self::GradCam)];
}

/// A figure for each pixel of a raster.
#[derive(Clone, Debug, PartialEq)]
pub struct Heat {
    /// Pixels down.
    pub height: usize,
    /// Pixels across.
    pub width: usize,
    /// Row by row: above 0 what speaks for the label, below 0 what speaks against it.
    pub values: Vec<f32>,
}

impl ImageClassifier {
    /// How much each pixel of `raster` speaks for the label of index `label`.
    pub fn heat(
        &self,
        raster: &[u8],
        label: usize,
        method: Method,
        workspace: &mut Workspace,
        control: &dyn Control,
    ) -> Result<Heat, Error> {
        let expected = self.raster_len();
        if raster.len() != expected {
            return Err(Error::Raster { got: raster.len(), expected });
        }
        if label >= self.labels().len() {
            return Err(Error::Labels { got: self.labels().len() });
        }
        match method {
            Method::Occlusion => occlusion::heat(self, raster, label, workspace, control),
            Method::GradCam => grad_cam::heat(self, raster, label, control),
        }
    }

    /// The raster, grey and enlarged, under its heat, as a PNG.
    pub fn heat_png(
        &self,
        raster: &[u8],
        heat: &Heat,
        control: &dyn Control,
    ) -> Result<Vec<u8>, Error> {
        let size = self.size();
        if raster.len() != size.len() || heat.values.len() != size.height * size.width {
            return Err(Error::Raster { got: raster.len(), expected: size.len() });
        }
        overlay::overlay(raster, size.channels, heat, control)
    }

    fn size(&self) -> Size {
        match self.input() {
            Shape::Image { height, width, channels } => Size { height, width, channels },
            Shape::Vector(len) => Size { height: 1, width: len, channels: 1 },
        }
    }
}

/// Extents of a raster.
#[derive(Clone, Copy, Debug)]
struct Size {
    height: usize,
    width: usize,
    channels: usize,
}

impl Size {
    fn len(self) -> usize {
        self.height * self.width * self.channels
    }
}

/// The two cells of `from` that lie around the middle of cell `index` of `to`, and how near the
/// second one is, when both cut the same length into equal cells.
fn between(index: usize, to: usize, from: usize) -> (usize, usize, f32) {
    let place = (index as f32 + 0.5) * from as f32 / to as f32 - 0.5;
    let place = place.clamp(0.0, (from - 1) as f32);
    let first = place as usize;
    (first, (first + 1).min(from - 1), place - first as f32)
}

/// `values` (`height` x `width`) at the middle of the cell that two [`between`] found.
fn interpolate(
    values: &[f32],
    width: usize,
    (up, down, below): (usize, usize, f32),
    (left, right, beside): (usize, usize, f32),
) -> f32 {
    let row = |y: usize| {
        let (a, b) = (values[y * width + left], values[y * width + right]);
        a + (b - a) * beside
    };
    let (a, b) = (row(up), row(down));
    a + (b - a) * below
}

#[cfg(test)]
mod tests;
