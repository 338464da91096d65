"""Image files to uint8 arrays, for training, translating and scoring alike.

The bytes of a file decide what it is, never its name. What holds 8-bit values in another form is
read as what it is: palettes, grey, an opaque alpha channel, 16 bits of which every value is an
8-bit one times 257, photos with a colour profile other than sRGB. What would lose something is
refused: Pillow opens far more, some of it wrongly for this use (16-bit RGB is cut to 8 bits, 4-bit
grey values are multiplied by 17), so the kind of file is checked by its header first. Pixels are
integers therefore: a floating-point image, which could hold NaN, is refused.

Photos are RGB in sRGB's colours. Index maps are lossless files of one value per pixel, the class's
index. Painted label maps are read by the classes' colours.
"""

from __future__ import annotations

import functools
import io
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image, ImageChops, ImageCms
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
Reading = Literal["photo", "grey", "index", "labels"]
"""As what a file is read: photo, to RGB; grey, to one channel; index, to one channel of class
indices; labels, to indices (grey or palette) or to colours (RGB)."""
DARK = 64
"""A grey photo of several values, all below it, is more likely an index map."""
MAX_UNKNOWN = 0.25
"""Share of a JPEG label map's pixels that may be far from every class colour: edges are smeared."""
STRIP = 1 << 18
"""Label pixels whose colours are compared at once."""

PROFILE_ERROR = 2
"""Levels by which an sRGB profile's colours may differ from sRGB as rounded by the library."""

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
_MANY = (1, 2, 4, 8, 16)
# Not grey of 1, 2 and 4 bits: its values are indices to some programs, and shades to others.
_LABEL_DEPTHS: dict[str, Sequence[int]] = {
    "RGB": (8, 16),
    "RGB with alpha": (8, 16),
    "grey": (8, 16),
    "grey with alpha": (8,),
    "palette": _MANY,
}
_DEPTHS: dict[Reading, dict[str, Sequence[int]]] = {
    "photo": {
        "RGB": (8, 16),
        "RGB with alpha": (8, 16),
        "grey": _MANY,
        "grey with alpha": (8,),
        "black and white": (1,),
        "palette": _MANY,
    },
    "grey": {"grey": _MANY, "grey with alpha": (8,), "black and white": (1,)},
    "index": _LABEL_DEPTHS,
    "labels": _LABEL_DEPTHS,
}
"""Bits per channel by kind; of a palette, bits of its indices. 16 bits, alpha: see `_plain`."""
_NEEDED: dict[Reading, str] = {
    "photo": "8-bit RGB",
    "grey": "8-bit grey",
    "index": "8-bit grey or palette",
    "labels": "8-bit grey, palette or RGB",
}
_ORIENTATION = 0x0112
_ORIENTED = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")
NO_CLASS = 254
"""In tables of class positions: a value of no class, which is an error."""
_BLACK = (0, 0, 0)
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
    read_as: str = ""
    """How a file is read that is no plain 8-bit file of its kind, in words; else empty."""


@dataclass(frozen=True)
class DecodedPair:
    """The arrays of one pair at the size of the training."""

    images: dict[str, np.ndarray]
    """(H, W, 3) uint8 by role; labels as painted."""
    labels: np.ndarray | None
    """(H, W) uint8 class positions, 255 ignored."""
    shown: tuple[int, int]
    """(h, w) of the top left part that is no padding; (H, W) where images are resized."""


def check_image(path: str | Path, reading: Reading = "photo") -> Header:
    """The header of one image file. Only files that are no plain 8-bit ones are decoded for it.

    Raises UserError: the file is unreadable, too large, stored turned, holds several pictures, or
    cannot be read as `reading` without loss.
    """
    with _opened(path, reading) as image:
        header = _header(image, reading)
    if header.read_as:
        read_image(path, reading)
    return header


def read_pixels(path: str | Path, reading: Reading = "photo") -> np.ndarray:
    """The values of one image file: (H, W, 3) or (H, W) uint8.

    Raises UserError as `check_image` does, and for a damaged file.
    """
    return np.array(read_image(path, reading))


def read_rgb(path: str | Path) -> np.ndarray:
    """(H, W, 3) uint8 in sRGB; UserError if the file is not a whole image of 8 bits per channel."""
    return read_pixels(path)


