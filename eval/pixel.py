"""L1, PSNR and SSIM of a translation and its target, in the value range 0 to 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

PSNR_CAP = 100.0
"""dB. The PSNR of identical images is infinite, and so would be a mean that includes one. A single
value that differs by one unit gives 96 dB at 128×128 and 101 dB at 256×256 pixels."""
SSIM_MINIMUM = 11
"""Smallest image side in pixels: the size of the Gaussian window."""
SSIM_SETTINGS: Any = {
    "gaussian_kernel": True,
    "sigma": 1.5,
    "data_range": 1.0,
    "k1": 0.01,
    "k2": 0.03,
}


def l1(translation: np.ndarray, target: np.ndarray) -> float:
    """Mean absolute difference of two (H, W, 3) uint8 images, as a share of 255: 0 to 1."""
    difference = translation.astype(np.int16) - target.astype(np.int16)
    return float(np.abs(difference).mean() / 255)


def psnr(translation: np.ndarray, target: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of two (H, W, 3) uint8 images, capped at `PSNR_CAP`.

    Identical images, whose PSNR is infinite, get the cap.
    """
    import torch
    from torchmetrics.functional.image import peak_signal_noise_ratio

    pair = (_unit(translation, torch.float64), _unit(target, torch.float64))
    value = peak_signal_noise_ratio(*pair, data_range=1.0)
    return min(PSNR_CAP, float(value))


def ssim(translation: np.ndarray, target: np.ndarray) -> float:
    """Structural similarity of two (H, W, 3) uint8 images, -1 to 1 (Wang et al. 2004).

    11×11 Gaussian window of sigma 1.5, k 0.01 and 0.03, value range 1, mean over the channels.
    Single precision is 15 to 25 times as fast as double. It differs by up to 1e-5 on photos, and
    by up to 1e-3 where both images are perfectly flat. Sides are at least SSIM_MINIMUM pixels.
    """
    return _ssim(translation, target)[0]


def hole_scores(translation: np.ndarray, target: np.ndarray, hole: np.ndarray) -> tuple[float, ...]:
    """L1, PSNR and SSIM inside a hole: (H, W) uint8, not 0 inside.

    The two images are compared as `l1`, `psnr` and `ssim` do, but for the mean over pixels, which
    is over those of the hole. SSIM's windows there reach beyond the edge of the hole.
    """
    inside = hole != 0
    pair = translation[inside][None], target[inside][None]  # a row of pixels
    return l1(*pair), psnr(*pair), float(_ssim(translation, target)[1][inside].mean())


def _ssim(translation: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
    """SSIM, and (H, W) SSIM by pixel, the mean over the channels."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    if np.array_equal(translation, target):
        # By definition; single precision is off by up to 1e-3 on flat images.
        return 1.0, np.ones(translation.shape[:2])
    value, full = structural_similarity_index_measure(
        _unit(translation)[None],
        _unit(target)[None],
        return_full_image=True,
        **SSIM_SETTINGS,
    )
    return float(value), full[0].mean(0).numpy()


def _unit(image: np.ndarray, dtype: torch.dtype | None = None) -> torch.Tensor:
    """(H, W, 3) uint8 -> (3, H, W) in [0, 1], float32 or `dtype`."""
    import torch

    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    return pixels.to(dtype or torch.float32) / 255
