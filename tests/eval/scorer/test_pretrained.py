"""The scorer on VGG16's features; skipped where its weights are not on this machine."""

import numpy as np
import pytest
import torch
from backbones import use_this_machines

from eval.scorer.file import load_scorer, save_scorer
from eval.scorer.pretrained import HeadSettings, train_heads
from eval.scorer.train import segment
from pix2pix.common.errors import UserError

SETTINGS = HeadSettings(photos=12, batches=60, batch=4)


@pytest.fixture
def weights(monkeypatch):
    use_this_machines(monkeypatch, "vgg")


def streets(count=12, size=64):
    """Photos of two textures with a border that moves, and their labels; a row is ignored."""
    rng = np.random.default_rng(0)
    photos = rng.integers(0, 60, (count, size, size, 3))
    labels = np.zeros((count, size, size), np.uint8)
    for index in range(count):
        border = size // 4 + (index * 8) % (size // 2)
        photos[index, border:] = 150 + 80 * (np.arange(size) // 8 % 2)[None, :, None]
        labels[index, border:] = 1
    labels[:, 0] = 255
    return photos.astype(np.uint8), labels


def test_it_learns_two_textures_and_scores_every_size(weights):
    photos, labels = streets()
    model = train_heads(photos, labels, 2, SETTINGS)
    known = labels != 255
    assert (segment(model, photos) == labels)[known].mean() > 0.9
    assert segment(model, photos[:, :40, :50]).shape == (12, 40, 50)


def test_photos_held_out_are_not_trained_on(weights):
    photos, labels = streets()
    held = np.arange(0, 12, 2)
    spoilt = labels.copy()
    spoilt[held] = 1 - np.minimum(spoilt[held], 1)
    first = train_heads(photos, labels, 2, SETTINGS, held_out=held).state_dict()
    second = train_heads(photos, spoilt, 2, SETTINGS, held_out=held).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_training_is_repeatable_and_leaves_the_random_state_alone(weights):
    photos, labels = streets()
    before = torch.get_rng_state()
    first, second = (train_heads(photos, labels, 2, SETTINGS).state_dict() for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_file_holds_the_heads_alone_and_restores_the_scorer(weights, tmp_path):
    photos, labels = streets()
    model = train_heads(photos, labels, 2, SETTINGS)
    save_scorer(tmp_path / "s.safetensors", model, SETTINGS, ("sky", "road"), {"dataset": "d"})
    assert (tmp_path / "s.safetensors").stat().st_size < 100_000
    loaded, record = load_scorer(tmp_path / "s.safetensors")
    assert record["network"]["pretrained"] == "vgg16"
    assert (segment(loaded, photos) == segment(model, photos)).all()


def test_without_the_weights_its_file_cannot_be_used(weights, tmp_path, monkeypatch):
    photos, labels = streets()
    model = train_heads(photos, labels, 2, SETTINGS)
    save_scorer(tmp_path / "s.safetensors", model, SETTINGS, ("sky", "road"), {"dataset": "d"})
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"scorer use VGG16: .*eval\.backbones --help"):
        load_scorer(tmp_path / "s.safetensors")


def test_unlabelled_photos_are_refused(weights):
    photos, labels = streets()
    with pytest.raises(UserError, match="no pixel is labelled"):
        train_heads(photos, np.full_like(labels, 255), 2, SETTINGS)
