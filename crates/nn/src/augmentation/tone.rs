//! Contrast and brightness, by one table of 256 entries.

/// Spreads values around the image's mean by `contrast` and adds `brightness`, of which 1 is the
/// range from black to white.
pub(super) fn change(contrast: f64, brightness: f64, image: &mut [u8]) {
    let sum: u64 = image.iter().map(|&value| u64::from(value)).sum();
    let mean = sum as f64 / image.len().max(1) as f64;
    let base = mean + 255.0 * brightness;
    // Numbers beyond the range end up at its ends.
    let table: [u8; 256] =
        std::array::from_fn(|value| ((value as f64 - mean) * contrast + base).round() as u8);
    for value in image {
        *value = table[usize::from(*value)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contrast_spreads_and_brightness_adds() {
        let changed = |contrast, brightness| {
            let mut image = [100, 50, 150, 0, 200];
            change(contrast, brightness, &mut image);
            image
        };
        assert_eq!(changed(1.0, 0.0), [100, 50, 150, 0, 200]);
        assert_eq!(changed(0.5, 0.0), [100, 75, 125, 50, 150]);
        assert_eq!(changed(2.0, 0.0), [100, 0, 200, 0, 255]);
        assert_eq!(changed(0.0, 0.0), [100; 5]);
        assert_eq!(changed(1.0, 0.2), [151, 101, 201, 51, 251]);
        assert_eq!(changed(1.0, -1.0), [0; 5]);
        change(1.0, 0.5, &mut []);
    }
}
