//! The eight ways that a camera or scanner may have been held, as EXIF and TIFF number them.

/// How the stored pixels turn into the picture: first rows and columns are swapped, then mirrored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Orientation {
    /// Rows become columns.
    pub(super) transpose: bool,
    /// Left and right of the picture are swapped.
    pub(super) mirror_x: bool,
    /// Top and bottom of the picture are swapped.
    pub(super) mirror_y: bool,
}

/// A part of an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) x: usize,
    pub(super) y: usize,
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Orientation {
    /// From the number 1 to 8 of EXIF tag 274; any other number means as stored.
    pub(super) fn from_exif(number: u8) -> Self {
        let (transpose, mirror_x, mirror_y) = match number {
            2 => (false, true, false),
            3 => (false, true, true),
            4 => (false, false, true),
            5 => (true, false, false),
            6 => (true, true, false),
            7 => (true, true, true),
            8 => (true, false, true),
            _ => (false, false, false),
        };
        Self { transpose, mirror_x, mirror_y }
    }

    /// Width and height of the picture, given those stored (or the reverse).
    pub(super) fn size(self, width: usize, height: usize) -> (usize, usize) {
        if self.transpose { (height, width) } else { (width, height) }
    }

    /// Where the stored pixel (x, y) of width x height lies in the picture.
    pub(super) fn place(self, x: usize, y: usize, width: usize, height: usize) -> (usize, usize) {
        let (x, y) = if self.transpose { (y, x) } else { (x, y) };
        let (width, height) = self.size(width, height);
        (
            if self.mirror_x { width - 1 - x } else { x },
            if self.mirror_y { height - 1 - y } else { y },
        )
    }

    /// The stored area that shows as `area` of a picture of width x height.
    pub(super) fn stored(self, area: Area, width: usize, height: usize) -> Area {
        let x = if self.mirror_x { width - area.x - area.width } else { area.x };
        let y = if self.mirror_y { height - area.y - area.height } else { area.y };
        if self.transpose {
            Area { x: y, y: x, width: area.height, height: area.width }
        } else {
            Area { x, y, ..area }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eight_corners() {
        // Where the stored top-left pixel of a 3 x 2 image shows, by the EXIF standard.
        let corners = [(0, 0), (2, 0), (2, 1), (0, 1), (0, 0), (1, 0), (1, 2), (0, 2)];
        for (number, corner) in (1..).zip(corners) {
            assert_eq!(Orientation::from_exif(number).place(0, 0, 3, 2), corner, "{number}");
        }
    }

    #[test]
    fn an_area_goes_back_to_the_pixels_it_shows() {
        for number in 1..=8 {
            let orientation = Orientation::from_exif(number);
            let (width, height) = orientation.size(7, 5);
            let area = Area { x: 1, y: 2, width: 2, height: 3 };
            let stored = orientation.stored(area, width, height);
            for y in 0..5 {
                for x in 0..7 {
                    let inside = |area: Area, x: usize, y: usize| {
                        (area.x..area.x + area.width).contains(&x)
                            && (area.y..area.y + area.height).contains(&y)
                    };
                    let (shown_x, shown_y) = orientation.place(x, y, 7, 5);
                    assert_eq!(inside(stored, x, y), inside(area, shown_x, shown_y), "{number}");
                }
            }
        }
    }
}
