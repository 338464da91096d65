"""Image files of every kind, and ones whose headers lie."""

from __future__ import annotations

import functools
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from hypothesis import strategies as st
from mutations import mutated
from PIL import Image

from pix2pix.data.layouts import SUFFIXES

WIDTH, HEIGHT = 8, 6
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 6\n(fuzz-was-here) (w) file closefile\n"
"""A program: PIL hands it to Ghostscript, where that is installed."""


def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def indices() -> np.ndarray:
    return np.array([[0, 1, 2, 9] * (WIDTH // 4)] * HEIGHT, np.uint8)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    # A copy: saving several frames leaves its marks on them.
    image.copy().save(file, kind, **options)
    return file.getvalue()


def deep_tiff(order: str, **options: Any) -> bytes:
    """A TIFF of 16 bits per colour, whose values are 8-bit ones times 257."""
    file = io.BytesIO()
    wide = photo().astype(np.uint16) * 257
    tifffile.imwrite(file, wide, photometric="rgb", byteorder=order, **options)
    return file.getvalue()


def few_bits(values: np.ndarray, bits: int) -> bytes:
    """A grey PNG of 1, 2 or 4 bits."""
    packed = (values.reshape(HEIGHT, -1, 8 // bits) << np.arange(8 - bits, -1, -bits)).sum(-1)
    rows = b"".join(b"\0" + row.astype(np.uint8).tobytes() for row in packed)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


@functools.cache
def originals() -> tuple[bytes, ...]:
    """The kinds that are read, and those that PIL reads and nobody wants."""
    rgb = Image.fromarray(photo())
    grey, labels = rgb.convert("L"), Image.fromarray(indices())
    deep = Image.fromarray(np.arange(48, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 999)
    palette = rgb.quantize(8)
    turned, wrong = Image.Exif(), Image.Exif()
    turned[0x0112], wrong[0x0112] = 6, 99
    return (
        encoded(rgb, "PNG"),
        encoded(labels, "PNG"),
        encoded(grey, "PNG", transparency=0),
        encoded(palette, "PNG"),
        encoded(palette, "PNG", bits=4, transparency=1),
        encoded(rgb.convert("RGBA"), "PNG"),
        encoded(grey.convert("LA"), "PNG"),
        encoded(deep, "PNG"),
        encoded(rgb.convert("1"), "PNG"),
        encoded(rgb, "PNG", exif=turned, save_all=True, append_images=[rgb.rotate(180)]),
        encoded(rgb, "JPEG", quality=95),
        encoded(rgb, "JPEG", progressive=True, exif=wrong),
        encoded(rgb, "JPEG", exif=turned),
        encoded(rgb.convert("CMYK"), "JPEG"),
        encoded(grey, "JPEG"),
        encoded(rgb, "MPO", save_all=True, append_images=[rgb.rotate(180)]),
        encoded(rgb, "WEBP", lossless=True),
        encoded(rgb, "WEBP", save_all=True, append_images=[rgb.rotate(180)]),
        encoded(rgb.convert("RGBA"), "WEBP"),
        encoded(rgb, "TIFF"),
        encoded(rgb, "TIFF", compression="tiff_lzw"),
        encoded(rgb, "TIFF", compression="tiff_adobe_deflate"),
        encoded(rgb.convert("CMYK"), "TIFF"),
        encoded(deep, "TIFF"),
        encoded(rgb, "TIFF", save_all=True, append_images=[rgb.rotate(180)]),
        encoded(rgb.convert("1"), "TIFF"),
        deep_tiff("<"),
        deep_tiff(">", compression="zlib"),
        few_bits(np.minimum(indices(), 1), 1),
        few_bits(np.minimum(indices(), 2), 2),
        few_bits(indices(), 4),
        encoded(rgb, "BMP"),
        encoded(palette, "BMP"),
        encoded(palette, "GIF", save_all=True, append_images=[grey.convert("P")]),
        encoded(rgb, "ICO", sizes=[(WIDTH, HEIGHT)]),
        encoded(rgb, "PPM"),
        encoded(rgb, "JPEG2000"),
        EPS,
    )


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


@functools.cache
def _inflating(size: int) -> bytes:
    return zlib.compress(bytes(size), 9)


@st.composite
def lying_png(draw: st.DrawFn) -> bytes:
    """A PNG whose checksums are right and whose words are not."""
    side = st.sampled_from([0, 1, WIDTH, HEIGHT, 7, 300, 8001, 65535, 2**31 - 1, 2**32 - 1])
    width, height = (WIDTH, HEIGHT) if draw(st.integers(0, 2)) else (draw(side), draw(side))
    depth = draw(st.sampled_from([8, 8, 8, 1, 2, 4, 16, 0, 3, 255]))
    kind = draw(st.sampled_from([0, 2, 2, 3, 4, 6, 1, 7]))
    header = struct.pack(
        ">IIBBBBB", width, height, depth, kind, 0, 0, draw(st.sampled_from([0, 0, 1, 9]))
    )
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(kind, 1)
    rows = (b"\0" + bytes(channels * WIDTH * max(depth // 8, 1))) * HEIGHT
    body = draw(
        st.sampled_from(
            [zlib.compress(rows), zlib.compress(rows[:9]), b"", b"x" * 20, _inflating(1 << 24)]
        )
    )
    extra = st.sampled_from(
        [
            chunk(b"PLTE", bytes(range(30))),
            chunk(b"PLTE", b"ab"),
            chunk(b"PLTE", b""),
            chunk(b"tRNS", bytes(6)),
            chunk(b"tRNS", b"a"),
            chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"),
            chunk(b"eXIf", b"MM\0*\0\0\0\x08"),
            chunk(b"eXIf", b"Exif\0\0"),
            chunk(b"zTXt", b"k\0\0" + _inflating(1 << 27)),
            chunk(b"iTXt", b"k\0\1\0\0\0" + _inflating(1 << 27)),
            chunk(b"iCCP", b"k\0\0" + _inflating(1 << 27)),
            chunk(b"tEXt", b"k\0" + b"v" * 100),
            chunk(b"acTL", struct.pack(">II", 2**31, 0)),
            chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 9, 9, 2**31, 0, 1, 0, 9, 9)),
            chunk(b"IHDR", header),
            chunk(b"IEND", b""),
        ]
    )
    before = b"".join(draw(st.lists(extra, max_size=3)))
    behind = b"".join(draw(st.lists(extra, max_size=2)))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + before
        + chunk(b"IDAT", body)
        + behind
        + chunk(b"IEND", b"")
    )


def image_files() -> st.SearchStrategy[bytes]:
    return st.one_of(mutated(originals()), lying_png(), mutated(originals(), most=1))


def painted_files() -> st.SearchStrategy[bytes]:
    """Side-by-side pairs of the facades, whose labels are colours of the registry."""
    from pix2pix.data.labels import paint
    from pix2pix.data.registry import load_registry

    painted = paint(indices(), load_registry()["facades"])
    pair = Image.fromarray(np.concatenate([photo(), painted], 1))
    large = pair.resize((16 * WIDTH, 8 * HEIGHT), Image.Resampling.NEAREST)
    whole = (encoded(pair, "PNG"), encoded(pair, "BMP"), encoded(large, "JPEG", quality=95))
    return st.one_of(mutated(whole), mutated(whole, most=1), mutated(originals(), most=1))


@functools.cache
def _given() -> tuple[bytes, ...]:
    """Files of ../shared/field, where that folder is: what users' data failed with."""
    field = Path(__file__).resolve().parents[3] / "shared" / "field"
    files = (path for path in sorted(field.rglob("*")) if path.suffix.lower() in SUFFIXES)
    return tuple(path.read_bytes() for path in files)


@st.composite
def index_maps(draw: st.DrawFn) -> bytes:
    """Label maps of the three classes in every form that programs write."""
    positions = indices() if draw(st.booleans()) else np.minimum(indices(), 2)
    colours = [(10, 20, 30), (200, 100, 0), (0, 0, 255), *[(0, 0, 0)] * 6, (7, 7, 7)]
    order = draw(st.permutations(range(3)))
    palette = [colours[i] for i in (*order, *range(3, 10))]
    form = draw(st.sampled_from(["grey", "P", "RGB", "painted", "16", "alpha", "BGR", "few"]))
    image: Image.Image = Image.fromarray(positions)
    if form == "P":
        image = Image.fromarray(positions, "P")
        image.putpalette([value for colour in palette for value in colour])
    elif form == "RGB":
        image = image.convert("RGB")
    elif form in ("painted", "alpha", "BGR"):
        image = Image.fromarray(np.array(palette, np.uint8)[positions])
        image = Image.fromarray(np.asarray(image)[..., ::-1]) if form == "BGR" else image
        image = image.convert("RGBA") if form == "alpha" else image
    elif form == "16":
        scale = draw(st.sampled_from([1, 257, 256, 255]))
        image = Image.fromarray(positions.astype(np.uint16) * scale)
    elif form == "few":
        bits = draw(st.sampled_from([1, 2, 4]))
        return few_bits(np.minimum(positions, 2**bits - 1), bits)
    return encoded(image, draw(st.sampled_from(["PNG", "PNG", "TIFF"])))


def readable_files() -> st.SearchStrategy[bytes]:
    """Every kind of image, those of users, and label maps; whole and damaged."""
    whole = (*originals(), *_given())
    return st.one_of(
        st.sampled_from(whole), index_maps(), mutated(whole, most=1), mutated(whole), lying_png()
    )
