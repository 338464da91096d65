import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval.color import COUNTED_WIDTH, histogram_intersection, lab_histograms, merged
from eval.fcn_score import confusion_matrix, scores
from eval.metrics import of_family
from eval.pixel import l1, ssim
from eval.score import Scoring, score_folders
from eval.scorer.fcn8s import FCN8s
from eval.scorer.train import segment
from pix2pix.common.errors import NotMeasured, UserError

PALETTE = np.array([[0, 0, 170], [0, 85, 255], [255, 170, 0]], np.uint8)
EVERYTHING = ("fcn", "lpips", "color", "pixel")


class Folders:
    """Four images of 16×20 with targets and labels of three classes, and what is in them."""

    def __init__(self, root: Path) -> None:
        generator = np.random.default_rng(0)
        self.translations, self.targets, self.labels = root / "t", root / "g", root / "l"
        self.out = root / "out"
        self.names = ("a", "b", "c", "d")
        shape = (4, 16, 20, 3)
        self.images = generator.integers(0, 256, shape, dtype=np.uint8)
        noise = generator.integers(-30, 30, shape)
        self.truth = np.clip(self.images + noise, 0, 255).astype(np.uint8)
        self.classes = generator.integers(0, 3, shape[:3]).astype(np.uint8)
        self.classes[:, :3] = 255
        for folder, arrays in (
            (self.translations, self.images),
            (self.targets, self.truth),
            (self.labels, self.classes),
        ):
            folder.mkdir()
            for name, array in zip(self.names, arrays, strict=True):
                Image.fromarray(array).save(folder / f"{name}.png")

    def score(self, workers=1, progress=None, **options):
        folders = (self.translations, self.targets, self.labels)
        return score_folders(*folders, Scoring(**options), workers=workers, progress=progress)


@pytest.fixture
def folders(tmp_path):
    return Folders(tmp_path)


@pytest.fixture(scope="module")
def scorer():
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = FCN8s(3, width=2, batch_norm=True, padding="same")
        # Scores start at zero; without this every pixel would be class 0.
        torch.nn.init.normal_(network.score_pool3.weight)
    return network.eval()


def distance(translations, targets):
    return np.abs(translations.astype(float) - targets).mean((1, 2, 3)) / 100


def test_each_score_is_what_its_function_says(folders, scorer):
    results = folders.score(families=EVERYTHING, scorer=scorer, lpips=distance)
    assert set(results.values) == {name for family in EVERYTHING for name in of_family(family)}
    assert results.not_measured == {}

    predicted = np.concatenate([segment(scorer, image[None]) for image in folders.images])
    expected = scores(confusion_matrix(predicted, folders.classes, 3))
    assert {k: results.values[f"fcn.{k}"] for k in expected} == expected
    assert results.values["fcn.class_iou"] > 0
    pooled = [sum(lab_histograms(i) for i in images) for images in (folders.images, folders.truth)]
    units = [merged(counts)[2] for counts in pooled]
    assert results.values["color.b"] == histogram_intersection(*units)
    assert results.color_by_bin_width["1"] == {
        name: results.values[name] for name in of_family("color")
    }
    halves = histogram_intersection(pooled[0][2], pooled[1][2])
    assert results.color_by_bin_width["0.5"]["color.b"] == halves < results.values["color.b"]
    pairs = list(zip(folders.images, folders.truth, strict=True))
    assert results.values["pixel.l1"] == np.mean([l1(*pair) for pair in pairs])
    assert results.values["pixel.ssim"] == np.mean([ssim(*pair) for pair in pairs])
    assert results.values["lpips"] == distance(folders.images, folders.truth).mean()


def test_keeps_every_images_own_values(folders, scorer):
    results = folders.score(families=EVERYTHING, scorer=scorer, lpips=distance)
    assert results.names == folders.names
    assert set(results.per_image) == {
        "fcn.pixel_accuracy", "lpips", "pixel.l1", "pixel.psnr", "pixel.ssim",
    }  # fmt: skip
    assert results.confusion.shape == (4, 3, 3) and results.confusion.sum() == 4 * 13 * 20
    assert scores(results.confusion.sum(0))["class_iou"] == results.values["fcn.class_iou"]
    assert (results.lab[2] == lab_histograms(folders.images[2])).all()
    assert (results.lab_targets[3] == lab_histograms(folders.truth[3])).all()
    assert set(results.intervals) == set(results.values)
    assert all(low <= high for low, high in results.intervals.values())


def test_real_photos_scored_against_themselves_are_perfect(folders, scorer):
    scoring = Scoring(families=EVERYTHING, scorer=scorer, lpips=distance)
    results = score_folders(folders.targets, folders.targets, folders.labels, scoring)
    best = {"lpips": 0, "color.L": 1, "color.a": 1, "color.b": 1, "pixel.l1": 0, "pixel.ssim": 1}
    assert {name: results.values[name] for name in best} == pytest.approx(best)
    assert results.values["pixel.psnr"] == 100


def test_painted_label_maps_are_scored_by_nearest_colour(folders):
    wrong = folders.classes.copy()
    wrong[wrong == 2] = 0
    wrong[wrong == 255] = 1
    for name, array in zip(folders.names, wrong, strict=True):
        Image.fromarray(PALETTE[array]).save(folders.translations / f"{name}.png")
    results = folders.score(families=["labels"], palette=PALETTE)
    right = (folders.classes < 2).sum() / (folders.classes < 255).sum()
    assert results.values["labels.pixel_accuracy"] == pytest.approx(right)
    assert results.values["labels.class_accuracy"] == pytest.approx(2 / 3)
    assert results.confusion.shape == (4, 3, 3)


