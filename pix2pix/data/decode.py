"""Image files to uint8 arrays, for training, translating and scoring alike.

The bytes of a file decide what it is, never its name. What holds 8-bit values in another form is
read as what it is: palettes, grey, an opaque alpha channel, 16 bits of which every value is an
8-bit one times 257, photos with a colour profile other than sRGB, the first of several pictures.
What would lose something is refused: Pillow opens far more, some of it wrongly for this use (16-bit
RGB is cut to 8 bits), so the kind of file is checked by its header first. Pixels are
integers therefore: a floating-point image, which could hold NaN, is refused.

Photos are RGB in sRGB's colours. Index maps are lossless files of one value per pixel, the class's
index. Painted label maps are read by the classes' colours.
"""

from __future__ import annotations

import functools
import io
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image, ImageChops, ImageCms
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from pix2pix.common.errors import UserError
from pix2pix.data.registry import IGNORED

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
    # Without classes, nothing tells whether grey of 1, 2 and 4 bits is an index or a shade.
    "index": _LABEL_DEPTHS,
    "labels": {**_LABEL_DEPTHS, "grey": _MANY, "black and white": (1,)},
}
"""Bits per channel by kind; of a palette, bits of its indices. 16 bits, alpha: see `_plain`."""
_NEEDED: dict[Reading, str] = {
    "photo": "8-bit RGB",
    "grey": "8-bit grey",
    "index": "8-bit grey or palette",
    "labels": "8-bit grey, palette or RGB",
}
_LOW_HALF = {
    f"{channels};16{order}": f"{channels};16{other}"
    for channels in ("RGB", "RGBA")
    for order, other in (("B", "L"), ("L", "B"), ("N", "B" if sys.byteorder == "little" else "L"))
}
"""Pillow's names for 16-bit colours, of which it keeps the upper bytes, and for the other half."""
_ORIENTATION = 0x0112
_ORIENTED = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")
AS_GREY = "save it as an 8-bit one-channel PNG"
_AS_RGB = "convert it: magick IN -alpha remove -depth 8 -type TrueColor PNG24:OUT.png"

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
    depth: int = 8
    """Bits per channel. Pillow spreads grey of 1, 2 and 4 bits over 0 to 255."""


def check_image(path: str | Path, reading: Reading = "photo") -> Header:
    """The header of one image file. Only files that are no plain 8-bit ones are decoded for it.

    Raises UserError: the file is unreadable, too large, stored turned, or cannot be read as
    `reading` without loss.
    """
    with open_image(path, reading) as image:
        header = header_of(image, reading)
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
    image, _ = decode_image(path, reading, dark)
    return to_srgb(image) if reading == "photo" else image


def to_srgb(image: Image.Image) -> Image.Image:
    """An RGB photo in sRGB's colours; as it is if it names no other profile that can be read."""
    profile = image.info.get("icc_profile")
    transform = _transform(profile) if profile else None
    return image if transform is None else transform.apply(image)


@contextmanager
def open_image(path: str | Path, reading: Reading) -> Iterator[Image.Image]:
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


def decode_image(path: str | Path, reading: Reading, dark: bool) -> tuple[Image.Image, Header]:
    """One image file in the plain form of its reading, without `to_srgb`; UserError."""
    with open_image(path, reading) as image:
        header = header_of(image, reading)
        try:
            image.load()
            # A PNG has metadata behind its pixels too.
            problem = _orientation_problem(image)
            if not problem and (header.read_as or "transparency" in image.info):
                image, problem = _plain(path, image, header.depth, reading, dark)
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
    fix = _AS_RGB if colours else AS_GREY
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
    """The lower 8 bits of a 16-bit image of 3 or 4 channels, of which Pillow gives the upper."""
    with Image.open(path, formats=("PNG", "TIFF")) as image:
        image.tile = [tile._replace(args=_low_half(tile.args)) for tile in image.tile]
        image.load()
        return image


def _low_half(args: Any) -> Any:
    """Arguments of Pillow's decoder with which it gives the lower bytes; KeyError if it cannot."""
    return (_LOW_HALF[args[0]], *args[1:]) if isinstance(args, tuple) else _LOW_HALF[args]


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
    (height, width), image_format, kind, _, depth = header_of(image, reading)
    if width * height > MAX_PIXELS:
        return f"has {width}×{height} pixels; at most {MAX_PIXELS:,} are read"
    cut = depth == 16 and kind.startswith("RGB") and not _has_low_half(image)
    if isinstance(image, TiffImageFile) and reading == "labels" and kind != "palette":
        cut = cut or depth < 8  # some store white as 0
    if depth not in _DEPTHS[reading].get(kind, ()) or cut:
        fix = _AS_RGB if reading == "photo" else AS_GREY
        shown = f"{depth}-bit {kind} (mode {image.mode})"
        return f"is {shown}; {_NEEDED[reading]} is needed; {fix}"
    index_map = reading == "index" or (reading == "labels" and not kind.startswith("RGB"))
    if index_map and is_lossy(image_format):
        return f"is {image_format}, which changes values; {AS_GREY}"
    return None


def _has_low_half(image: Image.Image) -> bool:
    """Whether both halves of 16-bit colours can be had: Pillow drops one."""
    if isinstance(image, TiffImageFile) and image.tag_v2.get(284, 1) != 1:  # one plane per channel
        return False
    arguments = [tile.args for tile in getattr(image, "tile", ())]
    return all((a[0] if isinstance(a, tuple) else a) in _LOW_HALF for a in arguments)


def _orientation_problem(image: Image.Image) -> str | None:
    """A rotation would turn one side of a pair and not the other."""
    # Asking a PNG without these may decode it.
    tagged = image.format != "PNG" or any(key in image.info for key in _ORIENTED)
    if tagged and image.getexif().get(_ORIENTATION, 1) not in (0, 1):
        return (
            "is stored turned (EXIF orientation); save it, and others like it, upright: magick"
            " mogrify -auto-orient FILES"
        )
    return None


def header_of(image: Image.Image, reading: Reading) -> Header:
    name = image.format or "unknown"
    if isinstance(image, TiffImageFile) and image.tag_v2.get(259, 1) not in _LOSSLESS_TIFF:
        name += " (lossy)"
    kind = _KINDS.get(image.mode.partition(";")[0], image.mode)  # "I;16" is one of several
    depth = _bit_depth(image)
    read_as = _read_as(image, kind, depth, reading)
    return Header((image.height, image.width), name, kind, read_as, depth)


def _read_as(image: Image.Image, kind: str, depth: int, reading: Reading) -> str:
    """How a file is read that is no plain 8-bit file of its kind, in words; else empty."""
    # The others of MPO files are smaller or of another eye; every phone writes them.
    several = image.format != "MPO" and getattr(image, "is_animated", False)
    parts = ["the first of several pictures"] if several else []
    return ", ".join([*parts, *filter(None, [_form(image, kind, depth, reading)])])


def _form(image: Image.Image, kind: str, depth: int, reading: Reading) -> str:
    """In which form other than the plain one the pixels are stored; else empty."""
    target = {"photo": "RGB", "grey": "grey"}.get(reading, kind.removesuffix(" with alpha"))
    if reading == "index" and target == "RGB":
        target = "grey"
    if reading == "labels" and kind == "black and white":
        target = "grey"
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
        return max(image.tag_v2.get(258, (1,)))
    return {"1": 1, "I": 32, "F": 32}.get(image.mode, 16 if "16" in image.mode else 8)


def _reason(error: Exception) -> str:
    """An exception's text in one line, without the path that the message has already."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return " ".join(text.split())[:200] or type(error).__name__
