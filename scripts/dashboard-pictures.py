#!/usr/bin/env python3
"""Takes the pictures that docs/reference/dashboard.md shows anew, and keeps 48 colours of each.

    make pictures                   or CARGO=cargo scripts/dashboard-pictures.py
    make pictures REVIEW=folder     pictures to look at instead: three widths, light and dark, in a folder
"""

import collections
import multiprocessing
import os
import pathlib
import struct
import subprocess
import sys
import zlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs/dashboard"
COLOURS = 48
MOST_BYTES = 60_000
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunks(data):
    at = len(SIGNATURE)
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def nearest(left, up, corner):
    """The predictor of Paeth, as PNG defines it."""
    guess = left + up - corner
    return min((abs(guess - left), 0, left), (abs(guess - up), 1, up), (abs(guess - corner), 2, corner))[2]


def unfiltered(line, kind, before, step):
    line = bytearray(line)
    for at in range(len(line)):
        left = line[at - step] if at >= step else 0
        corner = before[at - step] if at >= step else 0
        up = before[at]
        add = (0, left, up, (left + up) // 2, nearest(left, up, corner) if kind == 4 else 0)[kind]
        line[at] = (line[at] + add) & 255
    return line


def pixels(data):
    """Width, and lines of colours, of a picture of 8 bits without a palette."""
    parts = list(chunks(data))
    width, height, depth, kind = struct.unpack(">IIBB", parts[0][1][:10])
    if depth != 8 or kind not in (2, 6):
        return None
    step = 3 if kind == 2 else 4
    raw = zlib.decompress(b"".join(part for name, part in parts if name == b"IDAT"))
    size = 1 + width * step
    before, lines = bytes(width * step), []
    for row in range(height):
        line = raw[row * size : (row + 1) * size]
        before = line[1:] if line[0] == 0 else unfiltered(line[1:], line[0], before, step)
        lines.append(list(zip(before[0::step], before[1::step], before[2::step])))
    return width, lines


def shrink(path):
    read = pixels(path.read_bytes())
    if read is None:
        return
    width, lines = read
    counts = collections.Counter(colour for line in lines for colour in line)
    palette = [colour for colour, _ in counts.most_common(COLOURS)]
    place = {
        colour: min(range(len(palette)), key=lambda at: sum((one - other) ** 2 for one, other in zip(colour, palette[at])))
        for colour in counts
    }
    body = b"".join(b"\0" + bytes(place[colour] for colour in line) for line in lines)
    header = struct.pack(">IIBBBBB", width, len(lines), 8, 3, 0, 0, 0)
    table = b"".join(bytes(colour) for colour in palette)
    made = SIGNATURE + chunk(b"IHDR", header) + chunk(b"PLTE", table) + chunk(b"IDAT", zlib.compress(body, 9)) + chunk(b"IEND", b"")
    path.write_bytes(made)
    if len(made) > MOST_BYTES:
        raise ValueError(f"{path} has {len(made)} bytes")


if __name__ == "__main__":
    review = os.environ.get("REVIEW")
    if "--shrink-only" not in sys.argv:
        command = [os.environ.get("CARGO", "cargo"), "run", "--example", "pictures"]
        subprocess.run([*command, *(["--", str(pathlib.Path(review).resolve())] if review else [])], cwd=ROOT, check=True)
    if review:
        sys.exit()
    with multiprocessing.Pool() as pool:
        pool.map(shrink, sorted(FOLDER.glob("*.png")))
