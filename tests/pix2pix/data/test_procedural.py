"""The embedded facades: the same bytes everywhere, all classes, many photos a label map."""

import hashlib

import numpy as np
import pytest

from pix2pix.common.errors import UserError
from pix2pix.data.facades.layout import Dice
from pix2pix.data.procedural import CLASSES, COUNTS, draw, draw_labels

NAMES = [name for name, _ in CLASSES]


@pytest.fixture(scope="module")
def labels_of_test() -> np.ndarray:
    return np.stack([draw_labels("test", index, 64) for index in range(COUNTS["test"])])


# A change here means other pixels: raise VERSION with it, or results cease to be comparable.
GOLDEN = {
    ("train", 0, 64): ("a5a14c8e235ffe8e", "d32c64bafff1888b"),
    ("train", 7, 256): ("be2f5995c11b5738", "6e704065f69bf719"),
    ("val", 31, 128): ("59cf260e0de8f1e4", "4068622431e298c6"),
    ("test", 5, 64): ("5a0efb5e95339922", "45f0f29dadcddde4"),
    ("test", 105, 100): ("c37bfad38c41c705", "f17f51d7d00f06fc"),
}


@pytest.mark.parametrize(("split", "index", "size"), list(GOLDEN))
def test_the_same_bytes_on_every_machine(split: str, index: int, size: int) -> None:
    labels, photo = draw(split, index, size)
    assert hashlib.sha256(labels.tobytes()).hexdigest()[:16] == GOLDEN[split, index, size][0]
    assert hashlib.sha256(photo.tobytes()).hexdigest()[:16] == GOLDEN[split, index, size][1]


def test_raw_words_become_the_documented_numbers() -> None:
    words = np.random.PCG64([7, 8]).random_raw(3)
    dice = Dice(7, 8)
    assert dice.between(0.0, 1.0) == int(words[0] >> 11) / 2**53
    assert dice.pick(range(5, 15)) == 5 + int(words[1]) * 10 // 2**64
    assert dice.table(1)[0] == int(words[2] >> 40) / 2**24


def test_pick_follows_its_weights_and_a_fork_leaves_the_stream_alone() -> None:
    dice = Dice(1, 2, 3)
    picked = [dice.pick({"a": 0.2, "b": 0.0, "c": 0.6}) for _ in range(4000)]
    assert "b" not in picked
    assert abs(picked.count("a") / 4000 - 0.25) < 0.03
    short, long = Dice(4), Dice(4)
    short.fork().table(1)
    long.fork().table(100)
    assert short.between(0.0, 1.0) == long.between(0.0, 1.0)


@pytest.mark.parametrize("size", [32, 64, 100, 129])
def test_shapes_types_and_classes_at_any_size(size: int) -> None:
    for index in range(12):
        labels, photo = draw("val", index, size)
        assert labels.shape == (size, size) and labels.dtype == np.uint8
        assert photo.shape == (size, size, 3) and photo.dtype == np.uint8
        assert labels.max() < len(CLASSES)


def test_every_class_occurs_regularly(labels_of_test: np.ndarray) -> None:
    present = {name: (labels_of_test == k).any(axis=(1, 2)).mean() for k, name in enumerate(NAMES)}
    for name in ("background", "facade", "window"):
        assert present.pop(name) > 0.97, name
    for name, share in present.items():
        assert share >= 0.25, name


def test_no_class_is_a_few_stray_pixels(labels_of_test: np.ndarray) -> None:
    shares = np.bincount(labels_of_test.ravel(), minlength=len(CLASSES)) / labels_of_test.size
    assert (shares > 0.005).all()
    assert 0.1 < shares[NAMES.index("background")] < 0.4
    assert shares[NAMES.index("facade")] > 0.25


