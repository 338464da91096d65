import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from eval import matching
from eval.families import build_family
from eval.fcn_score import confusion_matrix, scores
from eval.results import table
from eval.score import Scoring, score_folders
from eval.scorer import cityscapes
from eval.scorer.cityscapes import (
    LABEL_IDS,
    load_published_scorer,
    network_input,
    original_script_scores,
    read_train_ids,
    segment_published,
)
from eval.scorer.convert_caffemodel import main as convert
from eval.scorer.fcn8s import FCN8s
from eval.scorer.file import save_scorer
from pix2pix.common.errors import UserError


def test_the_input_is_enlarged_bilinearly_to_whole_values_then_bgr_without_the_mean():
    image = np.zeros((256, 256, 3), np.uint8)
    image[:, 1:] = (10, 60, 200)  # one black column at the left
    got = network_input(image)
    assert got.shape == (3, 1024, 2048) and got.dtype == np.float32
    # Eight columns a pixel; a column's centre lies (j + 0.5) / 8 - 0.5 pixels right of pixel 0's.
    share = np.clip((np.arange(16) + 0.5) / 8 - 0.5, 0, 1)
    for channel, (value, mean) in enumerate(((200, 72.78044), (60, 83.21195), (10, 73.45286))):
        expected = np.floor(share * value + 0.5) - np.float32(mean)
        assert got[channel, 512, :16] == pytest.approx(expected, abs=1e-4)
        assert (got[channel] == got[channel, :1]).all()  # all rows alike


def test_a_photo_of_full_size_is_not_resampled():
    image = np.random.default_rng(0).integers(0, 256, (1024, 2048, 3), np.uint8)
    restored = network_input(image).transpose(1, 2, 0) + cityscapes.MEAN_BGR
    assert np.array_equal(np.rint(restored).astype(np.uint8)[..., ::-1], image)


@pytest.fixture
def narrow(caffe, tmp_path, monkeypatch):
    """A caffemodel of width 1, converted."""
    monkeypatch.setattr(cityscapes, "WIDTH", 1)
    source = caffe.write(tmp_path / "net", caffe.published_layers())
    assert convert([str(source), "--out", str(tmp_path / "scorer.safetensors")]) == 0
    return tmp_path / "scorer.safetensors"


def test_from_a_caffemodel_to_classes_at_full_resolution(narrow):
    model = load_published_scorer(narrow)
    image = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    tf32 = torch.backends.cudnn.allow_tf32
    got = segment_published(model, image)
    assert torch.backends.cudnn.allow_tf32 == tf32
    assert got.shape == (1024, 2048) and got.dtype == np.uint8
    with torch.inference_mode():
        expected = model(torch.from_numpy(network_input(image))[None])[0]
    assert expected.shape == (20, 1024, 2048)
    assert len(np.unique(got)) > 2 and got.max() < 20
    # Another memory layout rounds otherwise: where two classes differ, they are as good as equal.
    chosen = expected.gather(0, torch.from_numpy(got.astype(np.int64))[None])[0]
    assert (expected.amax(0) - chosen).max() < 1e-3 * expected.abs().max()


def test_a_scorer_of_other_photos_or_shape_is_refused(narrow, tmp_path, monkeypatch):
    own = tmp_path / "own.safetensors"
    for source in ({}, {"dataset": "camvid", "fingerprint": "f", "size": [128, 128]}):
        save_scorer(own, FCN8s(3, 1, True, "same"), {}, ["a", "b", "c"], source)
        with pytest.raises(UserError) as refused:
            load_published_scorer(own)
        assert str(refused.value) == (
            f"{own}: not the published network (3 classes); cityscapes-fcn8s needs"
            " a file from python -m eval.scorer.convert_caffemodel"
        )
    monkeypatch.setattr(cityscapes, "WIDTH", 64)
    with pytest.raises(UserError, match=r"not the published network \(20 classes\)"):
        load_published_scorer(narrow)


def save_labels(path, *values, size=(1024, 2048)):
    labels = np.zeros(size, np.uint8)
    labels.flat[: len(values)] = values
    Image.fromarray(labels).save(path)
    return path


def test_label_ids_become_train_ids(tmp_path):
    path = save_labels(tmp_path / "bonn_000000_000019_gtFine_labelIds.png", *range(34))
    got = read_train_ids(path)
    assert got.shape == (1024, 2048) and got.dtype == np.uint8
    scored = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    assert list(LABEL_IDS.values()) == scored
    expected = [scored.index(i) if i in scored else 255 for i in range(34)]
    assert got.flat[:34].tolist() == expected and got.flat[34] == 255


def test_train_ids_are_read_as_they_are(tmp_path):
    path = save_labels(tmp_path / "a_gtFine_labelTrainIds.png", *range(19), 255)
    assert read_train_ids(path).flat[:20].tolist() == [*range(19), 255]


@pytest.mark.parametrize(
    ("name", "values", "size", "message"),
    [
        ("a_gtFine_labelIds.png", [7, 255], (1024, 2048), "class 255 is not one of the 34 classes"),
        ("a_gtFine_labelIds.png", [34], (1024, 2048), "class 34 is not one of the 34"),
        ("a_gtFine_labelTrainIds.png", [19], (1024, 2048), "class 19 is not one of the 19 classes"),
        ("a.png", [7], (1024, 2048), "must be a *_gtFine_labelIds.png or *_gtFine_labelTrainIds"),
        ("a_gtFine_color.png", [7], (1024, 2048), "must be a *_gtFine_labelIds.png"),
    ],
)
def test_other_labels_are_refused(tmp_path, name, values, size, message):
    path = save_labels(tmp_path / name, *values, size=size)
    with pytest.raises(UserError) as refused:
        read_train_ids(path)
    assert str(refused.value).startswith(f"{path}: ") and message in str(refused.value)


