import itertools

import numpy as np
import pytest
import torch

from eval.scorer.scorer_data import (
    augmented,
    check_training_data,
    endless_order,
    hold_out,
    normalise,
)
from pix2pix.common.errors import ScoringError


def labels_of(count: int, unlabelled: tuple[int, ...] = ()) -> np.ndarray:
    labels = np.zeros((count, 2, 2), np.uint8)
    labels[list(unlabelled)] = 255
    return labels


@pytest.mark.parametrize(
    ("photos", "held"), [(3, []), (9, []), (10, [5]), (20, [5, 15]), (40, [5, 15, 25, 35])]
)
def test_every_tenth_photo_is_held_out(photos, held):
    assert hold_out(labels_of(photos)).tolist() == held


def test_of_many_photos_64_are_held_out_evenly_spaced():
    held = hold_out(labels_of(6400))
    assert len(held) == 64 and set(np.diff(held)) == {100}


def test_photos_without_a_label_are_not_held_out():
    assert hold_out(labels_of(13, unlabelled=(5, 6, 7))).tolist() == [8]
    assert hold_out(labels_of(12, unlabelled=(5, 6, 7))).tolist() == []


def test_held_out_photos_have_to_be_there_and_to_leave_labels_on_both_sides():
    photos = np.zeros((4, 2, 2, 3), np.uint8)
    check_training_data(photos, labels_of(4), 1, np.array([3]))
    with pytest.raises(ScoringError, match="held_out: must be 0 to 3"):
        check_training_data(photos, labels_of(4), 1, np.array([4]))
    with pytest.raises(ScoringError, match="no pixel of the photos held out is labelled"):
        check_training_data(photos, labels_of(4, unlabelled=(3,)), 1, np.array([3]))
    with pytest.raises(ScoringError, match="no pixel is labelled"):
        check_training_data(photos, labels_of(4, unlabelled=(0, 1, 2)), 1, np.array([3]))


def test_photos_are_normalised_to_minus_one_to_one():
    images = normalise(torch.tensor([[[[0, 255, 51]]]], dtype=torch.uint8))
    assert images.flatten().tolist() == pytest.approx([-1, 1, -0.6])
    assert images.shape == (1, 3, 1, 1)


def test_photo_and_labels_are_mirrored_together():
    photos = np.arange(64 * 4, dtype=np.uint8).reshape(64, 1, 4, 1).repeat(3, 3)
    images, truth = augmented(photos, photos[..., 0], torch.Generator().manual_seed(0))
    assert torch.equal(((images[:, 0] + 1) * 127.5).round().long(), truth)
    mirrored = (truth[:, 0, 0] > truth[:, 0, 3]).sum()
    assert 20 < mirrored < 44


def test_every_photo_comes_once_before_any_comes_again():
    order = endless_order(5, torch.Generator().manual_seed(0))
    first, second = (list(itertools.islice(order, 5)) for _ in range(2))
    assert sorted(first) == sorted(second) == [0, 1, 2, 3, 4] and first != second
