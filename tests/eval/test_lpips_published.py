"""LPIPS on ImageNet's weights against published values and the reference implementation.

Skipped where the weights are not on this machine: python -m eval.backbones --help.
"""

import lpips as reference
import numpy as np
import pytest
import torch
import torchvision
from backbones import use_this_machines
from torchmetrics.functional.image import lpips as torchmetrics_lpips

from eval.lpips import load_lpips
from pix2pix.data.backbones import load_convolutions


@pytest.fixture(params=["alex", "vgg"])
def net(request, monkeypatch):
    use_this_machines(monkeypatch, request.param)
    return request.param


def test_torchmetrics_published_values_of_vgg(monkeypatch):
    """The doctest of LearnedPerceptualImagePatchSimilarity(net_type="vgg"): .3566 on [0, 1] in
    version 0.4 and .3493 on [-1, 1] in version 0.6. It draws its images after the network's own
    initial weights, so these are drawn here too."""
    use_this_machines(monkeypatch, "vgg")
    network = load_lpips("vgg", download=False)._network
    with torch.random.fork_rng():
        torch.manual_seed(123)
        torchvision.models.vgg16(init_weights=False)
        for channels in (64, 128, 256, 512, 512):
            torch.nn.Conv2d(channels, 1, 1, bias=False)
        first, second = torch.rand(10, 3, 100, 100), torch.rand(10, 3, 100, 100)
    with torch.inference_mode():
        raw = network(first, second).mean().item()
        scaled = network(2 * first - 1, 2 * second - 1).mean().item()
    assert (round(raw, 4), round(scaled, 4)) == (0.3566, 0.3493)


def pairs():
    """(3, 64, 80, 3) uint8 twice: noise, nearly the same image, smooth against noise."""
    rng = np.random.default_rng(0)
    first = rng.integers(0, 256, (3, 64, 80, 3))
    second = rng.integers(0, 256, (3, 64, 80, 3))
    second[1] = np.clip(first[1] + rng.integers(-3, 4, first[1].shape), 0, 255)
    first[2] = np.linspace(0, 255, 80)[None, :, None]
    return first.astype(np.uint8), second.astype(np.uint8)


def signed(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().float() / 127.5 - 1


def test_agrees_with_the_package_lpips_and_with_torchmetrics(net):
    """Within 1e-6, with the convolutions put into theirs by hand, name by name."""
    tensors = load_convolutions(net, download=False).tensors
    first, second = pairs()
    ours = load_lpips(net, download=False)(first, second)
    theirs = reference.LPIPS(net=net, pnet_rand=True, verbose=False).eval()
    other = torchmetrics_lpips._LPIPS(pretrained=True, net=net, pnet_rand=True).eval()
    for network in (theirs, other):
        for name, parameter in network.net.named_parameters():
            parameter.data.copy_(tensors[f"features.{name.split('.', 1)[1]}"])
        with torch.inference_mode():
            values = network(signed(first), signed(second)).flatten()
        assert ours == pytest.approx(values.tolist(), abs=1e-6)
