"""One pair of image files to uint8 arrays, refusing whatever would be read wrongly.

Photos: 8-bit RGB. Index maps: 8-bit one-channel or palette PNG, whose values are class indices.
Painted labels: 8-bit RGB, read back by colour. PIL opens far more than that, some of it wrongly
for this use (16-bit RGB is cut to 8, 4-bit grey values are multiplied by 17), so that the kind of
file is checked first.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pix2pix.common.errors import UserError
from pix2pix.data.label_positions import from_colours, from_indices
from pix2pix.data.layouts import SourcePair
from pix2pix.data.registry import DatasetEntry, Side

MAX_PIXELS = 64_000_000
"""Width × height of one file, known from its header before anything is decoded: a small file can
claim any size and fill the memory. Threads share the bound: together they decode no more."""

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")  # JPEG's reader opens MPO
"""PIL knows many more by their content, whatever the file's name; EPS would run Ghostscript."""

_LOSSY = ("JPEG", "WEBP", "MPO")
_AS_RGB = "convert it: magick IN -alpha remove -depth 8 -type TrueColor PNG24:OUT.png"
_AS_INDEX = "save it as an 8-bit one-channel PNG whose values are the class indices"

# MAX_PIXELS is the stricter bound and gives one clear line; PIL's warning would be a second.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# Of damaged tags and chunks, which are refused where they matter.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


@dataclass(frozen=True)
class DecodedPair:
    images: dict[str, np.ndarray]
    """(H, W, 3) uint8 by role; labels as painted."""
    labels: np.ndarray | None
    """(H, W) uint8 class positions, 255 ignored."""


def paint(labels: np.ndarray, entry: DatasetEntry) -> np.ndarray:
    """Class positions (…, H, W) to colours (…, H, W, 3) uint8; ignored pixels are black."""
    colours = np.zeros((256, 3), np.uint8)
    for position, one in enumerate(entry.classes):
        colours[position] = one.colour
    return colours[labels]


def check_pair(entry: DatasetEntry, pair: SourcePair) -> None:
    """Opens the headers only: kind of file, dimensions, equal size on all sides."""
    sizes = {}
    for role, path in pair.files if entry.layout != "side-by-side" else pair.files[:1]:
        with _opened(path, _sides_in(entry, role)) as image:
            sizes[role] = image.size
    _check_sizes(entry, pair, sizes)


def read_image(path: str, side: Side) -> Image.Image:
    """One photo file on its own, as RGB (as grey where `side.grey` allows and the file is).

    Raises UserError naming the file, as `read_pair` does. `side.half` is checked, not cut.
    """
    with _opened(path, [side]) as image:
        return _decoded(path, image).copy()


def image_size(path: str, side: Side) -> tuple[int, int]:
    """(H, W) from the header; UserError as `check_pair`."""
    with _opened(path, [side]) as image:
        return image.height, image.width


def read_pair(entry: DatasetEntry, pair: SourcePair, size: tuple[int, int]) -> DecodedPair:
    """Decodes one pair to exactly (H, W): photos bilinear (antialiased), labels nearest.

    Raises UserError naming the file for anything that `check_pair` finds, a damaged file, an
    index or a colour of no class.
    """
    first, path = pair.files[0]
    with _opened(path, _sides_in(entry, first)) as image:
        pixels = image.width * image.height
    with _MEMORY.of(pixels):
        return _read_pair(entry, pair, size)


class _SharedPixels:
    """Lets threads decode as many pixels at once as one image may have."""

    def __init__(self, most: int) -> None:
        self._free = self._most = most
        self._changed = threading.Condition()

    @contextmanager
    def of(self, pixels: int) -> Iterator[None]:
        """Waits until there is room for an image of so many pixels."""
        taken = min(pixels, self._most)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= taken)
            self._free -= taken
        try:
            yield
        finally:
            with self._changed:
                self._free += taken
                self._changed.notify_all()


_MEMORY = _SharedPixels(MAX_PIXELS)


def _read_pair(entry: DatasetEntry, pair: SourcePair, size: tuple[int, int]) -> DecodedPair:
    full: dict[str, Image.Image] = {}
    formats: dict[str, str] = {}
    for role, path in pair.files:
        side = entry.sides[role]
        if entry.layout == "side-by-side" and full:
            continue  # both halves are in the one file
        with _opened(path, _sides_in(entry, role)) as image:
            formats[role] = image.format or ""
            _decoded(path, image)
            # Loaded, it outlives its file; a copy would take as much memory again.
            full[role] = image.convert("RGB") if image.mode == "L" and side.grey else image
    if entry.layout == "side-by-side":
        full, formats = _cut(entry, full, formats)
    _check_sizes(entry, pair, {role: image.size for role, image in full.items()})
    images, labels = {}, None
    shape = (size[1], size[0])
    for role, path in pair.files:
        side, image = entry.sides[role], full[role]
        if side.kind == "photo":
            images[role] = np.asarray(image.resize(shape, Image.Resampling.BILINEAR))
            continue
        if side.kind == "index":
            positions = from_indices(entry, path, np.asarray(image))
        else:
            lossy = formats[role] in _LOSSY
            positions = from_colours(entry, side, path, np.asarray(image), lossy)
        nearest = Image.fromarray(positions).resize(shape, Image.Resampling.NEAREST)
        labels = np.asarray(nearest)
        painted = image.resize(shape, Image.Resampling.NEAREST)
        images[role] = np.asarray(painted) if side.kind == "palette" else paint(labels, entry)
    return DecodedPair(images, labels)


