import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from eval import bootstrap, fcn_score
from eval.color import BINS, intersections
from pix2pix.common.errors import UserError


def test_two_images_have_four_equally_likely_draws():
    # Means 0, 1/2, 1/2, 1: the 2.5th and the 97.5th percentile are the ends.
    found = bootstrap.mean_intervals({"x": np.array([0.0, 1.0]), "y": np.array([3.0, 3.0])})
    assert found["x"] == pytest.approx((0, 1), abs=0.03)  # moved by the noise of 2,000 draws' mean
    assert found["y"] == (3.0, 3.0)


def test_the_mean_of_many_values_has_the_normal_interval():
    values = np.random.default_rng(1).normal(5, 2, 400)
    (low, high) = bootstrap.mean_intervals({"x": values})["x"]
    half = 1.96 * values.std(ddof=1) / np.sqrt(400)
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.1 * half)
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)


def test_an_interval_over_images_covers_the_true_mean_as_often_as_it_says(monkeypatch):
    monkeypatch.setattr(bootstrap, "RESAMPLES", 400)
    random = np.random.default_rng(0)
    samples = {str(k): random.uniform(0, 1, 40) for k in range(400)}
    found = bootstrap.mean_intervals(samples)
    covered = np.mean([low <= 0.5 <= high for low, high in found.values()])
    assert 0.91 <= covered <= 0.97  # 95 %, and a standard error of 1 % for 400 samples


def test_two_confusion_matrices_by_hand():
    # All right or all wrong; drawn both, class accuracy is (1 + 0) / 2 and IoU (1/2 + 0) / 2.
    confusion = np.array([[[4, 0], [0, 0]], [[0, 0], [4, 0]]])
    found = bootstrap.class_intervals(confusion, "fcn")
    for name in ("pixel_accuracy", "class_accuracy"):
        assert found[f"fcn.{name}"] == pytest.approx((0, 1), abs=0.03)
    # Draws of 0, 1/4 (half of them) and 1 have the mean 3/8: all are moved down by 1/8.
    assert found["fcn.class_iou"] == pytest.approx((0, 7 / 8), abs=0.03)
    both = fcn_score.scores(confusion.sum(0)[None])
    assert {name: value[0] for name, value in both.items()} == {
        "pixel_accuracy": 0.5, "class_accuracy": 0.5, "class_iou": 0.25,
    }  # fmt: skip


def test_translations_are_drawn_with_their_targets():
    counts = np.zeros((3, 3, BINS), np.int32)
    for image in range(3):
        counts[image, :, 4 * image] = 10
    assert bootstrap.color_intervals(counts, counts) == {
        f"color.{channel}": (1.0, 1.0) for channel in "Lab"
    }


def test_colour_draws_are_those_of_the_scores_own_function():
    random = np.random.default_rng(0)
    sides = random.integers(0, 9, (2, 2, 3, BINS)).astype(np.int32)
    sides[:, :, 0, 200:] = 0
    scores = [
        intersections(sides[0][list(draw)].sum(0), sides[1][list(draw)].sum(0))["a"]
        for draw in itertools.product((0, 1), repeat=2)
    ]
    low, high = bootstrap.color_intervals(*sides)["color.a"]
    # An eighth of all draws would have to be missing for another end.
    assert high - low == pytest.approx(max(scores) - min(scores))
    both = intersections(sides[0].sum(0), sides[1].sum(0))["a"]
    moved = both - np.mean(scores)
    assert moved > 0.01  # one image alone is rougher than two: the draws are biased
    assert low == pytest.approx(min(scores) + moved, abs=0.005)


def test_a_pooled_intersection_lies_in_its_interval_though_draws_are_rougher():
    random = np.random.default_rng(0)
    # Images of few colours each: no draw has all of them, so every draw intersects less.
    sides = np.zeros((2, 12, 3, BINS), np.int32)
    for side, image, channel in itertools.product(range(2), range(12), range(3)):
        sides[side, image, channel, random.integers(0, 100, 30)] = 10
    found = bootstrap.color_intervals(*sides)
    for channel, score in intersections(*sides.sum(1)).items():
        low, high = found[f"color.{channel}"]
        assert low < score < high
        assert abs((low + high) / 2 - score) < 0.2 * (high - low)


