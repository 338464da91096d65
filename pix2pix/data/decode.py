"""Image files to uint8 arrays, for training, translating and scoring alike.

Only 8 bits per channel are read. Pillow opens far more than that, some of it wrongly for this use
(16-bit RGB is cut to 8 bits, 4-bit grey values are multiplied by 17), so the kind of file is
checked by its header first. Pixels are integers therefore: a floating-point image, which could
hold NaN, is refused.

Photos are RGB. Index maps are lossless one-channel or palette files whose values are class
indices. Painted label maps are RGB and are read by the classes' colours.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from pix2pix.common.errors import UserError
from pix2pix.data.layouts import SourcePair
from pix2pix.data.registry import IGNORED, DatasetEntry, Side

MAX_PIXELS = 64_000_000
"""Width × height of one file, known from its header before anything is decoded: a small file can
claim any size and fill the memory."""
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")  # the JPEG reader also opens MPO
"""Pillow recognises many more by their content, whatever the file's name; EPS runs Ghostscript."""
PHOTO_KINDS = ("RGB",)
INDEX_KINDS = ("grey", "palette")
LABEL_KINDS = (*INDEX_KINDS, "RGB", "RGB with alpha")
"""Label maps, whether their values are indices or colours."""
MAX_UNKNOWN = 0.25
"""Share of a JPEG label map's pixels that may be far from every class colour: edges are smeared."""
STRIP = 1 << 18
"""Label pixels whose colours are compared at once."""

_LOSSY = ("JPEG", "MPO", "WEBP")
_LOSSLESS_TIFF = (1, 5, 8, 32773, 32946)  # none, LZW, Deflate, PackBits, Deflate's older number
_KINDS = {
    "RGB": "RGB",
    "L": "grey",
    "I": "grey",
    "F": "grey",
    "1": "black and white",
    "P": "palette",
    "LA": "grey with alpha",
    "RGBA": "RGB with alpha",
}
_ORIENTATION = 0x0112
_NO_CLASS = 254
_AS_RGB = "convert it: magick IN -alpha remove -depth 8 -type TrueColor PNG24:OUT.png"
_AS_GREY = "save it as an 8-bit one-channel PNG"

# MAX_PIXELS is the stricter bound and gives one clear line; Pillow's warning would be a second.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# About damaged tags and chunks, which are refused where they matter.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class Header(NamedTuple):
    """What an image file's header holds."""

    size: tuple[int, int]
    """(height, width) in pixels."""
    format: str
    """"PNG", "JPEG", …; "TIFF (lossy)" for a TIFF with lossy compression."""
    kind: str
    """"RGB", "grey", "palette", "RGB with alpha", …"""


@dataclass(frozen=True)
class DecodedPair:
    """The arrays of one pair at the size of the training."""

    images: dict[str, np.ndarray]
    """(H, W, 3) uint8 by role; labels as painted."""
    labels: np.ndarray | None
    """(H, W) uint8 class positions, 255 ignored."""


def check_image(path: Path, kinds: Sequence[str] = PHOTO_KINDS) -> Header:
    """The header of one image file, without decoding it.

    Raises UserError: the file is unreadable, too large, stored turned, holds several pictures, is
    not one of `kinds` with 8 bits per channel, or is named .png and is something else.
    """
    with _opened(path, kinds) as image:
        header = _header(image)
    if Path(path).suffix.lower() == ".png" and header.format != "PNG":
        raise UserError(f"{path}: is not a PNG file but {header.format}; rename or convert it")
    return header


def read_pixels(path: Path, kinds: Sequence[str] = PHOTO_KINDS) -> np.ndarray:
    """The values of one image file: (H, W, 3), (H, W, 4) or (H, W) uint8.

    Raises UserError as `check_image` does, and for a damaged file.
    """
    return np.array(read_image(path, kinds))


def read_rgb(path: Path) -> np.ndarray:
    """(H, W, 3) uint8; UserError if the file is not a whole 8-bit RGB image."""
    return read_pixels(path)