def _sides_in(entry: DatasetEntry, role: str) -> list[Side]:
    """The sides that the file of a role holds."""
    return [*entry.sides.values()] if entry.layout == "side-by-side" else [entry.sides[role]]


@contextmanager
def _opened(path: str, sides: list[Side]) -> Iterator[Image.Image]:
    """The image with its header checked, not yet decoded."""
    try:
        image = Image.open(path, formats=FORMATS)
    except Image.DecompressionBombError:
        raise UserError(f"{path}: has more than {MAX_PIXELS:,} pixels") from None
    except Image.UnidentifiedImageError:
        raise UserError(f"{path}: is not an image that can be read") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {_said(error)}") from None
    except Exception as error:  # a decoder may raise anything on damaged bytes
        raise UserError(f"{path}: is not an image that can be read: {_said(error)}") from None
    with image:
        try:
            problem = _problem(image, sides)
        except Exception as error:  # EXIF and TIFF tags may be damaged too
            problem = f"is damaged: {_said(error)}"
        if problem:
            raise UserError(f"{path}: {problem}")
        yield image


def _decoded(path: str, image: Image.Image) -> Image.Image:
    try:
        image.load()
    except Exception as error:  # a decoder may raise anything on damaged bytes
        raise UserError(f"{path}: is damaged or cut off: {_said(error)}") from None
    return image


def _problem(image: Image.Image, sides: list[Side]) -> str | None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        return f"has {width}×{height} pixels; at most {MAX_PIXELS:,} are read"
    if image.format != "MPO" and getattr(image, "is_animated", False):
        return "holds several pictures; save the one that is meant as a file of its own"
    depth = _bit_depth(image)
    if any(side.kind == "index" for side in sides):
        if image.format in _LOSSY:
            return f"is {image.format}, which changes values; {_AS_INDEX}"
        # A palette image's values are its indices, whatever their number of bits.
        if image.mode != "P" and (image.mode != "L" or depth != 8):
            return f"is {_kind(image, depth)}, not an index map; {_AS_INDEX}"
        return None
    grey = all(side.grey for side in sides)
    if image.mode == "L" and grey and depth == 8 and "transparency" not in image.info:
        return _turned(image)
    if image.mode != "RGB" or depth != 8 or "transparency" in image.info:
        permitted = "8-bit RGB or grey" if grey else "8-bit RGB"
        return f"is {_kind(image, depth)}; {permitted} is needed; {_AS_RGB}"
    if sides[0].half and width % 2:
        return f"is {width} pixels wide; two halves need an even width"
    return _turned(image)


def _turned(image: Image.Image) -> str | None:
    """A rotation in the EXIF data would turn one side of the pair and not the other."""
    if "exif" in image.info and image.getexif().get(0x0112, 1) not in (0, 1):
        return "is stored turned (EXIF orientation); save it upright: magick IN -auto-orient OUT"
    return None


def _bit_depth(image: Image.Image) -> int:
    """Bits a channel, from the file: PIL's mode hides 16-bit RGB and scales 4-bit grey."""
    if image.format == "PNG":
        place = image.fp.tell()  # where the decoder goes on
        image.fp.seek(24)
        depth = image.fp.read(1)[0]
        image.fp.seek(place)
        return depth
    if image.format == "TIFF":
        return max(image.tag_v2.get(258, (8,)))
    return {"1": 1, "I": 32, "F": 32}.get(image.mode, 16 if "16" in image.mode else 8)


def _said(error: Exception) -> str:
    """An exception's own words in one line, without the path that stands there already."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return " ".join(text.split())[:200] or type(error).__name__


def _kind(image: Image.Image, depth: int) -> str:
    names = {"1": "black and white", "L": f"{depth}-bit grey", "P": "a palette image"}
    other = "grey" if image.mode[0] in "IFL" else image.mode
    alpha = image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info
    name = names.get(image.mode, f"{depth}-bit {other}")
    return f"{name}{' with alpha' if alpha else ''} (mode {image.mode})"


def _check_sizes(entry: DatasetEntry, pair: SourcePair, sizes: dict[str, tuple[int, int]]) -> None:
    if len(set(sizes.values())) > 1:
        paths = dict(pair.files)
        shown = ", ".join(f"{paths[role]} is {w}×{h}" for role, (w, h) in sizes.items())
        raise UserError(f"{entry.name}: the sides of a pair must have one size: {shown}")


def _cut(
    entry: DatasetEntry, full: dict[str, Image.Image], formats: dict[str, str]
) -> tuple[dict[str, Image.Image], dict[str, str]]:
    ((first, image),) = full.items()
    middle, height = image.width // 2, image.height
    boxes = {"left": (0, 0, middle, height), "right": (middle, 0, 2 * middle, height)}
    halves = {role: image.crop(boxes[side.half or ""]) for role, side in entry.sides.items()}
    return halves, dict.fromkeys(entry.sides, formats[first])
