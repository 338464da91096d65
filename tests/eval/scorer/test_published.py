"""The published protocol through score_folders, with a network of the same form but width 1."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from eval.matching import LABEL_IDS, TRAIN_IDS
from eval.printed import table
from eval.ready import ready_family
from eval.score import score_folders
from eval.scorer.fcn8s import FCN8s
from eval.scorer.file import save_scorer, weights_sha256
from eval.scorer.published import PublishedProtocol, load_protocol, published_class_names
from eval.scorer.train import ScorerSettings
from pix2pix.common.errors import ScoringError

cityscapes = pytest.importorskip("eval.scorer.cityscapes")


@pytest.fixture
def folders(tmp_path):
    """Two photos of 256×256, and the label ids of road and sky at 1024×2048."""
    random = np.random.default_rng(0)
    (tmp_path / "out").mkdir()
    (tmp_path / "gt" / "bonn").mkdir(parents=True)
    ids = np.full((1024, 2048), 7, np.uint8)
    ids[:256], ids[256:300] = 23, 0
    for name in ("bonn_0", "bonn_1"):
        photo = random.integers(0, 256, (256, 256, 3), dtype=np.uint8)
        Image.fromarray(photo).save(tmp_path / "out" / f"{name}_leftImg8bit_fake_B.png")
        Image.fromarray(photo).save(tmp_path / "out" / f"{name}_leftImg8bit_real_B.png")
        Image.fromarray(ids).save(tmp_path / "gt" / "bonn" / f"{name}{LABEL_IDS}.png")
    return tmp_path


@pytest.fixture
def protocol():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = FCN8s(20, width=1).eval()
        torch.nn.init.normal_(model.score_pool3.weight)
    return PublishedProtocol("cityscapes-fcn8s", model, weights_sha256(model), cityscapes.SIZE)


def score(folders, protocol, **options):
    return score_folders(
        folders / "out",
        None,
        folders / "gt",
        families=["fcn"],
        protocol=protocol,
        label_endings=(LABEL_IDS, TRAIN_IDS),
        class_names=published_class_names(),
        **options,
    )


def test_labels_of_full_size_and_19_of_20_outputs(folders, protocol):
    sheet = score(folders, protocol)
    assert sheet.names == ("bonn_0", "bonn_1")
    assert sheet.confusion.shape == (2, 20, 20)
    assert sheet.confusion.sum() == 2 * (1024 - 44) * 2048
    assert [row["class"] for row in sheet.per_class] == list(cityscapes.CLASS_NAMES[:19])
    assert set(sheet.intervals) == set(sheet.values) and len(sheet.values) == 3
    found = sheet.original_script
    assert {f"fcn.{key}" for key in found} >= set(sheet.values)
    assert found["class_accuracy"] < sheet.values["fcn.class_accuracy"]  # 17 absent ones as 0
    assert sheet.settings["protocol"] == "cityscapes-fcn8s"
    printed = table(sheet)
    assert "the original script would print" in printed and "images it drops: 0" in printed
    assert found["misplaced_pixels"] == sheet.confusion[:, :, 19].sum()
    more = dataclasses.replace(sheet, original_script=found | {"misplaced_pixels": 77})
    assert "pixels of output 19 that it moves to another class: 77\n" in table(more)
    told = sheet.settings["label_maps"]
    assert told["ending"] == LABEL_IDS and told["read_as"] == "Cityscapes' trainIds"
    assert told["ignored_share"] == 44 / 1024


def test_a_published_network_is_not_fed_as_an_own_scorer(protocol):
    with pytest.raises(ScoringError, match="the published one, which only the protocol"):
        ready_family("fcn", True, protocol.model, None, None, None, (256, 256))


def test_labels_of_another_size_are_refused(folders, protocol):
    path = folders / "gt" / "bonn" / f"bonn_1{LABEL_IDS}.png"
    Image.new("L", (256, 256), 7).save(path)
    with pytest.raises(ScoringError, match=r"must have 1024x2048 pixels, not 256x256"):
        score(folders, protocol)


def test_a_scorer_that_was_not_converted_is_refused(tmp_path):
    path = tmp_path / "own.safetensors"
    model = FCN8s(2, width=1, batch_norm=True, padding="same")
    save_scorer(path, model, ScorerSettings(width=1), ["a", "b"], "own")
    with pytest.raises(ScoringError, match=r"own\.safetensors"):
        load_protocol("cityscapes-fcn8s", path)
