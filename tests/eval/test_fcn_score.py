import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from eval.fcn_score import confusion_matrix, nearest_class, per_class, scores


def test_counts_true_classes_in_rows_and_predicted_ones_in_columns():
    target = np.array([[0, 0, 1], [1, 1, 255]])
    prediction = np.array([[0, 1, 1], [1, 0, 0]])
    assert confusion_matrix(prediction, target, 2).tolist() == [[1, 1], [1, 2]]


def test_the_three_scores_by_hand():
    # class 0: 3 of 4 right, union 4 + 5 - 3 = 6; class 1: 4 of 6 right, union 6 + 5 - 4 = 7.
    got = scores(np.array([[3, 1], [2, 4]]))
    assert got["pixel_accuracy"] == pytest.approx(7 / 10)
    assert got["class_accuracy"] == pytest.approx((3 / 4 + 4 / 6) / 2)
    assert got["class_iou"] == pytest.approx((3 / 6 + 4 / 7) / 2)


def test_a_class_that_nobody_sees_is_left_out():
    with_absent = np.array([[3, 1, 0], [2, 4, 0], [0, 0, 0]])
    assert scores(with_absent) == scores(with_absent[:2, :2])


def test_a_class_that_is_only_predicted_counts_against_iou_alone():
    got = scores(np.array([[3, 1], [0, 0]]))
    assert got["class_accuracy"] == pytest.approx(3 / 4)
    assert got["class_iou"] == pytest.approx((3 / 4 + 0) / 2)


def test_all_ignored_is_not_a_number():
    labels = np.full((4, 4), 255, np.uint8)
    confusion = confusion_matrix(np.zeros((4, 4), np.uint8), labels, 3)
    assert confusion.sum() == 0
    assert all(math.isnan(value) for value in scores(confusion).values())


def test_per_class_marks_absent_classes():
    accuracy, iou = per_class(np.array([[3, 1, 0], [2, 4, 0], [0, 0, 0]]))
    assert accuracy[:2].tolist() == pytest.approx([3 / 4, 4 / 6])
    assert iou[:2].tolist() == pytest.approx([3 / 6, 4 / 7])
    assert math.isnan(accuracy[2]) and math.isnan(iou[2])


def test_only_the_first_classes_are_scored_and_later_outputs_are_wrong():
    # Classes 0 and 1 of three outputs: 5 pixels of class 0 and 4 of class 1, one each seen as 2.
    confusion = np.array([[3, 1, 1], [0, 3, 1], [0, 0, 0]])
    got = scores(confusion, scored=2)
    assert got["pixel_accuracy"] == pytest.approx(6 / 9)
    assert got["class_accuracy"] == pytest.approx((3 / 5 + 3 / 4) / 2)
    assert got["class_iou"] == pytest.approx((3 / 5 + 3 / 5) / 2)
    assert [len(values) for values in per_class(confusion, scored=2)] == [2, 2]
    # As one of three classes, the third has no accuracy and an IoU of 0.
    assert scores(confusion)["class_accuracy"] == got["class_accuracy"]
    assert scores(confusion)["class_iou"] == pytest.approx((3 / 5 + 3 / 5 + 0) / 3)


def test_a_truth_that_is_not_scored_is_refused():
    confusion = np.array([[1, 0], [1, 0]])
    with pytest.raises(ValueError, match="the truth of some pixels is not one of the 1 classes"):
        scores(confusion, scored=1)
    for scored in (0, 3):
        with pytest.raises(ValueError, match="scored: must be 1 to 2"):
            scores(confusion, scored=scored)


@pytest.mark.parametrize(
    ("prediction", "target", "message"),
    [
        ([0, 2], [0, 1], "prediction: class 2"),
        ([0, 1], [0, 2], "target: class 2"),
        ([0, -1], [0, 1], "prediction: class -1"),
        ([0, 1, 1], [0, 1], "differ in shape"),
    ],
)
def test_refuses_what_does_not_fit(prediction, target, message):
    with pytest.raises(ValueError, match=message):
        confusion_matrix(np.array(prediction), np.array(target), 2)


def test_refuses_a_confusion_that_is_not_square():
    with pytest.raises(ValueError, match=r"must be \(C, C\)"):
        scores(np.ones((2, 3)))


maps = hnp.arrays(np.uint8, (5, 7), elements=st.integers(0, 3))


@given(maps, maps)
def test_swapping_prediction_and_target_transposes(first, second):
    forward, backward = confusion_matrix(first, second, 4), confusion_matrix(second, first, 4)
    assert (forward == backward.T).all()
    assert forward.sum() == first.size


@given(hnp.arrays(np.int64, (4, 4), elements=st.integers(0, 1000)))
def test_scores_are_shares_and_iou_is_the_strictest(confusion):
    got = scores(confusion)
    if confusion.sum() == 0:
        assert math.isnan(got["pixel_accuracy"])
        return
    assert all(0 <= value <= 1 for value in got.values())
    accuracy, iou = per_class(confusion)
    seen = confusion.sum(1) > 0
    assert (iou[seen] <= accuracy[seen] + 1e-12).all()


@given(maps)
def test_a_perfect_prediction_scores_one(labels):
    assert set(scores(confusion_matrix(labels, labels, 4)).values()) == {1.0}


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
