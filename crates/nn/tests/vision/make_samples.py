#!/usr/bin/env python3
"""Makes the sample images beside it that Rust cannot write, with Pillow (13.0 was used).

Every one is 16 x 12 and follows one of the patterns below, which tests/vision_formats.rs
repeats."""
import os

from PIL import Image

WIDTH, HEIGHT = 16, 12


def colour(x, y):
    return (x * 16, y * 20, (x + y) * 9)


def bilevel(x, y):
    return 255 if (x // 4 + y // 3) % 2 else 0


def index(x, y):
    return (x // 4 + y // 3) % 4


def make(mode, pattern):
    image = Image.new(mode, (WIDTH, HEIGHT))
    image.putdata([pattern(x, y) for y in range(HEIGHT) for x in range(WIDTH)])
    return image


os.chdir(os.path.dirname(os.path.abspath(__file__)))
rgb = make("RGB", colour)
grey = make("L", lambda x, y: x * 16)
black_white = make("L", bilevel).convert("1")
palette = make("P", index)
palette.putpalette([10, 20, 30, 200, 0, 0, 0, 200, 0, 250, 240, 230])

rgb.save("baseline_420.jpg", quality=95, subsampling=2)
rgb.save("baseline_444.jpg", quality=95, subsampling=0)
rgb.save("progressive.jpg", quality=95, subsampling=0, progressive=True)
grey.save("grey.jpg", quality=95)
rgb.convert("CMYK").save("cmyk.jpg", quality=95, subsampling=0)

black_white.save("bilevel_g4.tif", compression="group4")
black_white.save("bilevel_packbits.tif", compression="packbits")
rgb.save("rgb_lzw.tif", compression="tiff_lzw")
rgb.save("rgb_deflate.tif", compression="tiff_adobe_deflate", tiffinfo={317: 2})
rgb.save("rgb_jpeg.tif", compression="jpeg", quality=95)
rgb.convert("YCbCr").save("ycbcr_jpeg.tif", compression="jpeg", quality=95)
grey.save("grey_jpeg.tif", compression="jpeg", quality=95)
palette.save("palette.tif", compression="tiff_lzw")
rgb.convert("CMYK").save("cmyk.tif")

black_white.save("bilevel.bmp")
palette.save("palette.bmp")

palette.save("palette_2.png", bits=2)
palette.save("palette_4_transparent.png", bits=4, transparency=3)

palette.save("palette.gif")
palette.save("two_frames.gif", save_all=True, append_images=[make("P", lambda x, y: 0)])
palette.save("transparent.gif", transparency=3)

rgb.save("lossy.webp", quality=95)
rgba = rgb.copy()
rgba.putalpha(make("L", bilevel))
rgba.save("lossy_alpha.webp", quality=95)