def read_labels(path: Path, classes: int, ignored: int = IGNORED) -> np.ndarray:
    """(H, W) uint8 class indices; UserError also for a value that is no class and not `ignored`."""
    labels = read_pixels(path, INDEX_KINDS)
    wrong = labels[(labels >= classes) & (labels != ignored)]
    if wrong.size:
        raise UserError(
            f"{path}: class {wrong.min()} is not one of the {classes} classes"
            f" (0 to {classes - 1}, {ignored} is ignored)"
        )
    return labels


def read_palette(path: Path) -> np.ndarray | None:
    """(N, 3) uint8, the colours of a palette file's indices from 0; None for any other image."""
    with _opened(path, LABEL_KINDS) as image:
        colours = image.getpalette("RGB") if image.mode == "P" else None
    return None if colours is None else np.array(colours, np.uint8).reshape(-1, 3)


def is_lossy(image_format: str) -> bool:
    """Whether files of that format (a `Header.format`) do not keep every pixel's value."""
    return image_format in _LOSSY or image_format.endswith("(lossy)")


def read_image(path: str | Path, kinds: Sequence[str] = PHOTO_KINDS) -> Image.Image:
    """One image file, decoded. Raises UserError as `read_pixels` does."""
    with _opened(path, kinds) as image:
        try:
            image.load()
            problem = _metadata_problem(image, kinds)  # PNG has metadata behind the pixels too
        except MemoryError:
            problem = "is too large for the memory that is free"
        except Exception as error:  # a decoder may raise anything on damaged bytes
            problem = f"is damaged or cut off: {_reason(error)}"
    if problem:
        raise UserError(f"{path}: {problem}")
    return image  # loaded, it outlives its file


def half_of(image: Image.Image, half: str | None, path: str) -> Image.Image:
    """The left or right half of a side-by-side image, or all of it; UserError for an odd width."""
    if half is None:
        return image
    _check_even(image, path)
    middle = image.width // 2
    left = 0 if half == "left" else middle
    return image.crop((left, 0, left + middle, image.height))


def check_pair(entry: DatasetEntry, pair: SourcePair) -> None:
    """Reads the headers of a pair: kind of file, dimensions, equal size of all sides."""
    sizes = {}
    for path, sides in _files(entry, pair).items():
        with _opened(path, _kinds(sides)) as image:
            sizes[path] = image.size
            if entry.layout == "side-by-side":
                _check_even(image, path)
    _check_sizes(entry, sizes)


def read_pair(entry: DatasetEntry, pair: SourcePair, size: tuple[int, int]) -> DecodedPair:
    """Decodes one pair to exactly (H, W): photos bilinear (antialiased), labels nearest.

    Raises UserError naming the file for anything that `check_pair` finds, a damaged file, an
    index or a colour of no class.
    """
    opened = {path: read_image(path, _kinds(sides)) for path, sides in _files(entry, pair).items()}
    _check_sizes(entry, {path: image.size for path, image in opened.items()})
    images, labels = {}, None
    shape = (size[1], size[0])
    for role, path in pair.files:
        side = entry.sides[role]
        half = side.half if entry.layout == "side-by-side" else None
        image = half_of(opened[path], half, path)
        if side.kind == "photo":
            image = image.convert("RGB") if image.mode == "L" else image
            images[role] = np.asarray(image.resize(shape, Image.Resampling.BILINEAR))
            continue
        if side.kind == "index":
            positions = from_indices(entry, path, np.asarray(image))
        else:
            lossy = is_lossy(_header(opened[path]).format)
            positions = from_colours(entry, side, path, np.asarray(image), lossy)
        nearest = Image.fromarray(positions).resize(shape, Image.Resampling.NEAREST)
        labels = np.asarray(nearest)
        painted = image.resize(shape, Image.Resampling.NEAREST)
        images[role] = np.asarray(painted) if side.kind == "palette" else paint(labels, entry)
    return DecodedPair(images, labels)


