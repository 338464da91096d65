"""Painted label maps back to classes: the nearest palette colour (photo→labels scores)."""

from __future__ import annotations

import numpy as np


def nearest_class(image: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """The class whose colour is nearest to each pixel in RGB (Euclidean; the lower class on a tie).

    Args:
        image: (H, W, 3) uint8.
        palette: (C, 3) uint8, row c the colour of class c; C at most 255.

    Returns:
        (H, W) uint8.
    """
    image, palette = np.asarray(image), np.asarray(palette)
    if image.ndim != 3 or image.shape[-1] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image: must be (H, W, 3) uint8 (got {image.shape} {image.dtype})")
    if palette.ndim != 2 or palette.shape[-1] != 3 or not 1 <= len(palette) <= 255:
        raise ValueError(f"palette: must be (C, 3), C from 1 to 255 (got {palette.shape})")
    pixels = image.astype(np.int32)
    nearest = np.zeros(image.shape[:2], np.uint8)
    least = np.full(image.shape[:2], np.iinfo(np.int32).max, np.int32)
    for index, colour in enumerate(palette.astype(np.int32)):
        distance = np.square(pixels - colour).sum(-1)
        nearer = distance < least
        nearest[nearer] = index
        least[nearer] = distance[nearer]
    return nearest
