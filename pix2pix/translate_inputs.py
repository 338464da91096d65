"""A folder of images as a generator's inputs: found, checked before anything runs, prepared."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from pix2pix.common.errors import UserError
from pix2pix.data.decode import image_size, read_image
from pix2pix.data.layouts import SUFFIXES
from pix2pix.data.registry import Side


@dataclass(frozen=True)
class Preparation:
    """What is done to an image before it is the generator's input."""

    channels: Literal[1, 3]
    multiple: int
    """H and W must be multiples of it."""
    half: Literal["left", "right"] | None = None
    """The half of a side-by-side image that is the input."""
    size: tuple[int, int] | None = None
    """(H, W) to resize to; None takes images as they are."""
    resize: Image.Resampling = Image.Resampling.BILINEAR

    def __post_init__(self) -> None:
        if self.size and any(side % self.multiple or side < 1 for side in self.size):
            raise UserError(f"--size {_text(self.size)}: {self._allowed(self.size)}")

    def check(self, path: Path) -> tuple[int, int]:
        """The (H, W) that the generator will see, from the header alone; UserError otherwise."""
        height, width = image_size(str(path), self._side)
        size = self.size or (height, width // 2 if self.half else width)
        if any(side % self.multiple for side in size):
            raise UserError(
                f"{path}: {_text(size)} pixels (height × width); {self._allowed(size)},"
                " or have it resized with --size"
            )
        return size

    def read(self, path: Path) -> np.ndarray:
        """(1, H, W, C) uint8; UserError for a file that cannot be decoded."""
        image = read_image(str(path), self._side)
        if self.channels == 3:
            image = image.convert("RGB")
        elif image.mode != "L":
            raise UserError(
                f"{path}: must be grey: this generator takes one channel (it is {image.mode})"
            )
        if self.half:
            middle = image.width // 2
            left = 0 if self.half == "left" else middle
            image = image.crop((left, 0, left + middle, image.height))
        if self.size and self.size != (image.height, image.width):
            image = image.resize(self.size[::-1], self.resize)
        return np.asarray(image).reshape(1, image.height, image.width, self.channels)

    @property
    def _side(self) -> Side:
        return Side(half=self.half, grey=self.channels == 1)

    def _allowed(self, size: tuple[int, int]) -> str:
        near = tuple(max(1, round(side / self.multiple)) * self.multiple for side in size)
        return (
            f"this generator takes sides that are multiples of {self.multiple}"
            f" (nearest: {_text(near)})"
        )


def find_inputs(folder: Path) -> dict[str, Path]:
    """The images of a folder by stem, sorted by name; hidden and other files are passed over.

    Raises UserError for no such folder, no image in it, or two images of one stem.
    """
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"--inputs {folder}: cannot be read ({error.strerror})") from None
    found: dict[str, Path] = {}
    for path in paths:
        if path.suffix.lower() not in SUFFIXES or path.name.startswith(".") or not path.is_file():
            continue
        if not path.stem.isprintable():
            raise UserError(f"{str(path)!a}: the name is not printable text; rename the file")
        if path.stem in found:
            raise UserError(f"{path}: has the name of {found[path.stem].name}; keep one of them")
        found[path.stem] = path
    if not found:
        raise UserError(f"--inputs {folder}: holds no image ({', '.join(SUFFIXES)})")
    return found


def file_sha256(path: Path) -> str:
    """The sha256 of a file, in hex; UserError where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def _text(size: tuple[int, ...]) -> str:
    return "×".join(map(str, size))
