"""Per-pixel accuracy, per-class accuracy and class IoU from a confusion matrix.

Definitions: Long, Shelhamer, Darrell, "Fully Convolutional Networks for Semantic Segmentation",
CVPR 2015, section 5. The scores of a data set come from the sum of its images' matrices.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pix2pix.data.registry import IGNORED


def confusion_matrix(prediction: np.ndarray, target: np.ndarray, classes: int) -> np.ndarray:
    """Count pixels by true class (rows) and predicted class (columns).

    Args:
        prediction: integer classes, any shape; must not be IGNORED where the target is labelled.
        target: integer classes of the same shape; pixels of IGNORED, 255, are not counted.
        classes: C, the number of classes.

    Returns:
        (C, C) int64.

    Raises:
        ValueError: the shapes differ, or a class is outside 0 to C − 1.
    """
    prediction, target = np.asarray(prediction), np.asarray(target)
    if prediction.shape != target.shape:
        raise ValueError(f"prediction {prediction.shape} and target {target.shape} differ in shape")
    labelled = target != IGNORED
    truth = target[labelled].astype(np.int64)
    guess = prediction[labelled].astype(np.int64)
    for name, values in (("target", truth), ("prediction", guess)):
        if values.size and not (values.min() >= 0 and values.max() < classes):
            wrong = values.max() if values.max() >= classes else values.min()
            raise ValueError(f"{name}: class {wrong} is not one of the {classes} classes")
    counts = np.bincount(classes * truth + guess, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def scores(confusion: np.ndarray, scored: int | None = None) -> dict[str, Any]:
    """The three FCN-scores of a (C, C) confusion matrix, each in [0, 1].

    `class_accuracy` is the mean over the classes that have a true pixel, `class_iou` over those
    that have a true or a predicted pixel. Absent classes are left out of the mean (the original
    pix2pix script counts them as 0). All three scores are NaN if no pixel is labelled.

    Args:
        confusion: or R matrices (R, C, C) at once, which have (R,) of each score.
        scored: K; only the first K classes are averaged. Default: all. The outputs after them are
            not classes: they are never the truth, and predicting one is an error.

    Raises:
        ValueError: wrong shape, K not in 1 to C, or pixels whose truth is not a scored class.
    """
    accuracy, iou = per_class(confusion, scored)
    with np.errstate(invalid="ignore"):
        found = {
            "pixel_accuracy": np.trace(confusion, 0, -2, -1) / confusion.sum((-2, -1)),
            "class_accuracy": _mean_of_present(accuracy),
            "class_iou": _mean_of_present(iou),
        }
    return {name: value if np.ndim(value) else float(value) for name, value in found.items()}


def per_class(confusion: np.ndarray, scored: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(…, K) accuracy and IoU of the scored classes; NaN for absent ones, as in `scores`."""
    if confusion.ndim < 2 or confusion.shape[-2] != confusion.shape[-1]:
        raise ValueError(f"confusion: must be (C, C) (got {confusion.shape})")
    classes = confusion.shape[-1]
    scored = classes if scored is None else scored
    if not 1 <= scored <= classes:
        raise ValueError(f"scored: must be 1 to {classes} (got {scored})")
    if confusion[..., scored:, :].any():
        raise ValueError(f"confusion: the truth of some pixels is not one of the {scored} classes")
    correct = np.diagonal(confusion, 0, -2, -1)[..., :scored].astype(np.float64)
    true, predicted = confusion.sum(-1)[..., :scored], confusion.sum(-2)[..., :scored]
    with np.errstate(invalid="ignore"):  # 0/0 is NaN
        return correct / true, correct / (true + predicted - correct)


def _mean_of_present(values: np.ndarray) -> np.ndarray:
    """Means over the last axis without NaN; NaN if nothing else is there."""
    there = ~np.isnan(values)
    return np.where(there, values, 0).sum(-1) / there.sum(-1)


def nearest_class(image: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Read a painted label map: the class whose colour is nearest to each pixel.

    The distance is Euclidean in RGB; on a tie the lower class wins. The photo→labels scores use
    this, because there the translation is a label map.

    Args:
        image: (H, W, 3) uint8.
        palette: (C, 3) uint8, row c the colour of class c; C at most 255.

    Returns:
        (H, W) uint8.
    """
    pixels = image.astype(np.int32)
    nearest = np.zeros(image.shape[:2], np.uint8)
    least = np.full(image.shape[:2], np.iinfo(np.int32).max, np.int32)
    for index, colour in enumerate(palette.astype(np.int32)):
        distance = np.square(pixels - colour).sum(-1)
        nearer = distance < least
        nearest[nearer] = index
        least[nearer] = distance[nearer]
    return nearest
