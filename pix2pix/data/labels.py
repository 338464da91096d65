"""Label maps to class positions: by the classes' indices, or by their colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from pix2pix.common.errors import UserError
from pix2pix.data.decode import AS_GREY, Header, is_lossy
from pix2pix.data.registry import IGNORED, DatasetEntry

MAX_UNKNOWN = 0.25
"""Share of a JPEG label map's pixels that may be far from every class colour: edges are smeared."""
STRIP = 1 << 18
"""Label pixels whose colours are compared at once."""
NO_CLASS = 254
"""In tables of class positions: a value of no class, which is an error."""
_BLACK = (0, 0, 0)


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
    header: Header,
    table: np.ndarray | None,
) -> np.ndarray:
    """(H, W) uint8 class positions, 255 ignored, of a label map; UserError names `path`.

    Args:
        image: L, P or RGB, of a file read as "labels".
        table: of `index_table`; None: the colours count, also those of one channel.
    """
    if image.mode == "P":
        return _from_palette(entry, path, image, table)
    if image.mode == "L" and table is not None:
        if header.depth < 8:
            return _from_few_bits(path, image, header, table)
        return from_indices(path, np.asarray(image), table)
    pixels = np.asarray(image.convert("RGB"))
    lossy = is_lossy(header.format)
    if table is not None and (values := _one_channel(pixels)) is not None:
        if lossy:
            raise UserError(f"{path}: is {header.format}, which changes values; {AS_GREY}")
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


def stored_values(image: Image.Image, header: Header) -> np.ndarray:
    """(H, W) uint8: the values of one channel as the file stores them."""
    values = np.asarray(image)
    return values // (255 // (2**header.depth - 1)) if header.depth < 8 else values


def _from_few_bits(
    path: str | Path, image: Image.Image, header: Header, table: np.ndarray
) -> np.ndarray:
    """Grey of 1, 2 or 4 bits: stored values are indices to some programs, and to others, which
    make files smaller, parts of 255. What the classes allow counts; UserError if they allow both
    and the two differ."""
    stored = stored_values(image, header)
    found = [p for v in (stored, np.asarray(image)) if NO_CLASS not in (p := table[v])]
    if len(found) == 2 and (found[0] != found[1]).any():
        raise UserError(
            f"{path}: is {header.depth}-bit grey: its values may be indices or shades; {AS_GREY}"
        )
    return found[0] if found else from_indices(path, stored, table)


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
        return from_colours(named, path, np.asarray(image.convert("RGB")), False)
    except UserError as error:
        if table is None:
            raise
        raise UserError(f"{error}, or save the file as grey to have its indices read") from None


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
