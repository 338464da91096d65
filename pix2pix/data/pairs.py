"""The files of a pair, decoded to arrays at the size of the training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pix2pix.common.errors import UserError
from pix2pix.data.decode import Header, Reading, decode_image, header_of, open_image, to_srgb
from pix2pix.data.labels import class_positions, index_table, paint, paints
from pix2pix.data.layouts import SourcePair
from pix2pix.data.registry import IGNORED, DatasetEntry, Side


@dataclass(frozen=True)
class DecodedPair:
    """The arrays of one pair at the size of the training."""

    images: dict[str, np.ndarray]
    """(H, W, 3) uint8 by role, of the sides that the pair has; labels as painted."""
    labels: np.ndarray | None
    """(H, W) uint8 class positions, 255 ignored."""
    shown: tuple[int, int]
    """(h, w) of the top left part that is no padding; (H, W) where images are resized."""


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
        with open_image(path, reading) as image:
            sizes[path] = image.size
            if entry.layout == "side-by-side":
                _check_halves(entry, image, path)
            header = header_of(image, reading)
        text = header.read_as
        plain_grey = dark and header.kind == "grey" and text.startswith("8-bit")
        if text and not plain_grey:
            decode_image(path, reading, dark)
            read_as[path] = text
    _check_sizes(entry, sizes)
    return read_as


def read_pair(entry: DatasetEntry, pair: SourcePair, size: tuple[int, int]) -> DecodedPair:
    """Decodes one pair to exactly (H, W): photos bilinear (antialiased), labels nearest; or padded
    by mirror images whose labels are ignored, if the entry has `fit: pad`.

    Raises UserError naming the file for anything that `check_pair` finds, a damaged file, an
    index or a colour of no class.
    """
    files = {
        path: decode_image(path, *_reading(sides)) for path, sides in _files(entry, pair).items()
    }
    _check_sizes(entry, {path: image.size for path, (image, _) in files.items()})
    images, labels = {}, None
    shape = (size[1], size[0])
    padded = entry.fit == "pad"
    for role, path in pair.files:
        side = entry.sides[role]
        image, header = files[path]
        image = half_of(image, side.half if entry.layout == "side-by-side" else None, path)
        shape = image.size if padded else shape
        if side.kind == "photo":
            resized = to_srgb(image).resize(shape, Image.Resampling.BILINEAR)
            images[role] = np.asarray(resized)
            continue
        positions = class_positions(entry, path, image, header, index_table(entry))
        nearest = Image.fromarray(positions).resize(shape, Image.Resampling.NEAREST)
        labels = np.asarray(nearest)
        if side.kind == "palette":
            painted = image.convert("RGB").resize(shape, Image.Resampling.NEAREST)
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


def read_labels(entry: DatasetEntry, pair: SourcePair) -> np.ndarray:
    """(H, W) uint8 class positions, 255 ignored, of a pair's label map at its own size; UserError
    as `read_pair`."""
    path, image, header = _label_map(entry, pair)
    return class_positions(entry, path, image, header, index_table(entry))


def _label_map(entry: DatasetEntry, pair: SourcePair) -> tuple[str, Image.Image, Header]:
    """The path of a pair's label map, the map, the header of its file."""
    role = entry.label_role or ""
    path, side = dict(pair.files)[role], entry.sides[role]
    image, header = decode_image(path, *_reading(_files(entry, pair)[path]))
    image = half_of(image, side.half if entry.layout == "side-by-side" else None, path)
    return path, image, header


def values_of_no_class(entry: DatasetEntry, pair: SourcePair) -> Counter[str]:
    """How many pixels of a pair's label map are ignored, by their value or colour in words."""
    path, image, header = _label_map(entry, pair)
    table = index_table(entry)
    ignored = class_positions(entry, path, image, header, table) == IGNORED
    if table is None or (image.mode == "P" and paints(entry, image, table)):
        image = image.convert("RGB")
    found, counts = np.unique(np.asarray(image)[ignored], axis=0, return_counts=True)
    return Counter(
        {
            str(tuple(value)) if isinstance(value, list) else str(value): count
            for value, count in zip(found.tolist(), counts.tolist(), strict=True)
        }
    )


def _files(entry: DatasetEntry, pair: SourcePair) -> dict[str, list[Side]]:
    """The files of a pair, each with the sides that it holds."""
    files: dict[str, list[Side]] = {}
    for role, path in pair.files:
        files.setdefault(path, []).append(entry.sides[role])
    return files


def _check_sizes(entry: DatasetEntry, sizes: dict[str, tuple[int, int]]) -> None:
    if len(set(sizes.values())) > 1 and not entry.unpaired:
        shown = ", ".join(f"{path} is {w}×{h}" for path, (w, h) in sizes.items())
        raise UserError(f"{entry.name}: the sides of a pair must have one size: {shown}")


def _check_halves(entry: DatasetEntry, image: Image.Image, path: str) -> None:
    _check_even(image, path)
    if entry.recognise and image.width != 2 * image.height:
        raise UserError(
            f"{path}: is {image.width}×{image.height}; images whose halves were recognised are"
            " twice as wide as high; move it away, or describe the data set (docs/datasets.md)"
        )


def _check_even(image: Image.Image, path: str) -> None:
    if image.width % 2:
        raise UserError(f"{path}: is {image.width} pixels wide; two halves need an even width")


def _reading(sides: Sequence[Side]) -> tuple[Reading, bool]:
    """As what a file of these sides is read, and whether it may be a dark grey photo."""
    if all(side.kind != "photo" for side in sides):
        return "labels", False
    return "photo", all(side.grey or side.kind != "photo" for side in sides)
