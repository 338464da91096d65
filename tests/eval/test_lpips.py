from pathlib import Path

import numpy as np
import pytest
import torch
from backbones import alexnet, publish
from torchvision.models import squeezenet1_1

from eval.lpips import load_lpips
from pix2pix.common.errors import NotMeasured, UserError

# Random weights stand in for ImageNet's: they are found, verified and loaded in the same way.


def squeezenet_state() -> dict[str, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return squeezenet1_1(weights=None).state_dict()


@pytest.fixture
def file(tmp_path, monkeypatch):
    path = tmp_path / "alexnet.pth"
    torch.save(alexnet(), path)
    publish(monkeypatch, "alex", path)
    return path


@pytest.fixture
def distance(file):
    return load_lpips("alex", file, download=False)


def images(count: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 48, 40, 3), dtype=np.uint8)


def test_identical_images_are_at_distance_zero(distance):
    assert distance(images(), images()).tolist() == [0, 0]


def test_is_symmetric_and_grows_with_noise(distance):
    clean = np.clip(images(), 60, 190)
    noise = np.random.default_rng(1).normal(0, 1, clean.shape)
    little, much = (np.clip(clean + noise * s, 0, 255).astype(np.uint8) for s in (5, 40))
    near, far = distance(little, clean), distance(much, clean)
    assert (near > 0).all() and (far > near).all()
    assert distance(clean, much) == pytest.approx(far, rel=1e-5)


def test_an_images_distance_does_not_depend_on_the_others(distance):
    first, second = images(3, 0), images(3, 1)
    together = distance(first, second)
    assert together.tolist() == [distance(first[i : i + 1], second[i : i + 1])[0] for i in range(3)]


def test_the_weights_in_the_file_are_the_ones_that_count(distance, tmp_path, monkeypatch):
    torch.save(alexnet(seed=1), tmp_path / "other.pth")
    publish(monkeypatch, "alex", tmp_path / "other.pth")
    other = load_lpips("alex", tmp_path / "other.pth")
    first, second = images(1, 0), images(1, 1)
    assert other(first, second)[0] != pytest.approx(distance(first, second)[0], rel=1e-3)


def test_loading_leaves_the_random_state_alone(file):
    before = torch.get_rng_state()
    load_lpips("alex", file)
    assert torch.equal(before, torch.get_rng_state())


def test_without_weights_it_is_not_measured():
    with pytest.raises(NotMeasured, match="python -m eval"):
        load_lpips("alex", download=False)
    with pytest.raises(UserError, match="no such file"):
        load_lpips("alex", Path("absent.pth"))


def test_other_networks_by_name(tmp_path, monkeypatch):
    torch.save(squeezenet_state(), tmp_path / "squeeze.pth")
    publish(monkeypatch, "squeeze", tmp_path / "squeeze.pth")
    squeeze = load_lpips("squeeze", tmp_path / "squeeze.pth")
    assert squeeze(images(), images()).tolist() == [0, 0]
    assert squeeze(images(1), images(1, 1))[0] > 0


def test_refuses_images_that_do_not_fit(distance):
    with pytest.raises(ValueError, match="31 pixels"):
        distance(images()[:, :30], images()[:, :30])
    with pytest.raises(ValueError, match="must both be"):
        distance(images(2), images(1))
    with pytest.raises(ValueError, match="uint8"):
        distance(images() / 255, images() / 255)
