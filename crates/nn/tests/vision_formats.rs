//! Every format, depth and colour model decodes to the pixels that were put in. Samples that Rust
//! cannot write come from `vision/make_samples.py`, whose patterns are repeated here.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use image::{DynamicImage, ExtendedColorType, ImageEncoder, ImageFormat};
use teller_nn::vision::{Fit, ImageError, Limits, Preprocessing};
use teller_numeric::Uninterrupted;

const WIDTH: usize = 16;
const HEIGHT: usize = 12;
const LIMITS: Limits = Limits { max_pixels: 1 << 20 };

fn raster_of(preprocessing: Preprocessing, image: &[u8]) -> Result<Vec<u8>, ImageError> {
    let mut out = vec![0xaa; preprocessing.raster_len()];
    preprocessing.raster(image, &LIMITS, &Uninterrupted, &mut out).map(|()| out)
}

fn raster(image: &[u8], width: usize, height: usize, channels: usize) -> Vec<u8> {
    let preprocessing = Preprocessing::new(height, width, channels, Fit::Contain, 255).unwrap();
    raster_of(preprocessing, image).unwrap_or_else(|error| panic!("{error}"))
}

fn colour(x: usize, y: usize) -> [u8; 3] {
    [(x * 16) as u8, (y * 20) as u8, ((x + y) * 9) as u8]
}

fn grey(x: usize, _: usize) -> [u8; 3] {
    [(x * 16) as u8; 3]
}

fn bilevel(x: usize, y: usize) -> [u8; 3] {
    [if (x / 4 + y / 3) % 2 == 1 { 255 } else { 0 }; 3]
}

const PALETTE: [[u8; 3]; 4] = [[10, 20, 30], [200, 0, 0], [0, 200, 0], [250, 240, 230]];

fn palette(x: usize, y: usize) -> [u8; 3] {
    PALETTE[(x / 4 + y / 3) % 4]
}

fn palette_last_transparent(x: usize, y: usize) -> [u8; 3] {
    let index = (x / 4 + y / 3) % 4;
    if index == 3 { [255; 3] } else { PALETTE[index] }
}

fn colour_over_white(x: usize, y: usize) -> [u8; 3] {
    if bilevel(x, y)[0] == 255 { colour(x, y) } else { [255; 3] }
}

fn luma([r, g, b]: [u8; 3]) -> u8 {
    (0.299 * f64::from(r) + 0.587 * f64::from(g) + 0.114 * f64::from(b)).round() as u8
}

fn pattern(of: impl Fn(usize, usize) -> [u8; 3]) -> Vec<u8> {
    (0..WIDTH * HEIGHT).flat_map(|i| of(i % WIDTH, i / WIDTH)).collect()
}

/// The largest and the mean difference between two rasters.
fn difference(a: &[u8], b: &[u8]) -> (u8, f64) {
    assert_eq!(a.len(), b.len());
    let differences = a.iter().zip(b).map(|(a, b)| a.abs_diff(*b));
    let sum: f64 = differences.clone().map(f64::from).sum();
    (differences.max().unwrap(), sum / a.len() as f64)
}

/// Checks a sample in grey and in colour, up to `tolerance` a channel.
fn check(name: &str, image: &[u8], of: fn(usize, usize) -> [u8; 3], tolerance: u8) {
    let expected = pattern(of);
    let (worst, mean) = difference(&raster(image, WIDTH, HEIGHT, 3), &expected);
    assert!(worst <= tolerance, "{name} in colour differs by up to {worst}, {mean} on average");
    let expected: Vec<u8> = expected.as_chunks::<3>().0.iter().map(|&c| luma(c)).collect();
    let (worst, mean) = difference(&raster(image, WIDTH, HEIGHT, 1), &expected);
    assert!(
        worst <= tolerance.max(1),
        "{name} in grey differs by up to {worst}, {mean} on average"
    );
}

macro_rules! samples {
    ($($name:literal: $pattern:ident ~ $tolerance:literal,)*) => {
        [$(($name, include_bytes!(concat!("vision/", $name)).as_slice(),
            $pattern as fn(usize, usize) -> [u8; 3], $tolerance)),*]
    };
}

