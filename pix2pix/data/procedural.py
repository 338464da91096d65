"""The embedded data set: street facades that the program draws itself, label map and photo.

It stands in for the CMP Facades (12 classes, the same colours, the same split sizes) where
nothing can be downloaded. One random stream draws the label map; another what that leaves open
(material, light, shadows, curtains, shops, weathering, sky). So a label map has many possible
photos, and an L1 regressor can only draw their mean. The same bytes on every machine: integers
and IEEE-exact elementwise arithmetic only, over PCG64 streams seeded by (VERSION, split, index).
"""

from dataclasses import replace

import numpy as np

from pix2pix.common.errors import UserError
from pix2pix.data.facades.layout import Dice, Element, compose_layout, shape_mask
from pix2pix.data.facades.light import Looks, Patch, choose_veil, expose, illuminate, ramp
from pix2pix.data.facades.paint import PAINTERS, paint_backdrop, paint_wall

VERSION = 2  # change it with anything that changes a pixel
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


def draw(split: str, index: int, size: int, appearance: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """One facade: labels (S, S) uint8 0..11 and photo (S, S, 3) uint8.

    The same facade is drawn at every size. `appearance` (0 is the data set's own) draws another
    photo for the same label map. Raises UserError on a size below SMALLEST.
    """
    elements = _layout(split, index, size)
    labels = _labels(elements, size)
    looks = Dice(VERSION, 1, list(COUNTS).index(split), index, appearance)
    return labels, _photograph(elements, labels, looks)


def draw_labels(split: str, index: int, size: int) -> np.ndarray:
    """The labels of draw() without the photo, which takes most of the time."""
    return _labels(_layout(split, index, size), size)


def _layout(split: str, index: int, size: int) -> list[Element]:
    """A facade's elements in painting order: later kinds hide earlier ones."""
    if size < SMALLEST:
        raise UserError(f"procedural: size must be at least {SMALLEST} pixels (got {size})")
    layout = Dice(VERSION, 0, list(COUNTS).index(split), index, 0)
    order = ["facade", *PAINTERS]
    return sorted(compose_layout(layout), key=lambda element: order.index(element.kind))


def _labels(elements: list[Element], size: int) -> np.ndarray:
    labels = np.zeros((size, size), np.uint8)  # background
    numbers = [name for name, _ in CLASSES]
    for element in elements:
        x0, y0, x1, y1 = element.pixels(size)
        mask = shape_mask(element.shape, y1 - y0, x1 - x0)
        labels[y0:y1, x0:x1][mask] = numbers.index(element.kind)
    return labels


def _photograph(elements: list[Element], labels: np.ndarray, dice: Dice) -> np.ndarray:
    size = 2 * len(labels)  # the elements cover whole label pixels
    looks = Looks(dice)
    at, (relief, matte) = ramp(size), np.zeros((2, size, size), np.float32)
    albedo = np.zeros((size, size, 3), np.float32)
    canvas = Patch(size, at[:, None], at, relief == 0.0, albedo, relief, matte)
    paint_backdrop(canvas, elements[0], looks, dice.fork())
    built = labels.repeat(2, axis=0).repeat(2, axis=1) > 0
    paint_wall(replace(canvas, mask=built), elements, looks, dice.fork())
    for element in elements:
        if element.kind in PAINTERS:
            x0, y0, x1, y1 = (2 * edge for edge in element.pixels(len(labels)))
            patch = canvas[y0:y1, x0:x1].shaped(element.shape)
            # One stream per element, because some draw more numbers at larger sizes.
            PAINTERS[element.kind](patch, element, looks, dice.fork())
    canvas.albedo *= 0.94 + 0.12 * dice.fork().table(size, size, 1)  # pitted surfaces
    return expose(dice, illuminate(canvas, looks, choose_veil(dice, canvas)))