def test_elements_stand_where_they_belong(labels_of_test: np.ndarray) -> None:
    rows = np.broadcast_to(np.arange(64)[None, :, None], labels_of_test.shape)
    middle = {name: rows[labels_of_test == k].mean() for k, name in enumerate(NAMES)}
    assert middle["door"] > 48 and middle["shop"] > 48
    assert middle["window"] < 40 and middle["balcony"] < 40
    assert middle["cornice"] < middle["window"] < middle["sill"] + 10


def test_splits_hold_every_class_and_no_facade_twice() -> None:
    drawn = {
        split: np.stack([draw_labels(split, index, 32) for index in range(count)])
        for split, count in COUNTS.items()
    }
    for labels in drawn.values():
        assert np.array_equal(np.unique(labels), np.arange(len(CLASSES)))
    layouts = {labels.tobytes() for split in drawn.values() for labels in split}
    assert len(layouts) == sum(COUNTS.values())


def test_a_facade_is_the_same_at_every_size() -> None:
    same, other = [], []
    for index in range(8):
        small, small_photo = draw("train", index, 64)
        large, large_photo = draw("train", index, 256)
        assert (large[2::4, 2::4] == small).mean() > 0.85
        shrunk = large_photo.reshape(64, 4, 64, 4, 3).mean(axis=(1, 3))
        same.append(np.abs(shrunk - small_photo).mean())
        other.append(np.abs(shrunk - draw("train", index, 64, appearance=1)[1]).mean())
    assert np.mean(same) < 0.5 * np.mean(other)


def test_appearance_leaves_the_labels_and_changes_the_photo_inside_the_facade() -> None:
    """An L1 regressor draws the mean of these photos: it must be far from each of them."""
    for index in range(5):
        drawn = [draw("test", index, 64, appearance) for appearance in range(8)]
        labels = drawn[0][0]
        assert all(np.array_equal(labels, other) for other, _ in drawn)
        photos = np.stack([photo for _, photo in drawn]).astype(np.float64)
        for name in ("facade", "window"):
            inside = photos[:, labels == NAMES.index(name)]  # (appearances, pixels, 3)
            assert inside.std(axis=0).mean() > 28, (index, name)
            # Not only brighter or darker as a whole: the pattern within the class moves too.
            pattern = inside - inside.mean(axis=1, keepdims=True)
            assert pattern.std(axis=0).mean() > 12, (index, name)


def test_a_photo_has_depth_and_texture() -> None:
    """Flat painting by numbers would have next to no detail within the wall."""
    for index in range(5):
        labels, photo = draw("val", index, 128)
        wall = labels == NAMES.index("facade")
        inside = wall[1:, 1:] & wall[:-1, 1:] & wall[1:, :-1]
        grey = photo.astype(np.float64).mean(axis=2)
        steps = np.abs(np.diff(grey, axis=0)[:, 1:]) + np.abs(np.diff(grey, axis=1)[1:])
        assert steps[inside].mean() > 4
        assert 45 < grey[wall].mean() < 225


def test_photos_edges_lie_on_the_labels_edges() -> None:
    aligned, shifted = [], []
    for index in range(10):
        labels, photo = draw("train", index, 128)
        grey = photo.astype(np.float64).mean(axis=2)
        step = np.abs(np.diff(grey, axis=1))
        edge = labels[:, 1:] != labels[:, :-1]
        aligned.append(step[edge].mean())
        shifted.append(step[:, 3:][edge[:, :-3]].mean())
    assert np.mean(aligned) > 1.5 * np.mean(shifted)


def test_classes_are_those_of_the_cmp_facades() -> None:
    assert NAMES == [
        "background",
        "facade",
        "window",
        "door",
        "cornice",
        "sill",
        "balcony",
        "blind",
        "deco",
        "molding",
        "pillar",
        "shop",
    ]
    assert dict(CLASSES)["facade"] == (0, 0, 255)
    assert len({rgb for _, rgb in CLASSES}) == 12


def test_a_size_that_is_too_small_is_named() -> None:
    with pytest.raises(UserError, match="size must be at least 32"):
        draw("test", 0, 16)