#[test]
fn samples_written_by_others() {
    let samples = samples! {
        "baseline_444.jpg": colour ~ 8,
        "baseline_420.jpg": colour ~ 40,
        "progressive.jpg": colour ~ 8,
        "grey.jpg": grey ~ 4,
        "cmyk.jpg": colour ~ 8,
        "bilevel_g4.tif": bilevel ~ 0,
        "bilevel_packbits.tif": bilevel ~ 0,
        "rgb_lzw.tif": colour ~ 0,
        "rgb_deflate.tif": colour ~ 0,
        "rgb_jpeg.tif": colour ~ 8,
        "ycbcr_jpeg.tif": colour ~ 40,
        "grey_jpeg.tif": grey ~ 4,
        "palette.tif": palette ~ 0,
        "cmyk.tif": colour ~ 1,
        "bilevel.bmp": bilevel ~ 0,
        "palette.bmp": palette ~ 0,
        "palette_2.png": palette ~ 0,
        "palette_4_transparent.png": palette_last_transparent ~ 0,
        "palette.gif": palette ~ 0,
        "two_frames.gif": palette ~ 0,
        "transparent.gif": palette_last_transparent ~ 0,
        "lossy.webp": colour ~ 40,
        "lossy_alpha.webp": colour_over_white ~ 40,
    };
    for (name, image, of, tolerance) in samples {
        check(name, image, of, tolerance);
    }
}

fn write(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    image.write_to(&mut file, format).unwrap();
    file.into_inner()
}

#[test]
fn lossless_formats_are_exact() {
    let rgb = image::RgbImage::from_raw(WIDTH as u32, HEIGHT as u32, pattern(colour)).unwrap();
    let rgb = DynamicImage::ImageRgb8(rgb);
    for format in [ImageFormat::Png, ImageFormat::Tiff, ImageFormat::Bmp, ImageFormat::WebP] {
        check(&format!("{format:?}"), &write(&rgb, format), colour, 0);
    }
    let greys: Vec<u8> = pattern(grey).as_chunks::<3>().0.iter().map(|c| c[0]).collect();
    let grey8 = image::GrayImage::from_raw(WIDTH as u32, HEIGHT as u32, greys).unwrap();
    let grey8 = DynamicImage::ImageLuma8(grey8);
    for format in [ImageFormat::Png, ImageFormat::Tiff, ImageFormat::Bmp] {
        check(&format!("{format:?} grey"), &write(&grey8, format), grey, 0);
    }
    for format in [ImageFormat::Png, ImageFormat::Tiff] {
        let sixteen = DynamicImage::ImageLuma16(grey8.to_luma16());
        check(&format!("{format:?} grey 16"), &write(&sixteen, format), grey, 0);
        let sixteen = DynamicImage::ImageRgb16(rgb.to_rgb16());
        check(&format!("{format:?} colour 16"), &write(&sixteen, format), colour, 0);
    }
    let float = DynamicImage::ImageRgb32F(rgb.to_rgb32f());
    check("TIFF float", &write(&float, ImageFormat::Tiff), colour, 0);
}

#[test]
fn transparency_shows_the_background() {
    let mut rgba = DynamicImage::ImageRgb8(
        image::RgbImage::from_raw(WIDTH as u32, HEIGHT as u32, pattern(colour)).unwrap(),
    )
    .to_rgba8();
    for (x, y, pixel) in rgba.enumerate_pixels_mut() {
        pixel[3] = bilevel(x as usize, y as usize)[0];
    }
    let rgba = DynamicImage::ImageRgba8(rgba);
    for format in
        [ImageFormat::Png, ImageFormat::Tiff, ImageFormat::Bmp, ImageFormat::WebP, ImageFormat::Gif]
    {
        // A GIF has 256 colours, here for 192 pixels.
        let tolerance = if format == ImageFormat::Gif { 8 } else { 0 };
        check(&format!("{format:?}"), &write(&rgba, format), colour_over_white, tolerance);
    }
    let sixteen = DynamicImage::ImageRgba16(rgba.to_rgba16());
    check("16 bits", &write(&sixteen, ImageFormat::Png), colour_over_white, 0);

    let half = image::GrayAlphaImage::from_pixel(2, 1, image::LumaA([100, 128]));
    let half = write(&DynamicImage::ImageLumaA8(half), ImageFormat::Png);
    assert_eq!(raster(&half, 2, 1, 1), [177, 177], "half of 100, half of white");
    let black = Preprocessing::new(1, 2, 3, Fit::Contain, 0).unwrap();
    assert_eq!(raster_of(black, &half).unwrap(), [50; 6], "half of 100, half of black");
}