def read_labels(path: Path, classes: int, ignored: int = IGNORED) -> np.ndarray:
    """(H, W) uint8 class indices; UserError also for a value that is no class and not `ignored`."""
    labels = read_pixels(path, "index")
    wrong = labels[(labels >= classes) & (labels != ignored)]
    if wrong.size:
        raise UserError(
            f"{path}: class {wrong.min()} is not one of the {classes} classes"
            f" (0 to {classes - 1}, {ignored} is ignored)"
        )
    return labels


def is_lossy(image_format: str) -> bool:
    """Whether files of that format (a `Header.format`) do not keep every pixel's value."""
    return image_format in _LOSSY or image_format.endswith("(lossy)")


def read_image(path: str | Path, reading: Reading = "photo", dark: bool = False) -> Image.Image:
    """One image file, decoded: RGB for photos, L for grey; L, P or RGB for labels.

    Args:
        dark: a grey photo may be as dark as an index map.

    Raises:
        UserError: as `read_pixels`.
    """
    image, _ = _decoded(path, reading, dark)
    return to_srgb(image) if reading == "photo" else image


def to_srgb(image: Image.Image) -> Image.Image:
    """An RGB photo in sRGB's colours; as it is if it names no other profile that can be read."""
    profile = image.info.get("icc_profile")
    transform = _transform(profile) if profile else None
    return image if transform is None else transform.apply(image)


def half_of(image: Image.Image, half: str | None, path: str) -> Image.Image:
    """The left or right half of a side-by-side image, or all of it; UserError for an odd width."""
    if half is None:
        return image
    _check_even(image, path)
    middle = image.width // 2
    left = 0 if half == "left" else middle
    return image.crop((left, 0, left + middle, image.height))


def check_pair(entry: DatasetEntry, pair: SourcePair) -> dict[str, str]:
    """Reads the headers of a pair: kind of file, dimensions, equal size of all sides.

    Returns {path: how it is read} of the files that are no plain 8-bit ones; these are decoded.
    """
    sizes, read_as = {}, {}
    for path, sides in _files(entry, pair).items():
        reading, dark = _reading(sides)
        with _opened(path, reading) as image:
            sizes[path] = image.size
            if entry.layout == "side-by-side":
                _check_even(image, path)
            header = _header(image, reading)
        text = header.read_as
        plain_grey = dark and header.kind == "grey" and text.startswith("8-bit")
        if text and not plain_grey:
            _decoded(path, reading, dark)
            read_as[path] = text
    _check_sizes(entry, sizes)
    return read_as


def read_pair(entry: DatasetEntry, pair: SourcePair, size: tuple[int, int]) -> DecodedPair:
    """Decodes one pair to exactly (H, W): photos bilinear (antialiased), labels nearest; or padded
    by mirror images whose labels are ignored, if the entry has `fit: pad`.

    Raises UserError naming the file for anything that `check_pair` finds, a damaged file, an
    index or a colour of no class.
    """
    opened = {path: _decoded(path, *_reading(sides)) for path, sides in _files(entry, pair).items()}
    _check_sizes(entry, {path: image.size for path, (image, _) in opened.items()})
    images, labels = {}, None
    shape = (size[1], size[0])
    padded = entry.fit == "pad"
    for role, path in pair.files:
        side = entry.sides[role]
        image, header = opened[path]
        image = half_of(image, side.half if entry.layout == "side-by-side" else None, path)
        shape = image.size if padded else shape
        if side.kind == "photo":
            resized = to_srgb(image).resize(shape, Image.Resampling.BILINEAR)
            images[role] = np.asarray(resized)
            continue
        positions = class_positions(entry, path, image, header.format, index_table(entry))
        nearest = Image.fromarray(positions).resize(shape, Image.Resampling.NEAREST)
        labels = np.asarray(nearest)
        if side.kind == "palette":
            painted = _rgb(image).resize(shape, Image.Resampling.NEAREST)
            images[role] = np.asarray(painted)
        else:
            images[role] = paint(labels, entry)
    shown = (shape[1], shape[0])
    if padded:
        rows, columns = size[0] - shown[0], size[1] - shown[1]
        if rows < 0 or columns < 0:
            raise UserError(
                f"{path}: is {shown[1]}×{shown[0]}, larger than {size[1]}×{size[0]}; with fit: pad"
                f" give --set size=HEIGHTxWIDTH of at least {shown[0]}x{shown[1]}"
            )
        around = ((0, rows), (0, columns))
        images = {
            role: np.pad(image, (*around, (0, 0)), mode="reflect") for role, image in images.items()
        }
        labels = None if labels is None else np.pad(labels, around, constant_values=IGNORED)
    return DecodedPair(images, labels, shown)


