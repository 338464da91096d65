"""Image files, checked before anything is scored.

Only 8 bits a channel are read. Pillow would quietly cut 16-bit colours to 8 and stretch 4-bit
greys, so the file's own header says what it holds. Indices into a palette may be stored in fewer
bits: they stay what they are. Pixels are integers therefore; a floating-point image, which could
hold NaN, is refused by its header.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from pix2pix.common.errors import ScoringError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
KINDS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}
MODES = {"RGB": "RGB", "L": "grey", "P": "palette", "LA": KINDS[4], "RGBA": KINDS[6]}
READABLE = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
OTHER_IMAGES = {".gif", ".ppm", ".pgm", ".pnm", ".exr", ".hdr", ".jp2", ".avif", ".heic"}
LOSSY = ("JPEG", "MPO", "WEBP")
LOSSLESS_TIFF = {1, 5, 8, 32773, 32946}  # none, LZW, Deflate, PackBits, Deflate's older number
ORIENTATION = 0x0112
TURNED = "is stored turned (EXIF orientation); save it upright"
# pix2pix.data.decode has the same two, which eval cannot import: scoring stands without the suite.
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
"""Pillow knows many more by their content, whatever the file's name; EPS would run Ghostscript."""
MAX_PIXELS = 64_000_000
"""Of one file, known from its header: a small file can claim any size and fill the memory."""


class Header(NamedTuple):
    """What a file says about itself: (height, width) in pixels, "PNG", "JPEG", …, and "RGB", …"""

    size: tuple[int, int]
    format: str
    kind: str


def check_image(path: Path, kinds: Sequence[str] = ("RGB",)) -> Header:
    """Size and format, from the file's header alone.

    Args:
        kinds: those allowed, of KINDS. All but RGB are read from PNG files only.

    Raises:
        ScoringError: unreadable, not 8 bits a channel, or of none of `kinds`.
    """
    try:
        with open(path, "rb") as file:
            header = file.read(26)
    except OSError as error:
        raise ScoringError(f"{path}: cannot be read ({error.strerror})") from error
    if header[:8] == SIGNATURE and header[12:16] == b"IHDR" and len(header) == 26:
        width, height = (int.from_bytes(header[i : i + 4], "big") for i in (16, 20))
        _check_pixels(path, (height, width))
        kind = KINDS.get(header[25], "unknown")
        _check_kind(path, kind, header[24], kinds)
        return Header((height, width), "PNG", kind)
    if path.suffix.lower() == ".png":
        raise ScoringError(f"{path}: not a PNG file, or a truncated one")
    if "RGB" not in kinds:
        raise ScoringError(f"{path}: must be a PNG file; other formats do not keep class indices")
    return _check_other(path)


def read_rgb(path: Path) -> np.ndarray:
    """(H, W, 3) uint8; ScoringError where the file is not a whole 8-bit RGB image."""
    check_image(path)
    return decode(path)


def read_labels(path: Path, classes: int, ignored: int = 255) -> np.ndarray:
    """(H, W) uint8 class indices; ScoringError also where one is neither a class nor ignored."""
    check_image(path, ("grey", "palette"))
    labels = decode(path)
    wrong = labels[(labels >= classes) & (labels != ignored)]
    if wrong.size:
        raise ScoringError(
            f"{path}: class {wrong.min()} is not one of the {classes} classes"
            f" (0 to {classes - 1}, {ignored} is ignored)"
        )
    return labels


def decode(path: Path) -> np.ndarray:
    """The values that a checked file holds: (H, W, 3), (H, W, 4) or (H, W) uint8."""
    try:
        with _opened(path) as image:
            image.load()
            if image.mode == "RGB" and "transparency" in image.info:
                raise ScoringError(f"{path}: must be RGB without a transparent colour")
            if "exif" in image.info and image.getexif().get(ORIENTATION, 1) not in (0, 1):
                raise ScoringError(f"{path}: {TURNED}")
            return np.array(image)
    except ScoringError:
        raise
    except MemoryError:
        raise ScoringError(f"{path}: too large for the memory that is free") from None
    except Exception as error:  # a decoder may raise anything on damaged bytes
        raise ScoringError(f"{path}: damaged or truncated ({_said(error)})") from error


def read_palette(path: Path) -> np.ndarray | None:
    """(N, 3) uint8, the colours of a palette PNG's indices from 0; None for any other image."""
    try:
        with _opened(path) as image:
            found = image.getpalette("RGB") if image.mode == "P" else None
    except Exception as error:  # a decoder may raise anything on damaged bytes
        raise ScoringError(f"{path}: damaged or truncated ({_said(error)})") from error
    return None if found is None else np.array(found, np.uint8).reshape(-1, 3)


def _opened(path: Path) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about size and about damaged metadata
        return Image.open(path, formats=FORMATS)


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _check_pixels(path: Path, size: tuple[int, int]) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        raise ScoringError(
            f"{path}: has {size[0]}x{size[1]} pixels; at most {MAX_PIXELS:,} are scored"
        )


def _check_kind(path: Path, kind: str, bits: int, kinds: Sequence[str]) -> None:
    if kind not in kinds or (bits != 8 and kind != "palette"):
        raise ScoringError(
            f"{path}: must be {' or '.join(kinds)} with 8 bits a channel (it is {kind}, {bits} bit)"
        )


def _check_other(path: Path) -> Header:
    """The header of a file that is no PNG: it must be one upright 8-bit RGB image."""
    try:
        with _opened(path) as image:
            bits = {"1": 1, "I": 32, "F": 32}.get(image.mode, 16 if "16" in image.mode else 8)
            name = image.format or "unknown"
            if name == "TIFF":
                bits = max(image.tag_v2.get(258, (bits,)))
                name += "" if image.tag_v2.get(259, 1) in LOSSLESS_TIFF else " (lossy)"
            frames, size = getattr(image, "n_frames", 1), (image.height, image.width)
            kind = MODES.get(image.mode, "floating point" if image.mode == "F" else image.mode)
            turned = image.getexif().get(ORIENTATION, 1) not in (0, 1)
    except Image.DecompressionBombError:
        raise ScoringError(f"{path}: has more than {MAX_PIXELS:,} pixels") from None
    except Exception as error:  # a decoder may raise anything on damaged bytes
        raise ScoringError(f"{path}: not an image that can be read, or a truncated one") from error
    _check_pixels(path, size)
    _check_kind(path, kind, bits, ("RGB",))
    if frames != 1 and name != "MPO":
        raise ScoringError(f"{path}: holds {frames} images; one is scored")
    if turned:
        raise ScoringError(f"{path}: {TURNED}")
    return Header(size, name, kind)


def is_lossy(image_format: str) -> bool:
    """Whether files of that format (a `Header.format`) do not keep every pixel's value."""
    return image_format in LOSSY or image_format.endswith("(lossy)")