/// A PNG of any depth, through the encoder's own crate: `image` writes 8 and 16 bits only.
fn png(width: u32, height: u32, depth: png::BitDepth, data: &[u8], exif: Option<u8>) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(depth);
    let mut writer = encoder.write_header().unwrap();
    if let Some(orientation) = exif {
        writer.write_chunk(png::chunk::eXIf, &exif_block(orientation)).unwrap();
    }
    writer.write_image_data(data).unwrap();
    writer.finish().unwrap();
    file
}

/// An EXIF block that holds nothing but an orientation.
fn exif_block(orientation: u8) -> Vec<u8> {
    let mut block = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    block.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    block
}

#[test]
fn png_of_few_bits() {
    assert_eq!(raster(&png(4, 1, png::BitDepth::One, &[0x50], None), 4, 1, 1), [0, 255, 0, 255]);
    assert_eq!(raster(&png(4, 1, png::BitDepth::Two, &[0x1b], None), 4, 1, 1), [0, 85, 170, 255]);
    let four = png(3, 2, png::BitDepth::Four, &[0x01, 0x20, 0xde, 0xf0], None);
    assert_eq!(raster(&four, 3, 2, 1), [0, 17, 34, 221, 238, 255]);
}

/// A TIFF of one strip, uncompressed, big-endian: tags beside size and strip as (tag, values).
fn tiff(width: u16, height: u16, tags: &[(u16, &[u16])], data: &[u8]) -> Vec<u8> {
    let mut all: Vec<(u16, Vec<u16>)> = vec![
        (256, vec![width]),
        (257, vec![height]),
        (273, vec![8]),
        (278, vec![height]),
        (279, vec![data.len() as u16]),
    ];
    for &(tag, values) in tags {
        all.retain(|(other, _)| *other != tag);
        all.push((tag, values.to_vec()));
    }
    all.sort_by_key(|&(tag, _)| tag);
    let padding = data.len() % 2;
    let directory = 8 + data.len() + padding;
    let mut values_at = directory + 2 + 12 * all.len() + 4;
    let mut file = b"MM\0*".to_vec();
    file.extend((directory as u32).to_be_bytes());
    file.extend(data);
    file.resize(directory, 0);
    file.extend((all.len() as u16).to_be_bytes());
    let mut beyond = Vec::new();
    for (tag, values) in &all {
        file.extend(tag.to_be_bytes());
        file.extend(3u16.to_be_bytes());
        file.extend((values.len() as u32).to_be_bytes());
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_be_bytes()).collect();
        if bytes.len() <= 4 {
            file.extend(&bytes);
            file.resize(file.len() + 4 - bytes.len(), 0);
        } else {
            file.extend((values_at as u32).to_be_bytes());
            values_at += bytes.len();
            beyond.extend(bytes);
        }
    }
    file.extend([0; 4]);
    file.extend(beyond);
    file
}

