import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from eval.palette import nearest_class

PALETTE = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255], [250, 0, 0]], np.uint8)


def test_takes_the_nearest_colour():
    image = np.array([[[3, 2, 1], [254, 9, 9]], [[0, 90, 200], [249, 0, 3]]], np.uint8)
    assert nearest_class(image, PALETTE).tolist() == [[0, 1], [2, 3]]


def test_the_lower_class_wins_a_tie():
    palette = np.array([[0, 0, 0], [2, 0, 0]], np.uint8)
    assert nearest_class(np.array([[[1, 0, 0]]], np.uint8), palette).item() == 0


def test_exact_colours_come_back():
    labels = np.random.default_rng(0).integers(0, 4, (9, 8)).astype(np.uint8)
    assert (nearest_class(PALETTE[labels], PALETTE) == labels).all()


@given(hnp.arrays(np.uint8, (4, 5, 3)))
def test_agrees_with_all_distances(image):
    distances = np.linalg.norm(image[:, :, None].astype(float) - PALETTE, axis=-1)
    assert (nearest_class(image, PALETTE) == distances.argmin(-1)).all()


@given(st.integers(256, 300))
def test_refuses_a_palette_that_uint8_cannot_count(colours):
    with pytest.raises(ValueError, match="palette"):
        nearest_class(np.zeros((2, 2, 3), np.uint8), np.zeros((colours, 3), np.uint8))
