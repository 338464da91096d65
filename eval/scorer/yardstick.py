"""What a scorer can tell apart: real photos, degraded in fixed ways, scored as translations.

A scorer that hardly minds blur cannot measure what the paper is about. The yardstick is looked at
before any arm is, and stands in every report beside the ceiling. By itself:

    python -m eval.scorer.yardstick --scorer runs/scorers/REFERENCE.safetensors \
        --reference runs/references/REFERENCE
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter
from torch import nn

from eval.fcn_score import confusion_matrix, scores
from eval.scorer.file import load_scorer
from eval.scorer.train import segment
from pix2pix.common.errors import UserError, exit_status
from pix2pix.common.files import home_path
from pix2pix.data import tasks
from pix2pix.data.decode import read_labels, read_rgb
from pix2pix.data.layouts import images_in

MOST_PHOTOS = 32
Degradation = Callable[[np.ndarray], np.ndarray]


def half_and_back(photo: np.ndarray) -> np.ndarray:
    """Half the size and back, by Pillow's bilinear filter."""
    image = Image.fromarray(photo)
    small = image.resize((image.width // 2, image.height // 2), Image.Resampling.BILINEAR)
    return np.asarray(small.resize(image.size, Image.Resampling.BILINEAR))


def blurred(sigma: float) -> Degradation:
    """A Gaussian blur of so many pixels."""
    blur = ImageFilter.GaussianBlur(sigma)
    return lambda photo: np.asarray(Image.fromarray(photo).filter(blur))


def as_jpeg(photo: np.ndarray) -> np.ndarray:
    """JPEG of quality 75, with Pillow's chroma subsampling."""
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", quality=75)
    return np.asarray(Image.open(buffer))


DEGRADATIONS: dict[str, Degradation] = {
    "photos": lambda photo: photo,
    "half size and back": half_and_back,
    "blur, sigma 1": blurred(1),
    "blur, sigma 2": blurred(2),
    "blur, sigma 4": blurred(4),
    "grey": lambda photo: tasks.grey(photo, ""),
    "JPEG 75": as_jpeg,
}
EXCHANGED = "colours exchanged"


def yardstick(
    model: nn.Module,
    photos: np.ndarray,
    labels: np.ndarray,
    classes: int,
    at_most: int = MOST_PHOTOS,
) -> dict[str, dict[str, float]]:
    """{degradation: the three FCN-scores} over at most so many photos, evenly spaced.

    Args:
        model: an FCN8s or a PretrainedScorer.
        photos: (N, H, W, 3) uint8.
        labels: (N, H, W) uint8; 255 is ignored.
        classes: the number of classes.
        at_most: the photos scored, once as they are and once per degradation.
    """
    count = min(at_most, len(photos))
    chosen = [i * len(photos) // count for i in range(count)]
    real, truth = np.array(photos[chosen]), np.array(labels[chosen])
    degraded = {
        name: np.stack([degrade(photo) for photo in real]) for name, degrade in DEGRADATIONS.items()
    }
    degraded[EXCHANGED] = exchanged_colours(real, truth, classes)
    return {
        name: scores(confusion_matrix(segment(model, images), truth, classes))
        for name, images in degraded.items()
    }


def exchanged_colours(photos: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Photos in which every class gets the mean colour of the next class that occurs."""
    there = [c for c in range(classes) if (labels == c).any()]
    means = {c: photos[labels == c].mean(0) for c in there}
    moved = photos.astype(np.float64)
    for number, c in enumerate(there):
        moved[labels == c] += means[there[(number + 1) % len(there)]] - means[c]
    return np.clip(np.round(moved), 0, 255).astype(np.uint8)


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit status: 0 printed, 2 bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.scorer.yardstick",
        description="Score real photos, degraded in fixed ways, to see what a scorer can tell.",
    )
    parser.add_argument("--scorer", type=home_path, required=True, metavar="FILE")
    parser.add_argument(
        "--reference",
        type=home_path,
        required=True,
        metavar="DIR",
        help="a folder with targets/ (photos) and labels/ (index maps, 255 ignored) of one size",
    )
    options = parser.parse_args(argv)
    return exit_status(lambda: _print(options.scorer, options.reference), "interrupted")


def _print(scorer: Path, reference: Path) -> None:
    model, record = load_scorer(scorer)
    photos, labels = (images_in(reference / side) for side in ("targets", "labels"))
    if not photos or photos.keys() != labels.keys():
        raise UserError(f"{reference}: targets/ and labels/ must hold the same names")
    names, classes = sorted(photos), len(record["class_names"])
    images = [read_rgb(Path(photos[name])) for name in names]
    maps = [read_labels(Path(labels[name]), classes) for name in names]
    if len({array.shape[:2] for array in (*images, *maps)}) > 1:
        raise UserError(f"{reference}: the images must all have one size")
    found = yardstick(model, np.stack(images), np.stack(maps), classes)
    print(f"{'photos':20s} per-pixel  per-class  class IoU")
    for name, values in found.items():
        three = (values[n] for n in ("pixel_accuracy", "class_accuracy", "class_iou"))
        print(f"{name:20s}" + "".join(f"{value:11.3f}" for value in three))


if __name__ == "__main__":
    sys.exit(main())
