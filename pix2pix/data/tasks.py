"""Tasks that need photos alone: the input is derived from the target (Section 4, Figures 1 and 6).

    grey->photo     colorization in RGB; the input is grey, in three equal channels
    L->photo        colorization as in the paper: L of CIE Lab in, a and b out
    edges->photo    black Canny edges on white; the paper used HED
    masked->photo   inpainting of the centre block, a quarter of the image
    holes->photo    inpainting of random blocks
    small->photo    super-resolution by 4, from an enlarged image

An input follows from the photo at the size of the training, for `holes` also from its name: it is
the same in every epoch, run and process. Lab values are kept as int16, so finely that every 8-bit
colour comes back. Never imports torch.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable

import numpy as np
from PIL import Image

VERSION = 1
"""Part of a cell's digest; raise it when the same photo gives another input."""

SCALE = 32767
"""int16 value of 1.0: L of 100, or a and b of AB_RANGE."""
AB_RANGE = 110.0
"""a and b lie in [-AB_RANGE, AB_RANGE]; sRGB needs -107.9 to 98.3."""
CANNY_SIGMA = 1.5
CANNY_THRESHOLDS = (0.1, 0.2)
"""Of the gradient, as shares of the value range."""
HOLE_VALUE = 128
"""What a hole is filled with: about 0 of the network's [-1, 1]."""
BLOCKS = 8
"""Random blocks of `holes`, each an eighth to a quarter of the image wide and high."""
SMALL_FACTOR = 4


def grey(photo: np.ndarray, name: str) -> np.ndarray:
    """(H, W, 3) uint8 to the same, luma (ITU-R 601) in all three channels."""
    return np.asarray(Image.fromarray(photo).convert("L").convert("RGB"))


def edges(photo: np.ndarray, name: str) -> np.ndarray:
    """(H, W, 3) uint8 to the same: Canny edges of the luma, black on white."""
    from skimage.feature import canny

    luma = np.asarray(Image.fromarray(photo).convert("L"), np.float64) / 255
    found = canny(luma, CANNY_SIGMA, *CANNY_THRESHOLDS)
    return np.repeat(np.where(found, 0, 255).astype(np.uint8)[..., None], 3, axis=-1)