#[test]
fn tiff_of_few_bits() {
    let two = tiff(4, 1, &[(258, &[2]), (262, &[1])], &[0x1b]);
    assert_eq!(raster(&two, 4, 1, 1), [0, 85, 170, 255]);
    let two = tiff(4, 1, &[(258, &[2]), (262, &[0])], &[0x1b]);
    assert_eq!(raster(&two, 4, 1, 1), [255, 170, 85, 0], "white is zero");
    let four = tiff(3, 2, &[(258, &[4]), (262, &[1])], &[0x01, 0x20, 0xde, 0xf0]);
    assert_eq!(raster(&four, 3, 2, 1), [0, 17, 34, 221, 238, 255]);
    let one = tiff(9, 1, &[(258, &[1]), (262, &[0])], &[0b0101_0101, 0x80]);
    assert_eq!(raster(&one, 9, 1, 1), [255, 0, 255, 0, 255, 0, 255, 0, 0]);
}

#[test]
fn tiff_palettes() {
    let mut colours = [0u16; 48];
    for (index, colour) in PALETTE.iter().enumerate() {
        for channel in 0..3 {
            colours[channel * 16 + index] = u16::from(colour[channel]) * 257;
        }
    }
    let four = tiff(4, 1, &[(258, &[4]), (262, &[3]), (320, &colours)], &[0x01, 0x23]);
    assert_eq!(raster(&four, 4, 1, 3), PALETTE.as_flattened());
}

#[test]
fn tiff_layouts() {
    let planes = [1, 2, 3, 4, 11, 12, 13, 14, 21, 22, 23, 24];
    let planar = tiff(
        2,
        2,
        &[
            (258, &[8, 8, 8]),
            (262, &[2]),
            (273, &[8, 12, 16]),
            (277, &[3]),
            (279, &[4, 4, 4]),
            (284, &[2]),
        ],
        &planes,
    );
    assert_eq!(raster(&planar, 2, 2, 3), [1, 11, 21, 2, 12, 22, 3, 13, 23, 4, 14, 24]);

    let alpha = |extra: u16| {
        let tags: [(u16, &[u16]); 4] = [(258, &[8, 8]), (262, &[1]), (277, &[2]), (338, &[extra])];
        tiff(2, 1, &tags, &[100, 128, 100, 0])
    };
    assert_eq!(raster(&alpha(2), 2, 1, 1), [177, 255], "alpha apart");
    assert_eq!(raster(&alpha(1), 2, 1, 1), [227, 255], "alpha multiplied in");
    assert!(matches!(
        raster_of(Preprocessing::new(1, 2, 1, Fit::Contain, 255).unwrap(), &alpha(0)),
        Err(ImageError::Broken { format: "TIFF", .. })
    ));
}

/// Stored as 3 x 2: 1 2 3 over 4 5 6.
const STORED: [u8; 6] = [1, 2, 3, 4, 5, 6];

/// The eight pictures that the standard makes of it, with their sizes.
const PICTURES: [(usize, usize, [u8; 6]); 8] = [
    (3, 2, [1, 2, 3, 4, 5, 6]),
    (3, 2, [3, 2, 1, 6, 5, 4]),
    (3, 2, [6, 5, 4, 3, 2, 1]),
    (3, 2, [4, 5, 6, 1, 2, 3]),
    (2, 3, [1, 4, 2, 5, 3, 6]),
    (2, 3, [4, 1, 5, 2, 6, 3]),
    (2, 3, [6, 3, 5, 2, 4, 1]),
    (2, 3, [3, 6, 2, 5, 1, 4]),
];

#[test]
fn the_eight_orientations() {
    for (number, (width, height, picture)) in (1u8..).zip(PICTURES) {
        let file = png(3, 2, png::BitDepth::Eight, &STORED, Some(number));
        assert_eq!(raster(&file, width, height, 1), picture, "PNG {number}");
        let tags: [(u16, &[u16]); 3] = [(258, &[8]), (262, &[1]), (274, &[u16::from(number)])];
        let file = tiff(3, 2, &tags, &STORED);
        assert_eq!(raster(&file, width, height, 1), picture, "TIFF {number}");
    }
    for number in [0, 9, 255] {
        let file = png(3, 2, png::BitDepth::Eight, &STORED, Some(number));
        assert_eq!(raster(&file, 3, 2, 1), STORED, "PNG {number}");
    }
}

