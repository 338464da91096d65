import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.color import rgb2lab

from eval.color import (
    BIN_WIDTHS,
    BINS,
    CHANNELS,
    COUNTED_WIDTH,
    histogram_intersection,
    intersections,
    lab_histograms,
    merged,
)

ENDS = {"L": (0, 100), "a": (-110, 110), "b": (-110, 110)}


def test_two_pixels_by_hand():
    # sRGB red is Lab (53.24, 80.09, 67.20) and black is (0, 0, 0) under D65.
    histograms = lab_histograms(np.array([[[255, 0, 0], [0, 0, 0]]], np.uint8))
    assert histograms.shape == (3, BINS) and histograms.dtype == np.int32
    assert np.flatnonzero(histograms[0]).tolist() == [0, 106]
    assert np.flatnonzero(histograms[1]).tolist() == [220, 380]
    assert np.flatnonzero(histograms[2]).tolist() == [220, 354]
    assert histograms.max() == 1
    units = merged(histograms)
    assert [np.flatnonzero(row).tolist() for row in units] == [[0, 53], [110, 190], [110, 177]]


def test_intersections_of_two_pixels_by_hand_at_every_bin_width():
    # Greys 8 and 10 have L 2.16 and 2.70 (a linear piece: 903.3 Y); a and b lie at 0.
    both = [lab_histograms(np.full((1, 2, 3), level, np.uint8)) for level in (8, 10)]
    found = {width: intersections(*both, width) for width in BIN_WIDTHS}
    assert [found[width]["L"] for width in BIN_WIDTHS] == [0, 1, 1, 1]
    assert all(found[width]["a"] == found[width]["b"] == 1 for width in BIN_WIDTHS)
    half = np.array([[8, 8, 8], [255, 0, 0]], np.uint8)[None]
    assert intersections(both[0], lab_histograms(half)) == {"L": 0.5, "a": 0.5, "b": 0.5}


def test_white_stays_in_the_last_bin_of_lightness():
    histograms = lab_histograms(np.full((2, 3, 3), 255, np.uint8))
    assert histograms[0, 199] == 6 and merged(histograms)[0, 99] == 6


def test_agrees_with_numpy_on_scikit_images_conversion():
    image = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    lab = rgb2lab(image)
    histograms = lab_histograms(image)
    assert BIN_WIDTHS[0] == COUNTED_WIDTH and (merged(histograms, 0.5) == histograms).all()
    for width in BIN_WIDTHS:
        counts = merged(histograms, width)
        for c, channel in enumerate(CHANNELS):
            low, high = ENDS[channel]
            edges = np.arange(low, high + width, width)
            expected, _ = np.histogram(np.clip(lab[..., c], edges[0], edges[-1]), edges)
            assert (counts[c, : len(expected)] == expected).all()
            assert counts[c, len(expected) :].sum() == 0


def test_the_whole_srgb_cube_fits_without_clipping():
    levels = np.array([0, 51, 102, 153, 204, 255], np.uint8)
    lab = rgb2lab(np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3))
    for c, channel in enumerate(CHANNELS):
        low, high = ENDS[channel]
        assert low - 1e-9 <= lab[..., c].min() and lab[..., c].max() <= high + 1e-9


@settings(max_examples=20, deadline=None)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_no_pixel_is_lost(image):
    pixels = image.shape[0] * image.shape[1]
    assert lab_histograms(image).sum(1).tolist() == [pixels] * 3


def test_intersection_by_hand():
    assert histogram_intersection([1, 1, 0], [0, 2, 2]) == pytest.approx(0.5)
    assert histogram_intersection([4, 0], [0, 9]) == 0
    assert histogram_intersection([1, 3], [100, 300]) == 1


counts = hnp.arrays(np.int64, 6, elements=st.integers(0, 99)).filter(lambda c: c.sum() > 0)


@given(counts, counts)
def test_intersection_is_a_symmetric_share(p, q):
    value = histogram_intersection(p, q)
    assert 0 <= value <= 1
    assert value == histogram_intersection(q, p)
    assert histogram_intersection(p, p) == pytest.approx(1)
