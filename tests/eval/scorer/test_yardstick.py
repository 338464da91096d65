import numpy as np
import torch
from PIL import Image
from torch import nn

from eval.scorer.fcn8s import FCN8s
from eval.scorer.file import save_scorer
from eval.scorer.train import ScorerSettings
from eval.scorer.yardstick import DEGRADATIONS, EXCHANGED, exchanged_colours, main, yardstick


class Sharpness(nn.Module):
    """Class 1 where neighbouring columns differ much, else class 0: it sees nothing but detail."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, images):
        grey = images.mean(1, keepdim=True)
        change = (grey - grey.roll(1, -1)).abs()
        return torch.cat([torch.full_like(change, 0.3), change], 1)


def striped(count=60):
    photos = np.zeros((count, 32, 32, 3), np.uint8)
    photos[:, :, ::2] = 200
    return photos, np.ones((count, 32, 32), np.uint8)


def test_the_photos_come_first_and_every_degradation_is_scored():
    photos, labels = striped()
    found = yardstick(Sharpness(), photos, labels, 2)
    assert list(found) == [*DEGRADATIONS, EXCHANGED] and next(iter(found)) == "photos"
    assert found["photos"]["pixel_accuracy"] == 1.0 == found["grey"]["pixel_accuracy"]
    assert found["blur, sigma 4"]["pixel_accuracy"] < 0.05, "a scorer of detail minds blur"


def test_a_few_evenly_spaced_photos_stand_for_all():
    photos, labels = striped(320)
    photos[1::2] = 0  # every other photo is blank
    assert yardstick(Sharpness(), photos, labels, 2)["photos"]["pixel_accuracy"] == 1.0
    photos[1:] = 0
    alone = yardstick(Sharpness(), photos, labels, 2, at_most=1)
    assert alone["photos"]["pixel_accuracy"] == 1.0


def test_degradations_keep_shape_and_type():
    photo = np.random.default_rng(0).integers(0, 256, (33, 48, 3), dtype=np.uint8)
    for name, degrade in DEGRADATIONS.items():
        found = degrade(photo)
        assert found.shape == photo.shape and found.dtype == np.uint8, name
        assert (name == "photos") == np.array_equal(found, photo)


def test_colours_are_exchanged_in_a_ring_and_detail_stays():
    photos = np.zeros((1, 2, 4, 3), np.uint8)
    labels = np.array([[[0, 0, 2, 2], [0, 0, 255, 2]]], np.uint8)
    photos[labels == 0] = 90
    photos[0, 0, 0] = 100
    photos[0, 0, 1] = 80
    photos[labels == 2] = 150
    found = exchanged_colours(photos, labels, 3)
    assert found[0, 0, 0, 0] == 160 and found[0, 0, 1, 0] == 140  # the mean moves by 60
    assert found[0, 0, 2, 0] == 90 and found[0, 1, 2, 0] == 0  # back, and nothing without a label


def test_the_command_prints_a_line_per_degradation(tmp_path, capsys):
    network = FCN8s(2, width=2, batch_norm=True, padding="same")
    save_scorer(tmp_path / "s.safetensors", network, ScorerSettings(), ("a", "b"), {"dataset": "d"})
    command = ["--scorer", str(tmp_path / "s.safetensors"), "--reference", str(tmp_path)]
    for side, image in (("targets", np.zeros((40, 48, 3))), ("labels", np.ones((40, 48)))):
        (tmp_path / side).mkdir()
        Image.fromarray(image.astype(np.uint8)).save(tmp_path / side / "x.png")
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(DEGRADATIONS) and lines[1].startswith("photos ")
    Image.new("RGB", (40, 48)).save(tmp_path / "targets" / "x.png")
    assert main(command) == 2
    assert "must all have one size" in capsys.readouterr().err
    Image.new("RGB", (48, 40)).save(tmp_path / "labels" / "x.png")
    assert main(command) == 2
    assert capsys.readouterr().err.count("\n") == 1
    (tmp_path / "labels" / "x.png").unlink()
    assert main(command) == 2
    assert "targets/ and labels/ must hold the same names" in capsys.readouterr().err
