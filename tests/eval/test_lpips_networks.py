"""All three networks of LPIPS, against torchmetrics' implementation and against altered packages.

Random weights stand in for ImageNet's: torchvision would load them from the same file.
"""

import shutil
import sys
from pathlib import Path

import lpips
import numpy as np
import pytest
import torch
import torchvision
from backbones import publish
from torchmetrics.functional.image.lpips import learned_perceptual_image_patch_similarity

from eval.families import Scoring, build_family
from eval.lpips import HEADS, SMALLEST, load_lpips
from pix2pix.common.errors import NotMeasured
from pix2pix.common.files import file_sha256
from pix2pix.data.backbones import BACKBONES, load_convolutions

NETWORKS = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}


def backbone_state(net: str) -> dict[str, torch.Tensor]:
    """Weights under which activations keep their size, as ImageNet's do.

    The classifier is of no use here: zeros that take no room in the file.
    """
    generator = torch.Generator().manual_seed(3)
    with torch.device("meta"):
        shapes = getattr(torchvision.models, NETWORKS[net])(weights=None).state_dict()
    state = {}
    for name, tensor in shapes.items():
        if not name.startswith("features"):
            state[name] = torch.zeros(1).expand(tensor.shape)
        elif tensor.ndim == 4:
            scale = (2 / tensor[0].numel()) ** 0.5
            state[name] = torch.randn(tensor.shape, generator=generator) * scale
        else:
            state[name] = torch.randn(tensor.shape, generator=generator) * 0.1
    return state


@pytest.fixture(scope="module", params=NETWORKS)
def hub(request, tmp_path_factory):
    """(net, a torch hub's folder with its backbone, the backbone's file)."""
    home = tmp_path_factory.mktemp(request.param)
    file = home / "hub" / "checkpoints" / BACKBONES[request.param].file
    file.parent.mkdir(parents=True)
    torch.save(backbone_state(request.param), file)
    return request.param, home, file


@pytest.fixture
def distance(hub, monkeypatch):
    net, _, file = hub
    publish(monkeypatch, net, file)
    return load_lpips(net, file, download=False)


def pairs(height=48, width=64):
    """(4, H, W, 3) uint8 twice: unlike, nearly alike, flat against noise, bright against dark."""
    rng = np.random.default_rng(0)
    first = rng.integers(0, 256, (4, height, width, 3))
    second = rng.integers(0, 256, (4, height, width, 3))
    second[1] = np.clip(first[1] + rng.integers(-3, 4, first[1].shape), 0, 255)
    first[2] = 127
    first[3], second[3] = 255, 0
    return first.astype(np.uint8), second.astype(np.uint8)


def signed(image):
    """(H, W, 3) uint8 to (1, 3, H, W) float in [-1, 1], contiguous as PyTorch has images."""
    return torch.from_numpy(image[None]).permute(0, 3, 1, 2).contiguous().float() / 127.5 - 1


def test_agrees_with_torchmetrics_on_the_same_backbone(hub, distance, monkeypatch):
    """In one memory layout; another moves the distance of nearly equal images by 1e-5 of it."""
    net, home, _ = hub
    monkeypatch.setenv("TORCH_HOME", str(home))
    first, second = pairs()
    with torch.random.fork_rng():
        theirs = [
            learned_perceptual_image_patch_similarity(signed(a), signed(b), net_type=net).item()
            for a, b in zip(first, second, strict=True)
        ]
    assert min(theirs) > 0 and len(set(theirs)) == 4
    assert distance(first, second) == pytest.approx(theirs, rel=1e-6)


def test_identical_images_are_at_distance_zero(distance):
    images, _ = pairs()
    assert distance(images, images).tolist() == [0, 0, 0, 0]


def test_the_smallest_size_is_the_smallest_that_the_network_takes(hub, distance):
    side = SMALLEST[hub[0]]
    first, second = pairs(side, side)
    assert (distance(first, second) > 0).all()
    with pytest.raises(ValueError, match=f"LPIPS .{hub[0]}. needs {side} pixels per side"):
        distance(first[:, 1:], second[:, 1:])
    with pytest.raises(RuntimeError, match=r"[Oo]utput size"):
        distance._network(*(torch.zeros(1, 3, side - 1, side) for _ in range(2)))


def test_the_scores_settings_name_network_version_and_weights(hub, distance):
    settings = build_family("lpips", Scoring(lpips=distance), False, (64, 64)).settings
    assert settings["net"] == hub[0] and settings["version"] == "0.1"
    assert settings["backbone_digest"] == load_convolutions(hub[0], hub[2]).digest


def test_the_installed_packages_heads_are_the_published_ones():
    for net, backbone in BACKBONES.items():
        file = Path(lpips.__file__).parent / "weights" / "v0.1" / f"{net}.pth"
        assert file_sha256(file) == HEADS[net]
        assert backbone.sha256.startswith(Path(backbone.file).stem.rpartition("-")[2])
        assert len(backbone.sha256) == 64


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package lpips that is imported in its place, free to be altered."""
    copy = tmp_path / "lpips"
    shutil.copytree(Path(lpips.__file__).parent, copy)
    for name in [name for name in sys.modules if name.partition(".")[0] == "lpips"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    return copy


def lose_a_head(package):
    file = package / "weights" / "v0.1" / "squeeze.pth"
    state = torch.load(file, map_location="cpu", weights_only=True)
    del state["lin2.model.1.weight"]
    torch.save(state, file)


def never_load_the_heads(package):
    code = (package / "lpips.py").read_text()
    altered = code.replace("self.load_state_dict(", "dict(a=")
    assert altered != code
    (package / "lpips.py").write_text(altered)


def rename_a_head(package):
    code = (package / "lpips.py").read_text()
    altered = code.replace("self.lin6", "self.line6")
    assert altered != code
    (package / "lpips.py").write_text(altered)


ALTERED = {
    lose_a_head: r"squeeze.pth: not the heads of lpips 0.1.4 \(sha256 is [0-9a-f]{64}\)",
    never_load_the_heads: r"squeeze.pth: head lin\d.model.1.weight was not loaded; reinstall lpips",
    rename_a_head: "squeeze.pth: 7 heads for the 6 of the package lpips",
}


@pytest.mark.parametrize("alter", ALTERED, ids=lambda f: f.__name__)
def test_a_head_that_is_not_loaded_is_noticed(package, tmp_path, monkeypatch, alter):
    """lpips itself says nothing: it loads its heads with strict=False."""
    file = tmp_path / "squeeze.pth"
    torch.save(backbone_state("squeeze"), file)
    publish(monkeypatch, "squeeze", file)
    alter(package)
    with pytest.raises(NotMeasured, match=ALTERED[alter]):
        load_lpips("squeeze", file)
    assert sys.modules["lpips"].__file__ == str(package / "__init__.py"), "the copy was imported"