def small(photo: np.ndarray, name: str) -> np.ndarray:
    """(H, W, 3) uint8 to the same: a quarter of the width and height, enlarged again (bicubic)."""
    height, width = photo.shape[:2]
    smaller = max(1, width // SMALL_FACTOR), max(1, height // SMALL_FACTOR)
    reduced = Image.fromarray(photo).resize(smaller, Image.Resampling.BICUBIC)
    return np.asarray(reduced.resize((width, height), Image.Resampling.BICUBIC))


def centre_hole(size: tuple[int, int], name: str) -> np.ndarray:
    """(H, W) bool, True in the centre block of half the height and half the width."""
    hole = np.zeros(size, bool)
    top, left = size[0] // 4, size[1] // 4
    hole[top : top + size[0] // 2, left : left + size[1] // 2] = True
    return hole


def random_holes(size: tuple[int, int], name: str) -> np.ndarray:
    """(H, W) bool, True in BLOCKS random blocks, which may overlap; drawn from the name alone."""
    draw = np.random.Generator(
        np.random.PCG64(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big"))
    )
    hole = np.zeros(size, bool)
    for _ in range(BLOCKS):
        # Shares of the image first: at twice the size, the same blocks.
        heights, widths, tops, lefts = draw.random(4)
        height, width = round(size[0] * (1 + heights) / 8), round(size[1] * (1 + widths) / 8)
        top, left = round(tops * (size[0] - height)), round(lefts * (size[1] - width))
        hole[top : top + height, left : left + width] = True
    return hole


HOLES: dict[str, Callable[[tuple[int, int], str], np.ndarray]] = {
    "masked": centre_hole,
    "holes": random_holes,
}
"""Inputs with holes: which pixels of (H, W) are missing, given the image's name."""


def _filled(role: str) -> Callable[[np.ndarray, str], np.ndarray]:
    def fill(photo: np.ndarray, name: str) -> np.ndarray:
        image = photo.copy()
        image[HOLES[role](photo.shape[:2], name)] = HOLE_VALUE
        return image

    return fill


LAB = "L"
"""The input role whose target is a and b of the photo."""
COLOURS = (LAB, "grey")
"""Inputs from which colours have to be found."""
_INPUTS: dict[str, Callable[[np.ndarray, str], np.ndarray]] = {
    "grey": grey,
    LAB: lambda photo, name: to_lab(photo)[..., :1],
    "edges": edges,
    **{role: _filled(role) for role in HOLES},
    "small": small,
}
ROLES = tuple(_INPUTS)
"""Inputs that are derived from a photo, where a data set has no side of that name."""


def derive(role: str, photo: np.ndarray, name: str) -> np.ndarray:
    """The input of one of ROLES for a photo (H, W, 3) uint8: (H, W, 3) uint8, or for L (H, W, 1)
    int16. `name` is the image's own."""
    return _INPUTS[role](photo, name)


def derive_target(role: str, photo: np.ndarray) -> np.ndarray:
    """What the network is to draw for a photo: the photo, or for L its a and b (H, W, 2) int16."""
    return to_lab(photo)[..., 1:] if role == LAB else photo


def is_grey(photo: np.ndarray) -> bool:
    """Whether a photo (H, W, 3) uint8 has no colour at all."""
    return bool((photo == photo[..., :1]).all())


def to_lab(photo: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 sRGB to (H, W, 3) int16 L, a, b (D65, 2° observer), SCALE for 1.0 of
    L / 50 - 1 and of a / AB_RANGE, b / AB_RANGE."""
    from skimage.color import rgb2lab

    lab = rgb2lab(photo)
    lab[..., 0] = lab[..., 0] / 50 - 1
    lab[..., 1:] /= AB_RANGE
    return np.round(lab * SCALE).astype(np.int16)


def from_lab(lightness: np.ndarray, ab: np.ndarray) -> tuple[np.ndarray, float]:
    """L (H, W, 1) int16, and a, b (H, W, 2), int16 or float in [-1, 1], to sRGB.

    Returns (H, W, 3) uint8, and the share of pixels beyond sRGB's gamut, whose values are clipped.
    """
    from skimage.color import lab2rgb, lab2xyz
    from skimage.color.colorconv import rgb_from_xyz

    planes = [plane / SCALE if plane.dtype == np.int16 else plane for plane in (lightness, ab)]
    lab = np.concatenate([(planes[0] + 1.0) * 50, planes[1] * AB_RANGE], -1).astype(np.float64)
    with warnings.catch_warnings(action="ignore"):  # about the values that are counted here
        linear = lab2xyz(lab) @ rgb_from_xyz.T
        colours = np.round(lab2rgb(lab) * 255).astype(np.uint8)
    # Half a level of 8 bits, in linear light, is what rounding forgives.
    beyond = (linear < -0.5 / 255 / 12.92) | (linear > ((1 + 0.5 / 255 + 0.055) / 1.055) ** 2.4)
    return colours, float(beyond.any(-1).mean())


def picture(image: np.ndarray, lightness: np.ndarray | None = None) -> np.ndarray:
    """What a network's input or target (H, W, C) looks like: (H, W, 3) uint8.

    L alone is shown in grey; a and b need the `lightness` of their photo.
    """
    if image.shape[-1] == 2:
        assert lightness is not None
        return from_lab(lightness, image)[0]
    if image.dtype == np.int16:
        colours, _ = from_lab(image, np.zeros((*image.shape[:2], 2)))
        return np.repeat(colours[..., 1:2], 3, axis=-1)  # but for rounding they are grey
    return np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image
