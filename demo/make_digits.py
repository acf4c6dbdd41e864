#!/usr/bin/env python3
"""Makes digits.tsv.gz from scikit-learn's copy of the UCI handwritten digits.

    python3 make_digits.py scikit_learn-*.whl     (pip download --no-deps scikit-learn)

Needs Python's standard library only; the same wheel gives the same bytes. How the file is laid
out, and why it is compressed, is in README.md.
"""
import gzip
import struct
import sys
import zipfile
import zlib

SIDE = 8
LEVELS = 16  # a pixel is the count of inked points in a 4 x 4 block


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(levels):
    """An 8-bit grey PNG, ink white on black; 0..16 becomes 0..255, each level its own grey."""
    greys = bytes((level * 255 + LEVELS // 2) // LEVELS for level in levels)
    rows = b"".join(b"\0" + greys[i:i + SIDE] for i in range(0, len(greys), SIDE))
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0)
    # Stored, not deflated: 72 bytes hardly shrink on their own, and gzip then finds what the
    # images have in common.
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
            + chunk(b"IDAT", zlib.compress(rows, 0)) + chunk(b"IEND", b""))


def main(wheel):
    with zipfile.ZipFile(wheel) as archive:
        table = gzip.decompress(archive.read("sklearn/datasets/data/digits.csv.gz")).decode()
    lines = []
    for number, line in enumerate(table.splitlines(), 1):
        *levels, label = (int(float(value)) for value in line.split(","))
        if len(levels) != SIDE * SIDE or not all(0 <= level <= LEVELS for level in levels):
            sys.exit(f"row {number} is no image of {SIDE} x {SIDE} levels 0 to {LEVELS}")
        # COPY reads \\x as the \x of a bytea in hex.
        lines.append(f"{number}\t{label}\t\\\\x{png(levels).hex()}\n")
    with open("digits.tsv.gz", "wb") as out:
        out.write(gzip.compress("".join(lines).encode(), 9, mtime=0))
    print(f"{len(lines)} images")


if __name__ == "__main__":
    main(sys.argv[1])