def values_of_no_class(entry: DatasetEntry, pair: SourcePair) -> Counter[str]:
    """How many pixels of a pair's label map are ignored, by their value or colour in words."""
    role = entry.label_role or ""
    path, side = dict(pair.files)[role], entry.sides[role]
    image, header = _decoded(path, *_reading(_files(entry, pair)[path]))
    image = half_of(image, side.half if entry.layout == "side-by-side" else None, path)
    table = index_table(entry)
    ignored = class_positions(entry, path, image, header.format, table) == IGNORED
    if table is None or (image.mode == "P" and paints(entry, image, table)):
        image = _rgb(image)
    found, counts = np.unique(np.asarray(image)[ignored], axis=0, return_counts=True)
    return Counter(
        {
            str(tuple(value)) if isinstance(value, list) else str(value): count
            for value, count in zip(found.tolist(), counts.tolist(), strict=True)
        }
    )


def paint(labels: np.ndarray, entry: DatasetEntry) -> np.ndarray:
    """Class positions (…, H, W) to colours (…, H, W, 3) uint8; ignored pixels are black."""
    colours = np.zeros((256, 3), np.uint8)
    for position, label in enumerate(entry.classes):
        colours[position] = label.colour
    return colours[labels]


def index_table(entry: DatasetEntry) -> np.ndarray | None:
    """(256,) uint8: value in the data set's own index maps to class position, 255 if ignored, 254
    if no class has it; None if its labels are painted."""
    if entry.label_role is None or entry.sides[entry.label_role].kind == "palette":
        return None
    table = np.full(256, IGNORED if entry.ignore == "rest" else NO_CLASS, np.uint8)
    for value in entry.ignore if entry.ignore != "rest" else ():
        if isinstance(value, int):
            table[value] = IGNORED
    for position, label in enumerate(entry.classes):
        table[label.index] = position
    return table


def class_positions(
    entry: DatasetEntry,
    path: str | Path,
    image: Image.Image,
    image_format: str,
    table: np.ndarray | None,
) -> np.ndarray:
    """(H, W) uint8 class positions, 255 ignored, of a label map; UserError names `path`.

    Args:
        image: L, P or RGB, of a file read as "labels".
        image_format: a `Header.format`.
        table: of `index_table`; None: the colours count, also those of one channel.
    """
    if image.mode == "P":
        return _from_palette(entry, path, image, table)
    if image.mode == "L" and table is not None:
        return from_indices(path, np.asarray(image), table)
    pixels = np.asarray(_rgb(image))
    lossy = is_lossy(image_format)
    if table is not None and (values := _one_channel(pixels)) is not None:
        if lossy:
            raise UserError(f"{path}: is {image_format}, which changes values; {_AS_GREY}")
        return _from_one_channel(entry, path, pixels, values, table)
    # Index maps that a program has painted are black where no class is.
    return from_colours(with_black(entry) if table is not None else entry, path, pixels, lossy)


def from_indices(path: str | Path, values: np.ndarray, table: np.ndarray) -> np.ndarray:
    """(H, W) uint8 indices to (H, W) uint8 class positions, 255 ignored; UserError names `path`."""
    positions = table[values]
    wrong = np.unique(values[positions == NO_CLASS])
    if wrong.size:
        allowed = ", ".join(str(value) for value in np.flatnonzero(table != NO_CLASS))
        shown = ", ".join(map(str, wrong[:5])) + (", …" if wrong.size > 5 else "")
        raise UserError(f"{path}: has the value {shown}, which no class has; allowed: {allowed}")
    return positions


def paints(entry: DatasetEntry, image: Image.Image, table: np.ndarray | None) -> bool:
    """Whether a label map, L, P or RGB, is read by its colours.

    A palette of an index map is for display unless it has colours of classes, and the indices
    count where both say the same. Black fills palettes, and greys show the indices themselves.
    """
    if table is None:
        return True
    if image.mode == "RGB":
        return _one_channel(np.asarray(image)) is None
    if image.mode == "L":
        return False
    known = _colour_positions(entry)
    used = {index for _, index in image.getcolors(256) or ()}
    return any(
        known[colour] != table[index] and (index in used or table[index] < NO_CLASS)
        for index, colour in enumerate(_palette(image))
        if colour in known and colour not in ((index,) * 3, _BLACK)
    )


