//! What one layer hands to the next.

use std::fmt;

/// The values of one image between two layers, stored row by row with the channels innermost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Height, width and channels.
    Image {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Values a pixel.
        channels: usize,
    },
    /// So many values without a place.
    Vector(usize),
}

impl Shape {
    /// Values of one image. Shapes are made by checked layers, which bound this.
    pub fn len(self) -> usize {
        match self {
            Shape::Image { height, width, channels } => height * width * channels,
            Shape::Vector(len) => len,
        }
    }

    /// Whether there are no values; checked layers never give such a shape.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Image { height, width, channels } => {
                write!(f, "an image of {height} x {width} x {channels}")
            }
            Shape::Vector(len) => write!(f, "a vector of {len}"),
        }
    }
}
