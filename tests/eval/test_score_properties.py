"""What holds for every score, whatever the images: of drawn images, through the files."""

import numpy as np
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from eval import color, fcn_score
from eval.metrics import METRICS
from eval.score import Scoring, score_folders
from eval.scorer.fcn8s import FCN8s

PALETTE = np.array([[0, 0, 170], [0, 85, 255], [255, 170, 0]], np.uint8)
SHAPE = (11, 12)
FAMILIES = ("labels", "color", "pixel")
NETWORK = FCN8s(3, width=1, batch_norm=True, padding="same").eval()  # untrained, but a network
FEW = settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

seeds = st.integers(0, 2**32 - 1)
classes = hnp.arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 1, 2, 255]))


def draw(seed, count):
    """Translations, targets and labels, from noise to flat, some of them equal."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (2, count, *SHAPE, 3), dtype=np.uint8)
    images[random.random((2, count)) < 0.3] = random.integers(0, 256)
    equal = random.random(count) < 0.3
    images[0, equal] = images[1, equal]
    labels = random.choice(np.array([0, 1, 2, 255], np.uint8), (count, *SHAPE))
    return *images, labels


def score(folder, sides, names, families=FAMILIES, workers=1):
    folders = [folder / side for side in ("t", "g", "l")]
    for place, images in zip(folders, sides, strict=True):
        place.mkdir(parents=True, exist_ok=True)
        for old in place.iterdir():
            old.unlink()
        for name, image in zip(names, images, strict=True):
            Image.fromarray(image).save(place / f"{name}.png")
    scoring = Scoring(families=families, palette=PALETTE, scorer=NETWORK)
    return score_folders(*folders, scoring, workers=workers)


@FEW
@given(seeds, st.integers(1, 4), st.sampled_from([FAMILIES, ("fcn",)]))
def test_every_score_is_within_its_range_and_its_interval_too(tmp_path, seed, count, families):
    results = score(tmp_path, draw(seed, count), range(count), families)
    assert set(results.values) | set(results.not_measured) == {
        name for name, metric in METRICS.items() if metric.family in families
    }
    for name, value in results.values.items():
        lowest, highest = METRICS[name].range
        assert lowest <= value <= highest
        low, high = results.intervals.get(name, (value, value))
        assert lowest <= low <= value <= high <= highest


@FEW
@given(seeds, st.permutations("abcd"), st.sampled_from([FAMILIES, ("fcn", "color")]))
def test_the_order_of_images_changes_nothing(tmp_path, seed, names, families):
    sides = draw(seed, 4)
    first, second = (score(tmp_path, sides, order, families) for order in ("abcd", names))
    for name, value in first.values.items():
        # Counts are exact; means are sums in another order.
        exact = not METRICS[name].per_image or METRICS[name].family in ("labels", "fcn")
        assert second.values[name] == value if exact else np.isclose(second.values[name], value)
    assert first.color_by_bin_width == second.color_by_bin_width


@settings(FEW, max_examples=2)
@given(seeds, st.integers(2, 4), st.sampled_from([("labels", "color"), ("fcn", "color")]))
@example(0, 2, ("fcn", "color"))
def test_the_number_of_workers_changes_no_bit(tmp_path, seed, workers, families):
    sides = draw(seed, 5)
    alone, shared = (score(tmp_path, sides, "abcde", families, workers=n) for n in (1, workers))
    assert alone.values == shared.values and alone.intervals == shared.intervals
    assert (alone.lab == shared.lab).all() and (alone.confusion == shared.confusion).all()


@FEW
@given(seeds)
def test_identical_images_are_perfect(tmp_path, seed):
    _, targets, labels = draw(seed, 2)
    results = score(tmp_path, (targets, targets, labels), "ab")
    # Equal shares may sum to 1 − 1e-16.
    assert np.allclose([results.values[f"color.{c}"] for c in "Lab"], 1, rtol=0, atol=1e-12)
    assert results.values["pixel.l1"] == 0 and results.values["pixel.ssim"] == 1
    assert results.values["pixel.psnr"] == METRICS["pixel.psnr"].range[1]


@given(classes, classes)
def test_swapping_prediction_and_target_transposes_the_confusion_matrix(first, second):
    labelled = (first != 255) & (second != 255)
    first, second = np.where(labelled, first, 255), np.where(labelled, second, 255)
    there = fcn_score.confusion_matrix(first, second, 3)
    back = fcn_score.confusion_matrix(second, first, 3)
    assert (back == there.T).all() and there.sum() == labelled.sum()
    one, other = fcn_score.scores(there), fcn_score.scores(back)
    for name in ("pixel_accuracy", "class_iou"):  # symmetric; class accuracy is not
        assert np.isclose(one[name], other[name], equal_nan=True)


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_the_intersection_is_symmetric_at_every_bin_width(seed):
    translations, targets, _ = draw(seed, 1)
    p, q = color.lab_histograms(translations[0]), color.lab_histograms(targets[0])
    for width in color.BIN_WIDTHS:
        assert color.intersections(p, q, width) == color.intersections(q, p, width)
    for channel in color.CHANNELS:  # bins that are joined can only share more
        found = [color.intersections(p, q, width)[channel] for width in color.BIN_WIDTHS]
        assert (np.diff(found) >= -1e-12).all()
