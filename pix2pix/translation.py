"""Translate images with a generator, as the paper's test script does."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pix2pix.common.errors import UserError
from pix2pix.data.batches import to_float, to_uint8
from pix2pix.data.tasks import from_lab


@dataclass(frozen=True)
class TranslationProtocol:
    """How one program turns pixels into a generator's input, and its output into pixels."""

    to_float: Callable[[Tensor], Tensor]
    """(N, H, W, C) uint8 to (N, C, H, W) float32 in [-1, 1]."""
    to_uint8: Callable[[Tensor], Tensor]
    """(N, C, H, W) float in [-1, 1] to (N, H, W, C) uint8."""
    resize: Image.Resampling
    """The filter for photos of another size (Pillow, antialiased)."""
    running_statistics: bool = False
    """Whether BatchNorm uses the statistics of training, with dropout off."""


def port_to_float(images: Tensor) -> Tensor:
    """`to_float` in the port's arithmetic: ToTensor, then Normalize by 0.5 and 0.5."""
    values = images.permute(0, 3, 1, 2).to(torch.float32)
    return values.div_(255).sub_(0.5).div_(0.5)


def port_to_uint8(images: Tensor) -> Tensor:
    """`to_uint8`, but truncated as in the port's `tensor2im`: half a unit darker on average."""
    scaled = images.detach().add(1).div_(2.0).mul_(255.0)
    return scaled.to(torch.uint8).permute(0, 2, 3, 1)


PROTOCOLS: dict[str, TranslationProtocol] = {
    # The paper and this suite: each image's own statistics, dropout on, rounded.
    "paper": TranslationProtocol(to_float, to_uint8, Image.Resampling.BILINEAR),
    # `test.py` of junyanz/pytorch-CycleGAN-and-pix2pix, without and with --eval.
    "port": TranslationProtocol(port_to_float, port_to_uint8, Image.Resampling.BICUBIC),
    "port-eval": TranslationProtocol(
        port_to_float, port_to_uint8, Image.Resampling.BICUBIC, running_statistics=True
    ),
}


def noise_seed(seed: int, name: str) -> int:
    """The seed of an image's dropout noise, independent of the order of translation."""
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
    batch: int = 1,
    beyond_gamut: list[float] | None = None,
) -> Iterator[tuple[str, np.ndarray]]:
    """Translate (N, H, W, C) uint8; yields (name, (H, W, C') uint8) in the order of the names.

    A generator that draws a and b for L (N, H, W, 1) int16 gives sRGB images all the same; the
    share of each one's pixels beyond sRGB's gamut is added to `beyond_gamut`.

    One image at a time by default, because BatchNorm uses the statistics of the test batch and the
    original test script uses batches of one; `batch` takes so many at once, the last ones fewer.
    Dropout stays on; its noise depends only on `seed` and the name (of the first image of a batch).
    The global random state is left unchanged. UserError if the output is not finite.
    """
    devices = [device] if device.type == "cuda" else []
    for start in range(0, len(names), batch):
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(noise_seed(seed, names[start]))
            images = torch.from_numpy(np.array(inputs[start : start + batch])).to(device)
            with _repeatable():
                translations = generator(protocol.to_float(images))
        in_lab = images.dtype == torch.int16
        pixels = None if in_lab else protocol.to_uint8(translations).cpu().numpy()
        for index, (name, one) in enumerate(zip(names[start:], translations, strict=False)):
            if not torch.isfinite(one).all():
                raise UserError(f"{name}: the generator gives values that are not finite numbers")
            if pixels is not None:
                yield name, pixels[index]
                continue
            ab = one.float().permute(1, 2, 0).cpu().numpy()
            image, share = from_lab(inputs[start + index], ab)
            if beyond_gamut is not None:
                beyond_gamut.append(share)
            yield name, image


@contextmanager
def _repeatable() -> Iterator[None]:
    """Force deterministic cuDNN algorithms inside this block."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic
    cudnn.deterministic = True
    try:
        yield
    finally:
        cudnn.deterministic = before


def grid(*columns: Sequence[np.ndarray], gap: int = 2) -> Image.Image:
    """A grid of (H, W, 3) uint8 images: row i holds the i-th of each column, `gap` pixels apart."""
    margin = ((0, gap), (0, gap), (0, 0))
    rows = [
        np.hstack([np.pad(image, margin, constant_values=255) for image in row])
        for row in zip(*columns, strict=True)
    ]
    canvas = np.vstack(rows)
    return Image.fromarray(canvas[: canvas.shape[0] - gap, : canvas.shape[1] - gap])