def test_one_image_has_no_interval():
    one = np.ones((1, 2, 2), np.int64)
    assert bootstrap.class_intervals(one, "fcn") == {}
    assert bootstrap.mean_intervals({"x": np.array([1.0])}) == bootstrap.mean_intervals({}) == {}
    histogram = np.ones((1, 3, BINS), np.int32)
    assert bootstrap.color_intervals(histogram, histogram) == {}
    assert "none" in bootstrap.settings(1)["method"]


def test_images_without_labels_give_draws_without_a_score():
    confusion = np.zeros((3, 2, 2), np.int64)
    assert bootstrap.class_intervals(confusion, "fcn") == {}
    confusion[0] = [[3, 1], [0, 0]]
    assert bootstrap.class_intervals(confusion, "fcn")["fcn.pixel_accuracy"] == (0.75, 0.75)


def test_later_outputs_are_wrong_but_no_class():
    confusion = np.array([[[2, 1, 1], [0, 4, 0], [0, 0, 0]]])
    found = fcn_score.scores(confusion, scored=2)
    assert found["pixel_accuracy"][0] == 6 / 8
    assert found["class_accuracy"][0] == (2 / 4 + 1) / 2
    assert found["class_iou"][0] == (2 / 4 + 4 / 5) / 2


def test_blocks_of_images_change_nothing(monkeypatch):
    confusion = np.random.default_rng(0).integers(0, 50, (30, 3, 3))
    whole = bootstrap.class_intervals(confusion, "fcn")
    monkeypatch.setattr(bootstrap, "IMAGES_AT_ONCE", 7)
    assert bootstrap.class_intervals(confusion, "fcn") == whole


matrices = hnp.arrays(np.int64, (4, 3, 3), elements=st.integers(0, 5))


@settings(max_examples=50, deadline=None)
@given(matrices)
def test_many_matrices_at_once_score_as_each_alone(confusions):
    at_once = fcn_score.scores(confusions.astype(float))
    for index, confusion in enumerate(confusions):
        for name, value in fcn_score.scores(confusion).items():
            assert at_once[name][index] == pytest.approx(value, rel=0, abs=0, nan_ok=True)


def test_clips_are_named_by_a_pattern():
    names = ("0001TP_1", "0001TP_2", "Seq05_1", "Seq05_2")
    assert bootstrap.clip_numbers(names, "[^_]+").tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("x", "does not match the name a_1"),
        (".", "all images are of one clip"),
        (".+", "every image is a clip of its own"),
    ],
)
def test_a_pattern_that_groups_nothing_or_everything_is_refused(pattern, problem):
    with pytest.raises(UserError, match=f"clip: .*{problem}"):
        bootstrap.clip_numbers(("a_1", "a_2", "a_3"), pattern)


def test_whole_clips_are_drawn():
    """Ten frames of each of four clips: as wide as four images that are the clips' means, and
    much wider than forty images."""
    clips = np.repeat(np.arange(4), 10)
    values = np.repeat([0.1, 0.3, 0.5, 0.9], 10)
    of_clips = bootstrap.mean_intervals({"x": values}, clips)["x"]
    assert of_clips == pytest.approx(bootstrap.mean_intervals({"x": values[::10]})["x"])
    low, high = bootstrap.mean_intervals({"x": values})["x"]
    assert of_clips[1] - of_clips[0] > 2 * (high - low)


def test_clips_of_unequal_length_weigh_as_their_images():
    clips = np.array([0, 0, 0, 1])
    values = np.array([1.0, 1.0, 1.0, 0.0])
    low, high = bootstrap.mean_intervals({"x": values}, clips)["x"]
    assert low <= 0.75 <= high
    assert bootstrap.by_clip(np.eye(4, dtype=int), clips).tolist() == [[1, 1, 1, 0], [0, 0, 0, 1]]


def test_the_record_says_what_was_drawn():
    assert "over 2 clips of test images" in bootstrap.settings(4, 2)["method"]
    assert bootstrap.settings(4)["method"].endswith("over test images")