def is_display(image: Image.Image) -> bool:
    """Whether a palette shows no more than indices: greys of their values, filled with black."""
    return all({*colour} in ({i}, {0}) for i, colour in enumerate(_palette(image)))


def _palette(image: Image.Image) -> list[tuple[int, int, int]]:
    """The colours of a palette image's indices from 0."""
    flat = image.getpalette("RGB") or []
    return [(r, g, b) for r, g, b in zip(flat[::3], flat[1::3], flat[2::3], strict=False)]


def _colour_positions(entry: DatasetEntry) -> dict[tuple[int, int, int], int]:
    """Class position by colour."""
    return {label.colour: position for position, label in enumerate(entry.classes)}


def _from_palette(
    entry: DatasetEntry, path: str | Path, image: Image.Image, table: np.ndarray | None
) -> np.ndarray:
    """By index, or by colour: see `paints`. Colours of no class are never ignored as `rest`,
    because the palette may be for display; black is, unless a class is black."""
    if table is not None and not paints(entry, image, table):
        return from_indices(path, np.asarray(image), table)
    named = entry
    if entry.ignore == "rest" or table is not None:
        ignored = () if entry.ignore == "rest" else entry.ignore
        named = with_black(entry.model_copy(update={"ignore": ignored}))
    try:
        return from_colours(named, path, np.asarray(_rgb(image)), False)
    except UserError as error:
        if table is None:
            raise
        raise UserError(f"{error}, or save the file as grey to have its indices read") from None


