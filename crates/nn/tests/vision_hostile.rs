//! Images sent by strangers: broken, cut short, mutated, enormous, slow. An error each time, never
//! a panic, an abort or silence.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use image::{DynamicImage, ImageFormat};
use proptest::prelude::*;
use teller_nn::vision::{Fit, ImageError, Limits, Preprocessing};
use teller_numeric::{Cancelled, Control, Step, Uninterrupted};

const LIMITS: Limits = Limits { max_pixels: 1 << 20 };

fn raster(image: &[u8]) -> Result<Vec<u8>, ImageError> {
    let preprocessing = Preprocessing::new(9, 11, 3, Fit::Contain, 255).unwrap();
    let mut out = vec![0; preprocessing.raster_len()];
    preprocessing.raster(image, &LIMITS, &Uninterrupted, &mut out).map(|()| out)
}

/// Files of every format, from this crate's encoders and from others.
fn samples() -> Vec<(&'static str, Vec<u8>)> {
    macro_rules! stored {
        ($($name:literal)*) => {
            vec![$(($name, include_bytes!(concat!("vision/", $name)).to_vec())),*]
        };
    }
    let mut samples = stored!["baseline_420.jpg" "progressive.jpg" "cmyk.jpg" "bilevel_g4.tif"
        "bilevel_packbits.tif" "rgb_lzw.tif" "rgb_deflate.tif" "rgb_jpeg.tif" "palette.tif"
        "bilevel.bmp" "palette.bmp" "palette_4_transparent.png" "palette.gif" "two_frames.gif"
        "lossy.webp" "lossy_alpha.webp"];
    let picture = picture(13, 10);
    for (name, format) in [
        ("png", ImageFormat::Png),
        ("tiff", ImageFormat::Tiff),
        ("bmp", ImageFormat::Bmp),
        ("webp", ImageFormat::WebP),
    ] {
        samples.push((name, write(&picture, format)));
    }
    samples
        .push(("png grey", write(&DynamicImage::ImageLuma8(picture.to_luma8()), ImageFormat::Png)));
    samples
}

fn picture(width: u32, height: u32) -> DynamicImage {
    DynamicImage::ImageRgb8(image::RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([(x * 7 + y) as u8, (y * 9) as u8, (x * y) as u8])
    }))
}

fn write(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    image.write_to(&mut file, format).unwrap();
    file.into_inner()
}

#[test]
fn a_file_cut_anywhere_is_an_error_or_complete() {
    for (name, file) in samples() {
        let whole = raster(&file).unwrap();
        let mut refused = 0;
        for length in 0..file.len() {
            match raster(&file[..length]) {
                Err(_) => refused += 1,
                // Only what comes after the last pixel may be missing.
                Ok(got) => assert_eq!(got, whole, "{name} cut to {length} of {}", file.len()),
            }
        }
        assert!(refused * 2 >= file.len(), "{name}: {refused} of {}", file.len());
    }
}

#[test]
fn messages_say_what_is_wrong() {
    assert_eq!(raster(b""), Err(ImageError::Empty));
    assert_eq!(raster(b"hello"), Err(ImageError::UnknownFormat));
    assert_eq!(raster(&[0; 1000]), Err(ImageError::UnknownFormat));
    for (name, file) in samples() {
        let error = raster(&file[..file.len() / 2]).unwrap_err();
        let ImageError::Broken { reason, .. } = &error else { panic!("{name}: {error}") };
        assert!(!reason.is_empty() && !reason.contains("Error {") && !reason.contains("failed on"));
        println!("{name}: {error}");
    }
}

