"""LPIPS (Zhang et al., CVPR 2018): the `lpips` package, version 0.1 heads, verified weights.

The package would download a backbone by itself, and load its heads without checking that all of
them are there. Here the backbone is verified (pix2pix/data/backbones.py), and every tensor of the
backbone and the heads must be found; otherwise nothing is measured. So a random network never
passes for LPIPS.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pix2pix.common.errors import NotMeasured
from pix2pix.common.files import file_sha256
from pix2pix.data.backbones import load_convolutions

if TYPE_CHECKING:
    import torch
    from torch import nn

SMALLEST = {"alex": 31, "vgg": 16, "squeeze": 17}
"""The smallest image side that each network accepts, in pixels."""
HEADS = {
    "alex": "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
    "vgg": "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
    "squeeze": "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76",
}
"""sha256 of `weights/v0.1/NET.pth` in the package lpips 0.1.4."""


class LPIPSDistance:
    """Distances of translations to their targets, 0 if identical; created by `load_lpips`.

    Attributes:
        net: "alex", "vgg" or "squeeze".
        digest: of the backbone's convolutions; the heads are of version 0.1.
        smallest: smallest image side in pixels.
    """

    def __init__(self, network: nn.Module, net: str, digest: str) -> None:
        self._network, self.net, self.digest = network, net, digest
        self.smallest = SMALLEST[net]

    def __call__(self, translations: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """(N, H, W, 3) uint8 twice -> (N,) float64, image by image.

        Raises:
            ValueError: wrong shapes or types, or an image smaller than `smallest`.
        """
        import torch

        if translations.shape != targets.shape or translations.ndim != 4:
            raise ValueError(
                f"translations {translations.shape} and targets {targets.shape}:"
                " must both be (N, H, W, 3)"
            )
        if min(translations.shape[1:3]) < self.smallest:
            raise ValueError(f"LPIPS ({self.net}) needs {self.smallest} pixels per side")
        device = next(self._network.parameters()).device
        distances = np.empty(len(translations))
        with torch.inference_mode():
            for index, pair in enumerate(zip(translations, targets, strict=True)):
                first, second = (_signed(image).to(device) for image in pair)
                distances[index] = self._network(first, second).item()
        return distances


def load_lpips(
    net: str = "alex", weights: Path | None = None, download: bool = True, device: str = "cpu"
) -> LPIPSDistance:
    """LPIPS with a backbone from disk, or downloaded once into the folder of torch hub.

    Args:
        net: "alex", "vgg" or "squeeze".
        weights, download: as `pix2pix.data.backbones.load_convolutions`.

    Raises:
        NotMeasured: the package or the file is missing, or the download failed; says how to get it.
        UserError: `weights` is missing, altered or not the weights of this backbone.
    """
    convolutions = load_convolutions(net, weights, download)
    try:
        import lpips
    except ImportError as error:
        raise NotMeasured("the package lpips is missing: pip install lpips") from error
    import torch

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from torchvision, about arguments that lpips passes
        # pnet_rand: the package does not load the backbone; the next lines do.
        network = lpips.LPIPS(net=net, version="0.1", pnet_rand=True, verbose=False)
    # lpips splits torchvision's `features` into slices and keeps their numbers:
    # slice2.3.weight is features.3.weight. strict=True, so that none stays random.
    names = {re.sub(r"^slice\d+\.", "features.", name): name for name in network.net.state_dict()}
    network.net.load_state_dict({names[n]: t for n, t in convolutions.tensors.items()}, strict=True)
    heads = Path(lpips.__file__).parent / "weights" / "v0.1" / f"{net}.pth"
    _check_heads(network, heads, HEADS[net])
    return LPIPSDistance(network.eval().to(device), net, convolutions.digest)


def _check_heads(network: nn.Module, path: Path, sha256: str) -> None:
    """Check that all heads of the file are in the network: lpips loads them with strict=False."""
    import torch

    found = file_sha256(path)
    if found != sha256:
        raise NotMeasured(f"{path}: not the heads of lpips 0.1.4 (sha256 is {found}); reinstall it")
    loaded = network.state_dict()
    stored = torch.load(path, map_location="cpu", weights_only=True)
    heads = {name for name in loaded if re.match(r"lin\d+\.", name)}
    if heads != set(stored):
        raise NotMeasured(f"{path}: {len(stored)} heads for the {len(heads)} of the package lpips")
    for name in heads:
        if not torch.equal(loaded[name], stored[name]):
            raise NotMeasured(f"{path}: head {name} was not loaded; reinstall lpips")


def _signed(image: np.ndarray) -> torch.Tensor:
    """(H, W, 3) uint8 -> (1, 3, H, W) float in [-1, 1], the range that lpips expects."""
    import torch

    if image.dtype != np.uint8 or image.shape[-1] != 3:
        raise ValueError(f"image: must be (H, W, 3) uint8 (got {image.shape} {image.dtype})")
    signed = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 127.5 - 1
    assert signed.min() >= -1 and signed.max() <= 1, "LPIPS takes [-1, 1]"
    return signed
