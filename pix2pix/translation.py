"""From a generator and inputs to images, the way the paper's test script does it.

`python -m pix2pix.translate` does it with a file and a folder (pix2pix/translate.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from PIL import Image

from pix2pix.common.errors import UserError
from pix2pix.translation_protocols import PROTOCOLS, TranslationProtocol


def noise_seed(seed: int, name: str) -> int:
    """The seed of an image's dropout noise: its own, whatever the order of translation."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:7], "big")


@torch.no_grad()
def translate(
    generator: torch.nn.Module,
    inputs: np.ndarray,
    names: Sequence[str],
    *,
    seed: int,
    device: torch.device,
    protocol: TranslationProtocol = PROTOCOLS["paper"],
) -> Iterator[tuple[str, np.ndarray]]:
    """Translate (N, H, W, C) uint8 one image at a time; yields (name, (H, W, C') uint8).

    One at a time, because BatchNorm uses the test batch's statistics and the original test script
    translates singly. Dropout stays on; its noise depends on `seed` and the image's name only.
    The global generators of random numbers are left as they were. UserError where the generator
    gives values that are no numbers.
    """
    devices = [device] if device.type == "cuda" else []
    for index, name in enumerate(names):
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(noise_seed(seed, name))
            image = torch.from_numpy(np.array(inputs[index : index + 1])).to(device)
            with _repeatable():
                translation = generator(protocol.to_float(image))
        if not torch.isfinite(translation).all():
            raise UserError(f"{name}: the generator gives values that are not finite numbers")
        yield name, protocol.to_uint8(translation)[0].cpu().numpy()


@contextmanager
def _repeatable() -> Iterator[None]:
    """Meanwhile cuDNN takes only algorithms that give the same bits each time."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic
    cudnn.deterministic = True
    try:
        yield
    finally:
        cudnn.deterministic = before


def grid(*columns: Sequence[np.ndarray], gap: int = 2) -> Image.Image:
    """Images in rows: row i holds the i-th of every column, on white, `gap` pixels apart."""
    rows = list(zip(*columns, strict=True))
    height, width = rows[0][0].shape[:2]
    shape = (
        len(rows) * (height + gap) - gap,
        len(columns) * (width + gap) - gap,
        3,
    )
    canvas = np.full(shape, 255, np.uint8)
    for r, row in enumerate(rows):
        for c, image in enumerate(row):
            top, left = r * (height + gap), c * (width + gap)
            canvas[top : top + height, left : left + width] = image
    return Image.fromarray(canvas)
