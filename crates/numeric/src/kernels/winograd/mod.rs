//! The transforms of Winograd's convolution F(2x2, 3x3) (Lavin and Gray 2016), its gradients
//! included: 16 products give what takes 36 otherwise.
//!
//! A tile is 2 x 2 pixels of the output and the 4 x 4 of the input that they depend on. Its
//! transform has 16 positions, numbered `4 * row + column`; at each, a matrix product over the
//! channels ([`super::Contraction`]) is what is left of the convolution. Transformed tiles lie as
//! `[position][tile][channel]`.
//!
//! All transforms are sums in a fixed order, lane by lane, so the bits are the same everywhere.

mod input;
mod kernel;
mod output;

use std::ops::Range;

use input::{Input, InputGradient};
use kernel::{Kernel, KernelGradient};
use output::{OutputGradient, OutputTiles};

use super::Isa;
use super::lanes::run;

/// Numbers of a transformed tile.
pub const POSITIONS: usize = 16;

/// Tiles of one image, row by row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiles {
    /// Tiles in a row.
    pub across: usize,
    /// Contiguous numbers of a pixel.
    pub channels: usize,
    /// Floats from one position to the next in transformed tiles.
    pub position: usize,
}

/// An image that tiles are read from or written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Rows of pixels.
    pub height: usize,
    /// Pixels in a row.
    pub width: usize,
}

/// How the 2 x 2 pixels of a tile lie on the side of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// As pixels of an image; those of the last row or column may not exist.
    Pixels(Extent),
    /// As one pixel, their maximum, and which of the four it was.
    Pooled,
}

/// Where the results of [`Tiles::output`] go.
#[derive(Debug)]
pub struct Output<'a> {
    /// Pixels, or maxima.
    pub values: &'a mut [f32],
    /// With [`Side::Pooled`], if somebody wants to know: which of the four pixels, row by row, is
    /// the first to have the maximum.
    pub winners: Option<&'a mut [f32]>,
}

/// Kernels `[3][3][len]` transformed to `[16][len]`.
///
/// # Panics
/// If the lengths are no such multiples of one another.
pub fn kernel(isa: Isa, from: &[f32], to: &mut [f32]) {
    let len = from.len() / 9;
    assert!(from.len() == 9 * len && to.len() == POSITIONS * len, "these are no kernels");
    run(isa, Kernel { from: from.as_ptr(), to: to.as_mut_ptr(), len });
}

/// The gradient to the kernels from that to the transformed ones.
///
/// # Panics
/// If the lengths are no such multiples of one another.
pub fn kernel_gradient(isa: Isa, from: &[f32], to: &mut [f32]) {
    let len = to.len() / 9;
    assert!(to.len() == 9 * len && from.len() == POSITIONS * len, "these are no kernels");
    run(isa, KernelGradient { from: from.as_ptr(), to: to.as_mut_ptr(), len });
}

impl Tiles {
    /// Transforms the input under some tiles of an image of `extent`, which must reach as far as
    /// they do; of the transform, only `rows` of the four.
    ///
    /// # Panics
    /// If the slices or the extent are too small for the tiles.
    pub fn input(
        &self,
        isa: Isa,
        tiles: Range<usize>,
        rows: Range<usize>,
        extent: Extent,
        image: &[f32],
        to: &mut [f32],
    ) {
        self.check_input(&tiles, extent, image.len());
        self.check_transformed(&tiles, rows.len(), to.len());
        let (image, to) = (image.as_ptr(), to.as_mut_ptr());
        run(isa, Input { shape: *self, tiles, rows, extent, image, to });
    }

    /// Adds the gradient to the input under some tiles, from that to its transform.
    ///
    /// # Panics
    /// If the slices or the extent are too small for the tiles.
    pub fn input_gradient(
        &self,
        isa: Isa,
        tiles: Range<usize>,
        extent: Extent,
        from: &[f32],
        image: &mut [f32],
    ) {
        self.check_input(&tiles, extent, image.len());
        self.check_transformed(&tiles, 4, from.len());
        let (from, image) = (from.as_ptr(), image.as_mut_ptr());
        run(isa, InputGradient { shape: *self, tiles, extent, from, image });
    }

    /// The output of some tiles from its transform, rectified if asked.
    ///
    /// # Panics
    /// If the slices are too small for the tiles.
    pub fn output(
        &self,
        isa: Isa,
        tiles: Range<usize>,
        side: Side,
        relu: bool,
        from: &[f32],
        output: Output<'_>,
    ) {
        self.check_output(&tiles, side, output.values.len());
        self.check_transformed(&tiles, 4, from.len());
        let winners = output.winners.map(|winners| {
            assert!(side == Side::Pooled, "only a maximum has a winner");
            self.check_output(&tiles, side, winners.len());
            winners.as_mut_ptr()
        });
        let (from, to) = (from.as_ptr(), output.values.as_mut_ptr());
        run(isa, OutputTiles { shape: *self, tiles, side, relu, from, to, winners });
    }

    /// The gradient to the transform of some tiles of the output from that to the output, with
    /// the winners if it was pooled; of the transform, only `rows` of the four.
    ///
    /// # Panics
    /// If the slices are too small for the tiles.
    #[expect(clippy::too_many_arguments, reason = "two ends, and what of them")]
    pub fn output_gradient(
        &self,
        isa: Isa,
        tiles: Range<usize>,
        rows: Range<usize>,
        side: Side,
        gradient: &[f32],
        winners: &[f32],
        to: &mut [f32],
    ) {
        self.check_output(&tiles, side, gradient.len());
        if side == Side::Pooled {
            self.check_output(&tiles, side, winners.len());
        }
        self.check_transformed(&tiles, rows.len(), to.len());
        let (gradient, winners, to) = (gradient.as_ptr(), winners.as_ptr(), to.as_mut_ptr());
        run(isa, OutputGradient { shape: *self, tiles, rows, side, gradient, winners, to });
    }

    /// The pointers into images stay inside because of this; `last` is over all tiles.
    fn check_input(&self, tiles: &Range<usize>, extent: Extent, len: usize) {
        let Some(last) = tiles.end.checked_sub(1) else { return };
        let fits = 2 * (last / self.across) + 4 <= extent.height
            && 2 * self.across + 2 <= extent.width
            && extent.height * extent.width * self.channels <= len;
        assert!(fits, "tiles {tiles:?} of {self:?} reach beyond {extent:?} of {len} floats");
    }

    fn check_output(&self, tiles: &Range<usize>, side: Side, len: usize) {
        let pixels = match side {
            Side::Pooled => tiles.end,
            Side::Pixels(Extent { height, width }) => height * width,
        };
        assert!(pixels * self.channels <= len, "{pixels} pixels are no {len} floats");
    }

    fn check_transformed(&self, tiles: &Range<usize>, rows: usize, len: usize) {
        let Some(last) = (4 * rows).checked_sub(1) else { return };
        let needed = last * self.position + tiles.len() * self.channels;
        assert!(needed <= len && rows <= 4, "{needed} floats of tiles, but {len} are there");
    }
}

#[cfg(test)]
mod tests;