#[test]
fn a_jpeg_and_a_webp_are_turned_too() {
    // The left half black, the right half white; turned clockwise by 90 degrees: black above.
    let halves =
        image::GrayImage::from_fn(32, 16, |x, _| image::Luma([if x < 16 { 0 } else { 255 }]));
    let expected: Vec<u8> = (0..512).map(|i| if i < 256 { 0 } else { 255 }).collect();

    let mut jpeg = write(&DynamicImage::ImageLuma8(halves.clone()), ImageFormat::Jpeg);
    let mut segment = b"Exif\0\0".to_vec();
    segment.extend(exif_block(6));
    let mut marker = vec![0xff, 0xe1];
    marker.extend((segment.len() as u16 + 2).to_be_bytes());
    marker.extend(segment);
    jpeg.splice(2..2, marker);
    assert!(difference(&raster(&jpeg, 16, 32, 1), &expected).0 <= 6);

    let mut webp = Vec::new();
    let mut encoder = image::codecs::webp::WebPEncoder::new_lossless(&mut webp);
    encoder.set_exif_metadata(exif_block(6)).unwrap();
    let rgb = DynamicImage::ImageLuma8(halves).to_rgb8();
    encoder.write_image(&rgb, 32, 16, ExtendedColorType::Rgb8).unwrap();
    assert_eq!(raster(&webp, 16, 32, 1), expected);
}

#[test]
fn proportions_are_fitted() {
    // Four columns 0 100 200 40 of two rows.
    let file = png(4, 2, png::BitDepth::Eight, &[0, 100, 200, 40, 0, 100, 200, 40], None);
    let fit = |fit, height, width| {
        raster_of(Preprocessing::new(height, width, 1, fit, 9).unwrap(), &file).unwrap()
    };
    let bars = |row: [u8; 4]| [[9; 4], row, row, [9; 4]].concat();
    assert_eq!(fit(Fit::Contain, 4, 4), bars([0, 100, 200, 40]), "bars above and below");
    assert_eq!(fit(Fit::Contain, 2, 8)[..8], [9, 9, 0, 100, 200, 40, 9, 9], "bars at the sides");
    assert_eq!(fit(Fit::Contain, 1, 1), [85]);
    assert_eq!(fit(Fit::Cover, 2, 2), [100, 200, 100, 200], "the middle");
    assert_eq!(fit(Fit::Stretch, 2, 2), [50, 120, 50, 120], "averages");
    assert_eq!(fit(Fit::Stretch, 1, 4), [0, 100, 200, 40]);
    let wide = png(100, 1, png::BitDepth::Eight, &[7; 100], None);
    let preprocessing = Preprocessing::new(3, 3, 1, Fit::Contain, 0).unwrap();
    assert_eq!(raster_of(preprocessing, &wide).unwrap(), [0, 0, 0, 7, 7, 7, 0, 0, 0]);
    let preprocessing = Preprocessing::new(3, 3, 1, Fit::Cover, 0).unwrap();
    assert_eq!(raster_of(preprocessing, &wide).unwrap(), [7; 9]);
}

#[test]
fn one_value_for_all_cpus() {
    // A fixed digest over every sample that is not exact by definition: a change of a decoder or
    // of the resampling changes what stored versions answer, and must be seen here.
    let mut digest = 0xcbf2_9ce4_8422_2325u64;
    let samples: [&[u8]; 7] = [
        include_bytes!("vision/baseline_420.jpg"),
        include_bytes!("vision/progressive.jpg"),
        include_bytes!("vision/cmyk.jpg"),
        include_bytes!("vision/rgb_jpeg.tif"),
        include_bytes!("vision/ycbcr_jpeg.tif"),
        include_bytes!("vision/lossy.webp"),
        include_bytes!("vision/lossy_alpha.webp"),
    ];
    for sample in samples {
        for (width, height, channels) in [(7, 5, 1), (16, 12, 3), (40, 41, 3)] {
            for byte in raster(sample, width, height, channels) {
                digest = (digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
    }
    assert_eq!(digest, 0x848f_a48f_d8ff_6c09, "{digest:#x}");
}
