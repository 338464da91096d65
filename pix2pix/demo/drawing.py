"""What is drawn on the page: label maps, or the inputs of tasks that one can draw (tasks.py)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pix2pix.common.errors import UserError
from pix2pix.data import tasks
from pix2pix.data.decode import check_image, read_image, read_rgb
from pix2pix.data.labels import class_positions, index_table, paint
from pix2pix.data.registry import IGNORED, DatasetEntry, LabelClass

EDGES = "edges"
GREYS = 9
"""That the palette offers."""


@dataclass(frozen=True)
class Drawing:
    """How a drawing, (H, W) uint8 values, looks, and how an image file becomes one."""

    role: str
    """The input of the generators."""
    colours: np.ndarray
    """(256, 3) uint8 by value."""
    values: int
    """How many values there are, 0 first; 255 is nothing at all."""
    palette: tuple[LabelClass, ...]
    """What one draws with; `index` is the value."""
    read: Callable[[str, tuple[int, int]], np.ndarray]
    """(path of an image file, (H, W)) to values at that size."""

    def image(self, values: np.ndarray) -> np.ndarray:
        """What a generator gets: (H, W, 3) uint8, or for L (H, W, 1) int16."""
        painted = self.colours[values]
        return tasks.derive(self.role, painted, "") if self.role == tasks.LAB else painted

    def of_file(self, content: bytes, size: tuple[int, int]) -> np.ndarray:
        """The values of an image file of the user's, resized to (H, W).

        Raises UserError if it is no image, or a label map with values or colours of no class.
        """
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            try:
                return self.read(file.name, size)
            except UserError as error:
                raise UserError(str(error).replace(file.name, "the file")) from None

    def of_photo(self, photo: np.ndarray) -> np.ndarray:
        """The values whose image is derived from a photo (H, W, 3) uint8."""
        return self.of_input(tasks.derive(self.role, photo, ""))

    def of_input(self, image: np.ndarray) -> np.ndarray:
        """The values of an input as it is stored."""
        grey = tasks.picture(image)[..., 1]
        return (grey < 128).astype(np.uint8) if self.role == EDGES else _ink(grey)


def drawing_of(role: str, entry: DatasetEntry) -> Drawing | None:
    """How the input of a role is drawn; None if nobody can draw it."""
    if role == entry.label_role:
        colours = paint(np.arange(256, dtype=np.uint8), entry)
        palette = [LabelClass(one.name, one.colour, i) for i, one in enumerate(entry.classes)]

        def read_labels(path: str, size: tuple[int, int]) -> np.ndarray:
            header, image = check_image(path, "labels"), read_image(path, "labels")
            found = class_positions(entry, "the file", image, header, index_table(entry))
            return resized(found, size)

        return Drawing(role, colours, len(palette), tuple(palette), read_labels)
    if role not in (*tasks.COLOURS, EDGES):
        return None
    if role == EDGES:
        colours = np.full((256, 3), 255, np.uint8)
        colours[1] = 0
        palette = [LabelClass("paper", (255, 255, 255), 0), LabelClass("line", (0, 0, 0), 1)]
    else:
        colours = np.repeat(255 - np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
        steps = [round(i * (IGNORED - 1) / (GREYS - 1)) for i in range(GREYS)]
        named = {0: "white", IGNORED - 1: "black"}
        palette = [
            LabelClass(named.get(v, f"{v / IGNORED:.0%} grey"), (255 - v, 255 - v, 255 - v), v)
            for v in steps
        ]

    def read_photo(path: str, size: tuple[int, int]) -> np.ndarray:
        check_image(path)
        photo = Image.fromarray(read_rgb(path))
        return drawing.of_photo(
            np.asarray(photo.resize((size[1], size[0]), Image.Resampling.BILINEAR))
        )

    drawing = Drawing(role, colours, 2 if role == EDGES else IGNORED, tuple(palette), read_photo)
    return drawing


def _ink(grey: np.ndarray) -> np.ndarray:
    """Grey levels to values: 0 is white, so that a new drawing is, and 254 the darkest."""
    return np.minimum(255 - grey, IGNORED - 1).astype(np.uint8)


def resized(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w) to (H, W), by the nearest pixel."""
    rows, columns = (np.arange(n) * m // n for n, m in zip(size, labels.shape, strict=True))
    return labels[np.ix_(rows, columns)]
