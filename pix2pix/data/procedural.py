"""The embedded data set: street facades that the program draws itself, label map and photo.

It stands in for the CMP Facades (12 classes, the same colours, the same split sizes) where
nothing can be downloaded. One random stream draws what the label map shows; another draws what it
leaves open (material, light, shadows, curtains, shops, weathering, sky). So a label map has many
possible photos, and an L1 regressor can only draw their mean.

The same bytes on every machine and at every NumPy version: integers and IEEE-exact elementwise
arithmetic only, over PCG64 streams seeded by (VERSION, split, index).
"""

from collections.abc import Callable

import numpy as np

from pix2pix.common.errors import UserError
from pix2pix.data.facades.backdrop import paint_backdrop
from pix2pix.data.facades.elements import Dice, Element, Layout, shape_mask
from pix2pix.data.facades.layout import compose_layout
from pix2pix.data.facades.light import Canvas, choose_light, choose_veil, expose, illuminate
from pix2pix.data.facades.masonry import (
    paint_balcony,
    paint_cornice,
    paint_deco,
    paint_molding,
    paint_pillar,
    paint_sill,
    paint_wall,
)
from pix2pix.data.facades.openings import paint_blind, paint_door, paint_shop, paint_window
from pix2pix.data.facades.style import Style, choose_style

VERSION = 1  # change it with anything that changes a pixel
COUNTS = {"train": 400, "val": 100, "test": 106}
CLASSES: tuple[tuple[str, tuple[int, int, int]], ...] = (
    ("background", (0, 0, 170)),
    ("facade", (0, 0, 255)),
    ("window", (0, 85, 255)),
    ("door", (0, 170, 255)),
    ("cornice", (0, 255, 255)),
    ("sill", (85, 255, 170)),
    ("balcony", (170, 255, 85)),
    ("blind", (255, 255, 0)),
    ("deco", (255, 170, 0)),
    ("molding", (255, 85, 0)),
    ("pillar", (255, 0, 0)),
    ("shop", (170, 0, 0)),
)
SMALLEST = 32  # pixels; at smaller sizes, neighbouring elements hide each other

_POSITION = {name: position for position, (name, _) in enumerate(CLASSES)}
_STREAMS = {"layout": 0, "appearance": 1}
_PAINTERS: dict[str, Callable[[Canvas, Element, Style, Dice], None]] = {
    "molding": paint_molding,
    "pillar": paint_pillar,
    "deco": paint_deco,
    "window": paint_window,
    "blind": paint_blind,
    "cornice": paint_cornice,
    "sill": paint_sill,
    "door": paint_door,
    "shop": paint_shop,
    "balcony": paint_balcony,
}


def draw(split: str, index: int, size: int, appearance: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """One facade: labels (S, S) uint8 0..11 and photo (S, S, 3) uint8.

    The same facade is drawn at every size. `appearance` (0 is the data set's own) draws another
    photo for the same label map. Raises UserError on an unknown split, an index outside it, a
    negative appearance or a size below SMALLEST.
    """
    _check(split, index, size, appearance)
    layout = _layout(split, index)
    photo = _photograph(layout, size, _dice("appearance", split, index, appearance))
    return _labels(layout, size), photo


def draw_labels(split: str, index: int, size: int) -> np.ndarray:
    """The labels of draw() without the photo, which takes most of the time."""
    _check(split, index, size, 0)
    return _labels(_layout(split, index), size)


def _check(split: str, index: int, size: int, appearance: int) -> None:
    if split not in COUNTS:
        raise UserError(f"procedural: split must be one of {', '.join(COUNTS)} (got {split!r})")
    if not 0 <= index < COUNTS[split]:
        raise UserError(f"procedural: {split} is 0 to {COUNTS[split] - 1} (got {index})")
    if size < SMALLEST:
        raise UserError(f"procedural: size must be at least {SMALLEST} pixels (got {size})")
    if appearance < 0:
        raise UserError(f"procedural: appearance must not be negative (got {appearance})")


def _layout(split: str, index: int) -> Layout:
    return compose_layout(_dice("layout", split, index, 0))


def _dice(stream: str, split: str, index: int, appearance: int) -> Dice:
    place = list(COUNTS).index(split)
    return Dice(VERSION, _STREAMS[stream], place, index, appearance)


def _labels(layout: Layout, size: int) -> np.ndarray:
    labels = np.full((size, size), _POSITION["background"], np.uint8)
    for element in layout.elements:
        x0, y0, x1, y1 = element.pixels(size)
        mask = shape_mask(element.shape, y1 - y0, x1 - x0)
        labels[y0:y1, x0:x1][mask] = _POSITION[element.kind]
    return labels


def _photograph(layout: Layout, size: int, dice: Dice) -> np.ndarray:
    light = choose_light(dice)
    style = choose_style(dice, light)
    # Twice as fine as the labels; its elements cover whole label pixels.
    canvas = Canvas.blank(2 * size)
    paint_backdrop(canvas, layout, light, dice)
    paint_wall(canvas, layout, style, dice)
    for element in layout.elements:
        if element.kind == "facade":
            continue
        x0, y0, x1, y1 = (2 * edge for edge in element.pixels(size))
        patch = canvas.cut(x0, y0, x1, y1)
        # One stream per element, because some draw more numbers at larger sizes.
        _PAINTERS[element.kind](patch, element, style, dice.fork())
        canvas.paste(patch, x0, y0, shape_mask(element.shape, y1 - y0, x1 - x0))
    return expose(dice, illuminate(canvas, light, choose_veil(dice, 2 * size)))