def paint(labels: np.ndarray, entry: DatasetEntry) -> np.ndarray:
    """Class positions (…, H, W) to colours (…, H, W, 3) uint8; ignored pixels are black."""
    colours = np.zeros((256, 3), np.uint8)
    for position, label in enumerate(entry.classes):
        colours[position] = label.colour
    return colours[labels]


def from_indices(entry: DatasetEntry, path: str, values: np.ndarray) -> np.ndarray:
    """(H, W) uint8 indices to (H, W) uint8 class positions, 255 ignored; UserError names `path`."""
    table = np.full(256, IGNORED if entry.ignore == "rest" else _NO_CLASS, np.uint8)
    for value in entry.ignore if entry.ignore != "rest" else ():
        if isinstance(value, int):
            table[value] = IGNORED
    for position, label in enumerate(entry.classes):
        table[label.index] = position
    positions = table[values]
    wrong = np.unique(values[positions == _NO_CLASS])
    if wrong.size:
        allowed = ", ".join(str(value) for value in np.flatnonzero(table != _NO_CLASS))
        shown = ", ".join(map(str, wrong[:5])) + (", …" if wrong.size > 5 else "")
        raise UserError(f"{path}: has the value {shown}, which no class has; allowed: {allowed}")
    return positions


def from_colours(
    entry: DatasetEntry, side: Side, path: str, image: np.ndarray, lossy: bool
) -> np.ndarray:
    """(H, W, 3) uint8 colours to (H, W) uint8 class positions, 255 ignored.

    Colours are exact in lossless files; in lossy files the nearest class within `side.tolerance`
    counts. Raises UserError for colours of no class.
    """
    known = [(label.colour, position) for position, label in enumerate(entry.classes)]
    if entry.ignore != "rest":
        known += [(value, IGNORED) for value in entry.ignore if not isinstance(value, int)]
    colours = np.array([colour for colour, _ in known], np.int32)
    table = np.array([position for _, position in known], np.uint8)
    reach = side.tolerance**2 if lossy else 0
    positions = np.empty(image.shape[:2], np.uint8)
    rows = max(1, STRIP // max(image.shape[1], 1))
    for top in range(0, image.shape[0], rows):
        # In strips: a large image may hold more colours than the memory can compare at once.
        strip = image[top : top + rows].astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
        values, inverse = np.unique(strip, return_inverse=True)
        seen = np.stack([values >> 16, values >> 8 & 255, values & 255], 1).astype(np.int32)
        squared = np.stack([((seen - colour) ** 2).sum(1) for colour in colours], 1)
        nearest = np.where(squared.min(1) > reach, _NO_CLASS, table[squared.argmin(1)])
        positions[top : top + rows] = nearest[inverse].reshape(strip.shape)
    unknown = positions == _NO_CLASS
    if entry.ignore != "rest" and unknown.mean() > (MAX_UNKNOWN if lossy else 0):
        found, counts = np.unique(image[unknown], axis=0, return_counts=True)
        raise UserError(
            f"{path}: {unknown.mean():.2%} of the label pixels have a colour of no class, mostly "
            f"{tuple(found[counts.argmax()].tolist())}; name it under classes or ignore of "
            f"{entry.name}"
        )
    positions[unknown] = IGNORED
    return positions


def _files(entry: DatasetEntry, pair: SourcePair) -> dict[str, list[Side]]:
    """The files of a pair, each with the sides that it holds."""
    files: dict[str, list[Side]] = {}
    for role, path in pair.files:
        files.setdefault(path, []).append(entry.sides[role])
    return files


def _check_sizes(entry: DatasetEntry, sizes: dict[str, tuple[int, int]]) -> None:
    if len(set(sizes.values())) > 1:
        shown = ", ".join(f"{path} is {w}×{h}" for path, (w, h) in sizes.items())
        raise UserError(f"{entry.name}: the sides of a pair must have one size: {shown}")


def _check_even(image: Image.Image, path: str) -> None:
    if image.width % 2:
        raise UserError(f"{path}: is {image.width} pixels wide; two halves need an even width")


def _kinds(sides: Sequence[Side]) -> tuple[str, ...]:
    """The kinds that a file of these sides may have."""
    if any(side.kind == "index" for side in sides):
        return INDEX_KINDS
    grey = all(side.grey and side.kind == "photo" for side in sides)
    return (*PHOTO_KINDS, "grey") if grey else PHOTO_KINDS


@contextmanager
def _opened(path: str | Path, kinds: Sequence[str]) -> Iterator[Image.Image]:
    """An image with its header checked, not yet decoded."""
    try:
        image = Image.open(path, formats=FORMATS)
    except Image.DecompressionBombError:
        raise UserError(f"{path}: has more than {MAX_PIXELS:,} pixels") from None
    except Exception as error:  # a decoder may raise anything on damaged bytes
        if isinstance(error, OSError) and error.errno:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from None
        raise UserError(f"{path}: is not an image that can be read") from None
    with image:
        try:
            problem = _kind_problem(image, kinds) or _metadata_problem(image, kinds)
        except Exception as error:  # EXIF and TIFF tags may be damaged too
            problem = f"is damaged: {_reason(error)}"
        if problem:
            raise UserError(f"{path}: {problem}")
        yield image


def _kind_problem(image: Image.Image, kinds: Sequence[str]) -> str | None:
    """Why an image of that size, kind or format is not read; None if it is."""
    (height, width), image_format, kind = _header(image)
    if width * height > MAX_PIXELS:
        return f"has {width}×{height} pixels; at most {MAX_PIXELS:,} are read"
    if image.format != "MPO" and getattr(image, "is_animated", False):
        return "holds several pictures; save the one that you mean as a file of its own"
    depth = _bit_depth(image)
    # The values of a palette image are its indices, whatever their number of bits.
    if kind not in kinds or (kind != "palette" and depth != 8):
        fix = _AS_RGB if kinds[0] == "RGB" else _AS_GREY
        shown = f"{depth}-bit {kind} (mode {image.mode})"
        return f"is {shown}; 8-bit {' or '.join(kinds)} is needed; {fix}"
    if kind in INDEX_KINDS and "palette" in kinds and is_lossy(image_format):
        return f"is {image_format}, which changes values; {_AS_GREY}"
    return None


def _metadata_problem(image: Image.Image, kinds: Sequence[str]) -> str | None:
    """Transparency and rotation, which a PNG may hold before and behind its pixels."""
    indices = "palette" in kinds and image.mode in ("L", "P")
    if "transparency" in image.info and not indices:
        return f"has a transparent colour (mode {image.mode}); {_AS_RGB}"
    # A rotation would turn one side of a pair and not the other. Asking a PNG may decode it.
    has_exif = image.format != "PNG" or "exif" in image.info
    if has_exif and image.getexif().get(_ORIENTATION, 1) not in (0, 1):
        return "is stored turned (EXIF orientation); save it upright: magick IN -auto-orient OUT"
    return None


def _header(image: Image.Image) -> Header:
    name = image.format or "unknown"
    if isinstance(image, TiffImageFile) and image.tag_v2.get(259, 1) not in _LOSSLESS_TIFF:
        name += " (lossy)"
    kind = _KINDS.get(image.mode.partition(";")[0], image.mode)  # "I;16" is one of several
    return Header((image.height, image.width), name, kind)


def _bit_depth(image: Image.Image) -> int:
    """Bits per channel, from the file: Pillow's mode hides 16-bit RGB and scales 4-bit grey."""
    if isinstance(image, PngImageFile):
        assert image.fp is not None
        place = image.fp.tell()  # where the decoder goes on
        image.fp.seek(24)
        depth = image.fp.read(1)[0]
        image.fp.seek(place)
        return depth
    if isinstance(image, TiffImageFile):
        return max(image.tag_v2.get(258, (8,)))
    return {"1": 1, "I": 32, "F": 32}.get(image.mode, 16 if "16" in image.mode else 8)


def _reason(error: Exception) -> str:
    """An exception's text in one line, without the path that the message has already."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return " ".join(text.split())[:200] or type(error).__name__
