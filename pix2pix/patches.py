"""The arithmetic of patch discriminators: layers, receptive fields, sizes. No torch."""

from __future__ import annotations

from collections.abc import Sequence

PATCHES = (1, 16, 34, 70, 142, 286)
"""Receptive fields in pixels; the n-th has n stride-2 layers, 1×1 has none (public Torch code)."""


def discriminator_layers(patch: int) -> list[tuple[int, int]]:
    """(kernel, stride) of every convolution of the discriminator with that receptive field.

    Follows `defineD_n_layers` and `defineD_pixelGAN` of the public Torch code: n stride-2 layers,
    one of stride 1, one to a single channel. ValueError for a patch that is not in PATCHES.
    """
    if patch not in PATCHES:
        raise ValueError(f"patch must be one of {', '.join(map(str, PATCHES))} (got {patch})")
    if patch == 1:
        return [(1, 1)] * 3
    return [(4, 2)] * PATCHES.index(patch) + [(4, 1)] * 2


def receptive_field(layers: Sequence[tuple[int, int]]) -> int:
    """Side in pixels of what one output of a stack of (kernel, stride) convolutions sees."""
    field = 1
    for kernel, stride in reversed(layers):
        field = (field - 1) * stride + kernel
    return field


def smallest_image(patch: int) -> int:
    """The shortest side in pixels on which that discriminator has an output at all."""
    side = 1
    while discriminator_output(patch, side) < 1:
        side += 1
    return side


def discriminator_output(patch: int, side: int) -> int:
    """How many outputs a side of `side` pixels gives; below 1 where the image is too small."""
    for kernel, stride in discriminator_layers(patch):
        padding = 0 if kernel == 1 else 1
        if side + 2 * padding < kernel:
            return 0
        side = (side + 2 * padding - kernel) // stride + 1
    return side