def test_every_score_without_a_value_has_a_reason(folders):
    absent = NotMeasured("no weights; get them")
    results = folders.score(families=("fcn", "lpips", "labels")[:2], lpips=absent)
    assert results.values == {}
    assert results.not_measured["lpips"] == "no weights; get them"
    assert results.not_measured["fcn.class_iou"] == "no scorer was given"
    results = score_folders(
        folders.translations, folders.targets, None, Scoring(families=["labels"])
    )
    assert set(results.not_measured.values()) == {"the data set has no labels"}


def test_images_below_ssims_window_have_no_ssim(folders):
    for folder in (folders.translations, folders.targets):
        for name in folders.names:
            Image.new("RGB", (30, 10)).save(folder / f"{name}.png")
    results = score_folders(
        folders.translations, folders.targets, None, Scoring(families=["pixel"])
    )
    assert "below 11" in results.not_measured["pixel.ssim"]
    assert set(results.values) == {"pixel.l1", "pixel.psnr"} == set(results.per_image)


def test_labels_that_are_all_ignored_give_no_score_and_valid_json(folders, scorer):
    for name in folders.names:
        Image.new("L", (20, 16), 255).save(folders.labels / f"{name}.png")
    results = folders.score(families=["fcn"], scorer=scorer)
    assert results.values == {}
    assert set(results.not_measured.values()) == {"no pixel is labelled"}
    results.write(folders.out)
    assert json.loads((folders.out / "scores.json").read_text())["values"] == {}
    assert (folders.out / "per_image.csv").read_text().splitlines()[1] == "a,"


def test_writes_the_record(folders, scorer):
    results = folders.score(families=EVERYTHING, scorer=scorer, lpips=NotMeasured("no network"))
    results.write(folders.out)
    record = json.loads((folders.out / "scores.json").read_text())
    assert record["values"] == results.values
    assert record["not_measured"] == {"lpips": "no network"}
    assert record["settings"]["images"] == 4 and record["settings"]["fcn"]["width"] == 2
    with np.load(folders.out / "per_image.npz", allow_pickle=False) as arrays:
        assert arrays["names"].tolist() == list(folders.names)
        assert (arrays["confusion"] == results.confusion).all()
        assert (arrays["lab"] == results.lab).all() and arrays["lab"].dtype == np.int32
        assert (arrays["lab_targets"] == results.lab_targets).all()
        assert arrays["lab_bin_width"] == COUNTED_WIDTH
        assert (arrays["values/pixel.l1"] == results.per_image["pixel.l1"]).all()
    assert record["intervals_over_images"] == {k: list(v) for k, v in results.intervals.items()}
    assert [row["class"] for row in record["per_class"]] == ["0", "1", "2"]
    assert record["settings"]["formats"]["targets"] == {"PNG": 4}
    with open(folders.out / "per_image.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == list(folders.names)
    for column, values in results.per_image.items():
        assert [float(row[column]) for row in rows] == values.tolist()
    assert len(list(folders.out.iterdir())) == 3


def color_and_pixel(folders, **options):
    return folders.score(families=["fcn", "lpips", "color", "pixel"], lpips=distance, **options)


def test_the_number_of_workers_changes_no_bit(folders, scorer):
    alone = color_and_pixel(folders, scorer=scorer)
    calls = []
    shared = color_and_pixel(
        folders, scorer=scorer, workers=2, progress=lambda *done: calls.append(done)
    )
    assert alone.values == shared.values and alone.intervals == shared.intervals
    assert alone.settings == shared.settings
    for name, column in alone.per_image.items():
        assert (column == shared.per_image[name]).all()
    assert (alone.confusion == shared.confusion).all() and (alone.lab == shared.lab).all()
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_damaged_image_is_named_by_a_worker_too(folders):
    truncate(folders)
    with pytest.raises(UserError, match=r"d\.png: is damaged or cut off"):
        folders.score(families=["pixel"], workers=2)


class Fatal:
    """A distance whose process is gone at once."""

    def __call__(self, translations, targets):
        os._exit(1)


def test_a_worker_that_dies_is_one_line(folders):
    with pytest.raises(UserError, match=r"worker process died.*--workers"):
        folders.score(families=["lpips"], lpips=Fatal(), workers=2)


def test_scoring_again_gives_the_same_to_the_last_digit(folders, scorer):
    first, second = (folders.score(families=["fcn", "color", "pixel"], scorer=scorer) for _ in "12")
    assert first.values == second.values


def remove(folders):
    (folders.targets / "b.png").unlink()


def resize(folders):
    Image.new("RGB", (16, 20)).save(folders.targets / "c.png")


def truncate(folders):
    path = folders.translations / "d.png"
    path.write_bytes(path.read_bytes()[:-300])


def clear(folders):
    path = folders.translations / "a.png"
    image = Image.open(path)
    image.putalpha(9)
    image.save(path)


def unlabelled(folders):
    (folders.labels / "a.png").unlink()


def beyond(folders):
    Image.new("L", (20, 16), 3).save(folders.labels / "b.png")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove, r"unmatched images: 1 only in .*\(b\)"),
        (resize, r"c\.png: must have 16x20 pixels .*not 20x16"),
        (truncate, r"d\.png: is damaged or cut off"),
        (clear, r"a\.png: has transparent pixels"),
        (unlabelled, r"unmatched images: 1 only in .*\(a\)"),
        (beyond, r"b\.png: class 3 is not one of the 3 classes"),
    ],
)
def test_refuses_what_cannot_be_scored(folders, scorer, spoil, message):
    spoil(folders)
    with pytest.raises(UserError, match=message):
        folders.score(families=["fcn"], scorer=scorer)


def test_translations_are_photos_or_label_maps(folders):
    with pytest.raises(ValueError, match="photos"):
        folders.score(families=["fcn", "labels"])