proptest! {
    // PROPTEST_CASES asks for more.
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(3000),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn mutated_files_never_panic(
        sample in 0usize..21,
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<proptest::sample::Index>()),
    ) {
        thread_local! {
            static SAMPLES: Vec<(&'static str, Vec<u8>)> = samples();
        }
        let mut file = SAMPLES.with(|samples| samples[sample].1.clone());
        // The start of a file holds what is most interesting to change.
        for (index, (at, value)) in changes.into_iter().enumerate() {
            let reach = if index % 2 == 0 { file.len() } else { file.len().min(80) };
            let at = at.index(reach);
            file[at] = value;
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        let _ = raster(&file);
    }

    #[test]
    fn random_bytes_behind_a_known_start_never_panic(
        start in 0usize..9,
        rest in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        const STARTS: [&[u8]; 9] = [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"II*\0\x08\0\0\0",
            b"MM\0*\0\0\0\x08", b"II+\0", b"BM", b"GIF89a", b"RIFF\xff\0\0\0WEBPVP8 ",
            b"RIFF\xff\0\0\0WEBPVP8L"];
        let _ = raster(&[STARTS[start], &rest].concat());
    }
}

/// The same bytes at a place in a file.
fn patched(file: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

#[test]
fn an_enormous_image_costs_nothing() {
    let (wide, high) = (60_000u32, 60_000u32);
    let be = |value: u32| value.to_be_bytes();
    let le16 = |value: u32| (value as u16).to_le_bytes();
    let png = include_bytes!("vision/palette_2.png");
    let jpeg = include_bytes!("vision/baseline_420.jpg");
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    let tiff = include_bytes!("vision/bilevel_packbits.tif");
    let tag = |number: u16| {
        tiff.windows(4).position(|w| w[..2] == number.to_le_bytes() && w[3] == 0).unwrap()
    };
    let long = |value: u32| [[4, 0, 1, 0, 0, 0].as_slice(), &value.to_le_bytes()].concat();
    let size = [wide.to_le_bytes(), high.to_le_bytes()].concat();
    let files = [
        ("PNG", patched(png, 16, &[be(wide), be(high)].concat())),
        ("JPEG", patched(jpeg, frame + 5, &[&be(high)[2..], &be(wide)[2..]].concat())),
        (
            "TIFF",
            [256, 257, 278]
                .iter()
                .fold(tiff.to_vec(), |file, &number| patched(&file, tag(number) + 2, &long(wide))),
        ),
        ("BMP", patched(include_bytes!("vision/palette.bmp"), 18, &size)),
        (
            "GIF",
            patched(include_bytes!("vision/palette.gif"), 6, &[le16(wide), le16(high)].concat()),
        ),
    ];
    let before = peak_memory();
    for (name, file) in files {
        let expected = ImageError::TooLarge { width: wide, height: high, limit: LIMITS.max_pixels };
        assert_eq!(raster(&file), Err(expected), "{name}");
    }
    // A WebP has 14 bits for each side.
    let webp = include_bytes!("vision/lossy.webp");
    let webp = patched(webp, 26, &[le16(16_000), le16(16_000)].concat());
    assert!(matches!(raster(&webp), Err(ImageError::TooLarge { width: 16_000, .. })));
    if let (Some(before), Some(after)) = (before, peak_memory()) {
        assert!(after - before < 1 << 20, "{} kB", after - before);
    }
}

/// The most address space that the process has had, in kB, where the system tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmPeak:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn the_limit_is_on_all_pixels() {
    let file = write(&picture(40, 30), ImageFormat::Png);
    let preprocessing = Preprocessing::new(4, 4, 1, Fit::Contain, 255).unwrap();
    let read = |max_pixels| {
        preprocessing.raster(&file, &Limits { max_pixels }, &Uninterrupted, &mut [0; 16])
    };
    assert_eq!(read(1200), Ok(()));
    let error = read(1199).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the image is 40 x 30 pixels, expected at most 1199 pixels in all"
    );
}

/// Its decoder hears no cancellation, so a WebP has a limit of its own.
#[test]
fn a_large_webp_is_refused_whatever_the_setting() {
    let webp = include_bytes!("vision/lossy.webp");
    let side = |value: u32| (value as u16).to_le_bytes();
    let preprocessing = Preprocessing::new(4, 4, 1, Fit::Contain, 255).unwrap();
    let refused = |width: u32, height: u32| {
        let file = patched(webp, 26, &[side(width), side(height)].concat());
        let limits = Limits { max_pixels: u64::MAX };
        preprocessing.raster(&file, &limits, &Uninterrupted, &mut [0; 16])
    };
    let (width, height, limit) = (4001, 2500, 10_000_000);
    assert_eq!(refused(width, height), Err(ImageError::TooLarge { width, height, limit }));
    assert!(!matches!(refused(4000, 2500), Err(ImageError::TooLarge { .. })));
}

/// Cancels from the nth check on, and notes the longest time between two checks.
struct Watching {
    start: Instant,
    checks: AtomicU64,
    cancel_at: u64,
    last: AtomicU64,
    longest: AtomicU64,
}

impl Watching {
    fn new(cancel_at: u64) -> Self {
        Self {
            start: Instant::now(),
            checks: AtomicU64::new(0),
            cancel_at,
            last: AtomicU64::new(0),
            longest: AtomicU64::new(0),
        }
    }

    fn note(&self) {
        let now = self.start.elapsed().as_micros() as u64;
        let last = self.last.swap(now, Ordering::Relaxed);
        self.longest.fetch_max(now - last, Ordering::Relaxed);
    }
}

impl Control for Watching {
    fn check(&self) -> Result<(), Cancelled> {
        self.note();
        let checks = self.checks.fetch_add(1, Ordering::Relaxed) + 1;
        if checks >= self.cancel_at { Err(Cancelled) } else { Ok(()) }
    }

    fn report(&self, _: Step) {}
}

#[test]
fn a_large_image_is_cancelled_soon() {
    let picture = picture(3000, 2000);
    let limits = Limits { max_pixels: 6_000_000 };
    let preprocessing = Preprocessing::new(28, 28, 1, Fit::Contain, 255).unwrap();
    let formats = [
        ImageFormat::Png,
        ImageFormat::Jpeg,
        ImageFormat::Tiff,
        ImageFormat::Bmp,
        ImageFormat::Gif,
        ImageFormat::WebP,
    ];
    for format in formats {
        let file = write(&picture, format);
        let whole = Watching::new(u64::MAX);
        preprocessing.raster(&file, &limits, &whole, &mut [0; 784]).unwrap();
        whole.note();
        let checks = whole.checks.into_inner();
        let longest = Duration::from_micros(whole.longest.into_inner());
        println!(
            "{format:?}: {:?}, {checks} checks, {longest:?} between two",
            whole.start.elapsed()
        );
        assert!(longest < Duration::from_secs(1), "{format:?}: {longest:?}");
        for cancel_at in [1, 2, checks / 2, checks - 1, checks] {
            let control = Watching::new(cancel_at);
            let result = preprocessing.raster(&file, &limits, &control, &mut [0; 784]);
            assert_eq!(result, Err(ImageError::Cancelled(Cancelled)), "{format:?} at {cancel_at}");
        }
    }
}