# The original script's own way to count, from pixels; the tested one starts from our matrices.


def by_the_original_script(pairs, n=19):
    histogram, dropped = np.zeros((n, n)), []
    for index, (truth, prediction) in enumerate(pairs):
        counted = (truth >= 0) & (truth < n)
        places = n * truth[counted].astype(int) + prediction[counted]
        counts = np.bincount(places, minlength=n * n)
        if len(counts) == n * n:
            histogram += counts.reshape(n, n)
        else:
            dropped.append(index)
    correct = np.diag(histogram)
    union = histogram.sum(1) + histogram.sum(0) - correct
    return {
        "pixel_accuracy": correct.sum() / (histogram.sum() + 1e-12),
        "class_accuracy": np.nanmean(correct / (histogram.sum(1) + 1e-12)),
        "class_iou": np.nanmean(correct / (union + 1e-12)),
        "dropped_images": dropped,
    }


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 5), st.sampled_from([1, 6, 40]), st.integers(1, 19))
def test_original_scores_are_those_of_the_original_way_to_count(seed, images, pixels, classes):
    generator = np.random.default_rng(seed)
    truth = generator.integers(19 - classes, 20, (images, pixels)).astype(np.uint8)
    truth[truth == 19] = 255
    prediction = generator.integers(0, 20, (images, pixels)).astype(np.uint8)
    pairs = list(zip(truth, prediction, strict=True))
    confusions = np.stack([confusion_matrix(guess, true, 20) for true, guess in pairs])
    got = original_script_scores(confusions)
    for name, value in by_the_original_script(pairs).items():
        assert got[name] == pytest.approx(value), name


def test_the_three_quirks_by_hand():
    confusions = np.zeros((3, 20, 20), np.int64)
    confusions[0, 0, 0] = 6
    confusions[0, 4, 19] = 2  # output 19 for class 4: counted as class 5, predicted as road
    confusions[1, 18, 18] = 5
    confusions[1, 18, 19] = 1  # drops the image
    confusions[2, 18, 18] = 2
    got = original_script_scores(confusions)
    assert got["dropped_images"] == [1] and got["misplaced_pixels"] == 2
    assert got["pixel_accuracy"] == pytest.approx(8 / 10)
    assert got["class_accuracy"] == pytest.approx((1 + 0 + 1) / 19)
    assert got["class_iou"] == pytest.approx((6 / 8 + 0 + 1) / 19)
    present = {"road", "pole", "bicycle"}
    assert set(got["absent_classes"]) == set(LABEL_IDS) - present
    ours = scores(confusions.sum(0), scored=19)
    assert ours["pixel_accuracy"] == pytest.approx(13 / 16)
    assert ours["class_accuracy"] == pytest.approx((1 + 0 + 7 / 8) / 3)
    assert ours["class_iou"] == pytest.approx((1 + 0 + 7 / 8) / 3)


def test_without_quirks_the_original_script_agrees_with_ours():
    confusion = np.zeros((20, 20), np.int64)
    confusion[:19, :19] = np.random.default_rng(0).integers(1, 100, (19, 19))
    ours, theirs = scores(confusion, scored=19), original_script_scores(confusion[None])
    assert {name: theirs[name] for name in ours} == pytest.approx(ours)
    assert theirs["dropped_images"] == theirs["absent_classes"] == []


# The protocol through score_folders, with a network of the same form but width 1.


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
        Image.fromarray(ids).save(tmp_path / "gt" / "bonn" / f"{name}{matching.LABEL_IDS}.png")
    return tmp_path


@pytest.fixture
def published():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = FCN8s(20, width=1).eval()
        torch.nn.init.normal_(model.score_pool3.weight)
    return model


def score(folders, scorer):
    scoring = Scoring(families=["fcn"], protocol="cityscapes-fcn8s", scorer=scorer)
    return score_folders(folders / "out", None, folders / "gt", scoring)


def test_labels_of_full_size_and_19_of_20_outputs(folders, published):
    results = score(folders, published)
    assert results.names == ("bonn_0", "bonn_1")
    assert results.confusion.shape == (2, 20, 20)
    assert results.confusion.sum() == 2 * (1024 - 44) * 2048
    assert [row["class"] for row in results.per_class] == list(cityscapes.CLASS_NAMES[:19])
    assert set(results.intervals) == set(results.values) and len(results.values) == 3
    found = results.original_script
    assert {f"fcn.{key}" for key in found} >= set(results.values)
    assert found["class_accuracy"] < results.values["fcn.class_accuracy"]  # 17 absent ones as 0
    assert results.settings["protocol"] == "cityscapes-fcn8s"
    printed = table(results)
    assert "the original script would print" in printed and "images it drops: 0" in printed
    assert found["misplaced_pixels"] == results.confusion[:, :, 19].sum()
    more = dataclasses.replace(results, original_script=found | {"misplaced_pixels": 77})
    assert "pixels of output 19 that it counts for another class: 77\n" in table(more)
    record = results.settings["label_maps"]
    assert record["ending"] == matching.LABEL_IDS and record["read_as"] == "Cityscapes' trainIds"
    assert record["ignored_share"] == 44 / 1024


def test_the_published_network_is_refused_without_the_protocol(published):
    with pytest.raises(UserError, match=r"published scorer .*--protocol cityscapes-fcn8s"):
        build_family("fcn", Scoring(scorer=published), True, (256, 256))


def test_labels_of_another_size_are_refused(folders, published):
    path = folders / "gt" / "bonn" / f"bonn_1{matching.LABEL_IDS}.png"
    Image.new("L", (256, 256), 7).save(path)
    with pytest.raises(UserError, match=r"must have 1024x2048 pixels .*not 256x256"):
        score(folders, published)