def _rgb(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGB" else image.convert("RGB")


def _one_channel(pixels: np.ndarray) -> np.ndarray | None:
    """(H, W) values of (H, W, 3) pixels that hold no more: greys, or red alone as CARLA writes;
    None for other pixels."""
    red, rest = pixels[..., 0], pixels[..., 1:]
    return red if (rest == red[..., None]).all() or not rest.any() else None


def _from_one_channel(
    entry: DatasetEntry,
    path: str | Path,
    pixels: np.ndarray,
    values: np.ndarray,
    table: np.ndarray,
) -> np.ndarray:
    """RGB of one channel is an index map, unless its colours are those of classes."""
    used, first = np.unique(values, return_index=True)
    colours = [(r, g, b) for r, g, b in pixels.reshape(-1, 3)[first].tolist()]
    known = _colour_positions(entry)
    if entry.ignore != "rest":
        known |= {c: IGNORED for c in entry.ignore if not isinstance(c, int) and c != _BLACK}
    by_colour = np.array([known.get(colour, NO_CLASS) for colour in colours])
    by_index = table[used]
    if entry.ignore == "rest":  # every value is allowed: only those of classes tell
        by_index = np.where(by_index == IGNORED, NO_CLASS, by_index)
    painted, indexed = by_colour != NO_CLASS, by_index != NO_CLASS
    # Black is where no class is, if no class is black.
    all_painted = painted.any() and (painted | (used == 0)).all()
    if not indexed.all() and (all_painted or (painted.any() and not indexed.any())):
        return from_colours(with_black(entry), path, pixels, False)
    if (painted & indexed & (by_colour != by_index)).any():
        raise UserError(
            f"{path}: its values are indices of classes and its colours those of others; save the"
            " indices as an 8-bit one-channel PNG, or give the classes other colours"
        )
    return from_indices(path, values, table)


def with_black(entry: DatasetEntry) -> DatasetEntry:
    """The entry for painted maps: black is ignored, unless it is the colour of a class."""
    if _BLACK in _colour_positions(entry) or entry.ignore == "rest":
        return entry
    return entry.model_copy(update={"ignore": (*entry.ignore, _BLACK)})


def from_colours(
    entry: DatasetEntry, path: str | Path, image: np.ndarray, lossy: bool
) -> np.ndarray:
    """(H, W, 3) uint8 colours to (H, W) uint8 class positions, 255 ignored.

    Colours are exact in lossless files; in lossy files the nearest class within the tolerance of
    the entry's label side counts. Raises UserError for colours of no class.
    """
    known = [(label.colour, position) for position, label in enumerate(entry.classes)]
    if entry.ignore != "rest":
        known += [(value, IGNORED) for value in entry.ignore if not isinstance(value, int)]
    colours = np.array([colour for colour, _ in known], np.int32)
    table = np.array([position for _, position in known], np.uint8)
    reach = entry.sides[entry.label_role or ""].tolerance ** 2 if lossy else 0
    positions = np.empty(image.shape[:2], np.uint8)
    rows = max(1, STRIP // max(image.shape[1], 1))
    for top in range(0, image.shape[0], rows):
        # In strips: a large image may hold more colours than the memory can compare at once.
        strip = image[top : top + rows].astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
        values, inverse = np.unique(strip, return_inverse=True)
        seen = np.stack([values >> 16, values >> 8 & 255, values & 255], 1).astype(np.int32)
        squared = np.stack([((seen - colour) ** 2).sum(1) for colour in colours], 1)
        nearest = np.where(squared.min(1) > reach, NO_CLASS, table[squared.argmin(1)])
        positions[top : top + rows] = nearest[inverse].reshape(strip.shape)
    unknown = positions == NO_CLASS
    if entry.ignore != "rest" and unknown.mean() > (MAX_UNKNOWN if lossy else 0):
        top = int(unknown.any(axis=1).argmax())  # a strip is enough to name one, and sooner sorted
        part = slice(top, top + rows)
        found, counts = np.unique(image[part][unknown[part]], axis=0, return_counts=True)
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


def _reading(sides: Sequence[Side]) -> tuple[Reading, bool]:
    """As what a file of these sides is read, and whether it may be a dark grey photo."""
    if all(side.kind != "photo" for side in sides):
        return "labels", False
    return "photo", all(side.grey or side.kind != "photo" for side in sides)


@contextmanager
def _opened(path: str | Path, reading: Reading) -> Iterator[Image.Image]:
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
            problem = _kind_problem(image, reading) or _orientation_problem(image)
        except Exception as error:  # EXIF and TIFF tags may be damaged too
            problem = f"is damaged: {_reason(error)}"
        if problem:
            raise UserError(f"{path}: {problem}")
        yield image


def _decoded(path: str | Path, reading: Reading, dark: bool) -> tuple[Image.Image, Header]:
    """One image file in the plain form of its reading, without `to_srgb`; UserError."""
    with _opened(path, reading) as image:
        header = _header(image, reading)
        depth = _bit_depth(image)
        try:
            image.load()
            # A PNG has metadata behind its pixels too.
            problem = _orientation_problem(image)
            if not problem and (header.read_as or "transparency" in image.info):
                image, problem = _plain(path, image, depth, reading, dark)
        except MemoryError:
            problem = "is too large for the memory that is free"
        except Exception as error:  # a decoder may raise anything on damaged bytes
            problem = f"is damaged or cut off: {_reason(error)}"
    if problem:
        raise UserError(f"{path}: {problem}")
    return image, header  # loaded, it outlives its file


def _plain(
    path: str | Path, image: Image.Image, depth: int, reading: Reading, dark: bool
) -> tuple[Image.Image, str]:
    """A decoded image with 8 bits and no alpha channel, or why it cannot have them."""
    labels = reading in ("labels", "index")
    colours = reading == "photo" or (labels and image.mode.startswith("RGB"))
    fix = _AS_RGB if colours else _AS_GREY
    shown = f"{depth}-bit (mode {image.mode})"
    if depth == 16 and image.mode != "P":
        if image.mode.startswith("I"):
            values = np.asarray(image)
            if (values % 257 == 0).all():
                image = Image.fromarray((values // 257).astype(np.uint8))
            elif labels and values.min() >= 0 and values.max() < 256:
                image = Image.fromarray(values.astype(np.uint8))
            else:
                return image, f"is {shown}, and its values are not 8-bit ones times 257; {fix}"
        elif ImageChops.difference(image, _low_bytes(path)).getbbox(alpha_only=False):
            return image, f"is {shown}, and its values are not 8-bit ones times 257; {fix}"
    indices = labels and image.mode in ("L", "P")
    if image.mode in ("LA", "RGBA") or ("transparency" in image.info and not indices):
        if (np.asarray(image.convert("RGBA").getchannel("A")) < 255).any():
            return image, f"has transparent pixels (mode {image.mode}); {fix}"
        image.info.pop("transparency", None)
        image = image.convert("L" if image.mode in ("L", "LA", "1") else "RGB")
    if image.mode == "1" or reading == "grey":
        image = image.convert("L")
    if reading == "photo" and image.mode == "L" and not dark:
        values = np.asarray(image)
        lowest, highest = int(values.min()), int(values.max())
        if lowest < highest < DARK:
            return image, (
                f"is grey with values from {lowest} to {highest} only, like an index map; if it is"
                " a photo, save it as RGB or write grey: true in the data set's entry"
            )
    if reading == "index" and image.mode == "RGB":
        values = np.asarray(image)
        if (values != values[..., :1]).any():
            return image, f"is RGB with colours; {_NEEDED[reading]} is needed; {fix}"
        image = image.getchannel(0)
    if reading == "photo" and image.mode != "RGB":
        image = image.convert("RGB")
    return image, ""


def _low_bytes(path: str | Path) -> Image.Image:
    """The lower 8 bits of a 16-bit PNG of 3 or 4 channels, of which Pillow gives the upper ones."""
    with Image.open(path, formats=("PNG",)) as image:
        (tile,) = image.tile
        image.tile = [tile._replace(args=str(tile.args).replace("16B", "16L"))]
        image.load()
        return image


@functools.lru_cache(maxsize=16)
def _transform(profile: bytes) -> ImageCms.ImageCmsTransform | None:
    """From an RGB profile to sRGB; None if they are the same, or if it is damaged or for others."""
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        transform = ImageCms.ImageCmsTransform(
            given, ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")), "RGB", "RGB", intent
        )
    except Exception:  # of the library, for whatever it does not read
        return None
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
    converted = np.asarray(transform.apply(Image.fromarray(colours)))
    same = np.abs(converted.astype(int) - colours).max() <= PROFILE_ERROR
    return None if same else transform


def _kind_problem(image: Image.Image, reading: Reading) -> str | None:
    """Why an image of that size, kind or format is not read; None if it may be."""
    (height, width), image_format, kind, _ = _header(image, reading)
    if width * height > MAX_PIXELS:
        return f"has {width}×{height} pixels; at most {MAX_PIXELS:,} are read"
    if image.format != "MPO" and getattr(image, "is_animated", False):
        return "holds several pictures; save the one that you mean as a file of its own"
    depth = _bit_depth(image)
    # Pillow drops half of 16-bit colours; only of these PNG files the other half can be had.
    cut = depth == 16 and kind.startswith("RGB")
    if cut and isinstance(image, PngImageFile):
        cut = image.tile[0].args not in ("RGB;16B", "RGBA;16B")
    if depth not in _DEPTHS[reading].get(kind, ()) or cut:
        fix = _AS_RGB if reading == "photo" else _AS_GREY
        shown = f"{depth}-bit {kind} (mode {image.mode})"
        return f"is {shown}; {_NEEDED[reading]} is needed; {fix}"
    index_map = reading == "index" or (reading == "labels" and not kind.startswith("RGB"))
    if index_map and is_lossy(image_format):
        return f"is {image_format}, which changes values; {_AS_GREY}"
    return None


def _orientation_problem(image: Image.Image) -> str | None:
    """A rotation would turn one side of a pair and not the other."""
    # Asking a PNG without these may decode it.
    tagged = image.format != "PNG" or any(key in image.info for key in _ORIENTED)
    if tagged and image.getexif().get(_ORIENTATION, 1) not in (0, 1):
        return "is stored turned (EXIF orientation); save it upright: magick IN -auto-orient OUT"
    return None


def _header(image: Image.Image, reading: Reading) -> Header:
    name = image.format or "unknown"
    if isinstance(image, TiffImageFile) and image.tag_v2.get(259, 1) not in _LOSSLESS_TIFF:
        name += " (lossy)"
    kind = _KINDS.get(image.mode.partition(";")[0], image.mode)  # "I;16" is one of several
    return Header((image.height, image.width), name, kind, _read_as(image, kind, reading))


def _read_as(image: Image.Image, kind: str, reading: Reading) -> str:
    """How a file is read that is no plain 8-bit file of its kind, in words; else empty."""
    target = {"photo": "RGB", "grey": "grey"}.get(reading, kind.removesuffix(" with alpha"))
    if reading == "index" and target == "RGB":
        target = "grey"
    depth = _bit_depth(image)
    coloured = reading == "photo" and kind.startswith(("RGB", "palette"))
    profile = image.info.get("icc_profile") if coloured else None
    converted = bool(profile) and _transform(profile) is not None
    if kind == target and (depth == 8 or kind == "palette") and not converted:
        return ""
    if kind == "palette" or (kind == "RGB" and depth == 8):
        text = f"{kind}, read as {target}" if kind != target else kind
    else:
        text = f"{depth}-bit {kind}, read as 8-bit {target} (without loss)"
    return text + (", another colour profile converted to sRGB" if converted else "")


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
