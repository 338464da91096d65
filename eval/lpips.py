"""LPIPS (Zhang et al., CVPR 2018): the `lpips` package, version 0.1 heads, verified weights.

The package would download a backbone by itself, and load its heads without checking that all of
them are there. Here the backbone comes from a hashed file, and every tensor of the backbone and the
heads must be found; otherwise nothing is measured. So a random network never passes for LPIPS.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eval.backbones import BACKBONES, find_backbone
from pix2pix.common.errors import NotMeasured, UserError
from pix2pix.common.files import file_sha256

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["LPIPSDistance", "NotMeasured", "load_lpips"]


class LPIPSDistance:
    """Distances of translations to their targets, 0 if identical; created by `load_lpips`.

    Attributes:
        net: "alex", "vgg" or "squeeze".
        sha256: of the weights file of the backbone; the heads are of version 0.1.
        smallest: smallest image side in pixels.
    """

    def __init__(self, network: nn.Module, net: str, sha256: str) -> None:
        self._network, self.net, self.sha256 = network, net, sha256
        self.smallest = BACKBONES[net].smallest

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
    net: str = "alex",
    weights: Path | None = None,
    download: bool = True,
    sha256: str | None = None,
    device: str = "cpu",
) -> LPIPSDistance:
    """LPIPS with a backbone from disk, or downloaded once into the folder of torch hub.

    Args:
        net: "alex", "vgg" or "squeeze".
        weights: the file of the backbone; None: in torch hub's folder of checkpoints.
        download: whether a missing backbone may be downloaded.
        sha256: of the file; None: of the file that torchvision published.

    Raises:
        NotMeasured: the package or the file is missing, or the download failed; says how to get it.
        UserError: `weights` is missing, altered or not the weights of this backbone.
        ValueError: an unknown `net`.
    """
    if net not in BACKBONES:
        raise ValueError(f"net: must be one of {', '.join(BACKBONES)} (got {net!r})")
    try:
        import lpips
    except ImportError as error:
        raise NotMeasured("the package lpips is missing: pip install lpips") from error
    import torch

    expected = sha256 or BACKBONES[net].sha256
    path = find_backbone(net, weights, download, expected)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from torchvision, about arguments that lpips passes
        # pnet_rand: the package does not load the backbone; _load_backbone does.
        network = lpips.LPIPS(net=net, version="0.1", pnet_rand=True, verbose=False)
    _load_backbone(network.net, path)
    heads = Path(lpips.__file__).parent / "weights" / "v0.1" / f"{net}.pth"
    _check_heads(network, heads, BACKBONES[net].heads_sha256)
    return LPIPSDistance(network.eval().to(device), net, expected)


def _load_backbone(backbone: nn.Module, path: Path) -> None:
    """Load every tensor of the backbone from the file of torchvision, or raise UserError.

    lpips splits the `features` of torchvision into slices and keeps their numbers: slice2.3.weight
    is features.3.weight.
    """
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler may raise any exception on damaged bytes
        raise UserError(f"{path}: not a readable weights file") from error
    renamed = {
        name: state.get(re.sub(r"^slice\d+\.", "features.", name))
        if isinstance(state, dict)
        else None
        for name in backbone.state_dict()
    }
    absent = [name for name, tensor in renamed.items() if tensor is None]
    if absent:
        raise UserError(
            f"{path}: {len(absent)} tensors of the network are missing ({absent[0]}, …)"
        )
    try:
        backbone.load_state_dict(renamed, strict=True)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(f"{path}: not the weights of this network ({reason})") from error


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
