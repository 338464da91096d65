"""Scores of a folder of translated images, from the files alone, one image at a time."""

from __future__ import annotations

import functools
import importlib.metadata
import math
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from eval import bootstrap, fcn_score
from eval.color import BIN_WIDTHS
from eval.families import ClassScores, ColorScores, FamilyScores
from eval.headers import check_headers
from eval.matching import TRAIN_IDS, Matched, match
from eval.measuring import ImageFiles, ImageMeasurement, measure_all
from eval.metrics import FAMILIES, of_family
from eval.pixel import SSIM_MINIMUM
from eval.ready import ready_family
from eval.results import ScoreSheet
from eval.scorer.published import PublishedProtocol, read_train_ids
from pix2pix.common.errors import NotMeasured, ScoringError
from pix2pix.data.decode import read_labels

if TYPE_CHECKING:
    from eval.scorer.fcn8s import FCN8s

__all__ = ["ScoreSheet", "ScoringError", "score_folders"]

PACKAGES = (
    "pix2pix-ablations",
    "numpy",
    "pillow",
    "torch",
    "torchmetrics",
    "scikit-image",
    "lpips",
)


class LabelReading(Protocol):
    """How the label maps of a folder are read (`eval.labels.LabelReader`)."""

    def __call__(self, path: Path) -> np.ndarray:
        """(H, W) uint8 class indices, 255 ignored."""

    def record(self, paths: Sequence[Path]) -> dict[str, Any]:
        """What to record of how these files are read."""


def score_folders(
    translations: Path,
    targets: Path | None,
    labels: Path | None = None,
    *,
    families: Sequence[str] = ("fcn", "lpips", "color", "pixel"),
    scorer: FCN8s | None = None,
    palette: np.ndarray | None = None,
    classes: int | None = None,
    class_names: Sequence[str] | None = None,
    lpips: Callable[[np.ndarray, np.ndarray], np.ndarray] | NotMeasured | None = None,
    label_reader: Callable[[Matched], LabelReading] | None = None,
    label_endings: Sequence[str] = (TRAIN_IDS,),
    protocol: PublishedProtocol | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> ScoreSheet:
    """Score translations against targets and labels, matched by name (eval.matching).

    Args:
        translations, targets: folders of 8-bit RGB images of the same sizes.
        labels: folder of 8-bit index PNG files; 255 is ignored. "fcn" and "labels" need it.
        families: of FAMILIES. "fcn" is for translations that are photos, "labels" for those that
            are painted label maps: never both.
        scorer: the network of "fcn".
        palette: (C, 3) uint8, the colours of "labels".
        classes: how many the labels have; by default as many as the scorer or the palette.
        class_names: for the table by class; by default their indices.
        lpips: from `load_lpips`, or the NotMeasured that it raised.
        label_reader: given what was matched, how to read the label files; by default as index maps.
        label_endings: of Cityscapes' label files, those that can be read, the best first.
        protocol: a published way to get "fcn", in place of `scorer`.
        workers: processes that measure; the scores do not depend on them.
        progress: called with (images done, images in all).

    Returns:
        A sheet in which every score of `families` has a value or a reason why it has none.

    Raises:
        ScoringError: images that are missing, unmatched, unreadable or of different size, labels
            out of range, or a scorer for another number of classes.
        ValueError: an unknown family, or "fcn" together with "labels".
    """
    wanted = [name for family in families for name in of_family(family)]
    if "fcn" in families and "labels" in families:
        raise ValueError("families: translations are photos (fcn) or label maps (labels)")
    labels_are = "target" if "labels" in families else "input"
    matched = match(
        translations, targets, labels, labels_are=labels_are, label_endings=label_endings
    )
    label_kinds = ("grey", "palette", *(("RGB", "RGB with alpha") if label_reader else ()))
    label_size = protocol.label_size if protocol else None
    sizes, formats = check_headers(matched, label_kinds, label_size)
    smallest = min(sizes, key=lambda size: (min(size), size))

    reasons: dict[str, str] = {}
    measured: dict[str, FamilyScores] = {}
    for family in FAMILIES:
        if family not in families:
            continue
        try:
            measured[family] = ready_family(
                family, labels is not None, scorer, palette, classes, lpips, smallest, protocol
            )
        except NotMeasured as reason:
            reasons.update(dict.fromkeys(of_family(family), str(reason)))
    if min(smallest) < SSIM_MINIMUM and "pixel" in families:
        size = f"{smallest[0]}x{smallest[1]}"
        reasons["pixel.ssim"] = f"an image of {size} pixels is below {SSIM_MINIMUM}"

    labelled = next((m for m in measured.values() if isinstance(m, ClassScores)), None)
    coloured = next((m for m in measured.values() if isinstance(m, ColorScores)), None)
    read, label_maps = None, {}
    if labelled is not None:
        read = functools.partial(read_labels, classes=labelled.classes)
        label_maps = {"ending": matched.label_ending, "read_as": "class positions"}
        if protocol is not None:
            read = read_train_ids
            label_maps["read_as"] = "Cityscapes' trainIds"
        elif label_reader is not None:
            read = label_reader(matched)
            label_maps |= read.record(matched.labels or ())
    files = [
        ImageFiles(translation, target, label)
        for translation, target, label in zip(
            matched.translations,
            matched.targets,
            matched.labels or [None] * len(matched.names),
            strict=True,
        )
    ]
    for one in measure_all(files, ImageMeasurement(measured, read), workers, progress):
        for name, family in measured.items():
            family.add(one[name])

    values = {name: v for family in measured.values() for name, v in family.values().items()}
    for name, value in values.items():
        if not math.isfinite(value):
            reasons[name] = "no pixel is labelled"
    intervals = {n: i for family in measured.values() for n, i in family.intervals().items()}
    confusion = np.stack(labelled.confusions) if labelled else None
    if confusion is not None:
        pixels = sum(n * math.prod(label_size or size) for size, n in sizes.items())
        label_maps["ignored_share"] = 1 - int(confusion.sum()) / pixels
    return ScoreSheet(
        names=matched.names,
        values={name: values[name] for name in wanted if name not in reasons},
        not_measured={name: reasons[name] for name in wanted if name in reasons},
        intervals={name: intervals[name] for name in wanted if name in intervals},
        per_image={
            name: np.array(column)
            for family in measured.values()
            for name, column in family.per_image.items()
        },
        per_class=_by_class(labelled, confusion, class_names),
        color_by_bin_width={f"{width:g}": coloured.values(width) for width in BIN_WIDTHS}
        if coloured
        else {},
        confusion=confusion,
        lab=np.stack(coloured.translations) if coloured else None,
        lab_targets=np.stack(coloured.targets) if coloured else None,
        original_script=protocol.original_script(confusion, matched.names)
        if protocol and confusion is not None
        else None,
        settings={
            "images": len(matched.names),
            "smallest": list(smallest),
            "largest": list(max(sizes)),
            "sizes": len(sizes),
            "matched_by": matched.convention,
            "formats": formats,
            **({"label_maps": label_maps} if label_maps else {}),
            **({"protocol": protocol.name} if protocol else {}),
            **{family: measure.settings for family, measure in measured.items()},
            "bootstrap": bootstrap.settings(len(matched.names)),
            "versions": _versions(),
        },
    )


def _by_class(
    labelled: ClassScores | None, confusion: np.ndarray | None, names: Sequence[str] | None
) -> list[dict[str, Any]]:
    """A row a scored class: name, accuracy and IoU, None where it is absent."""
    if labelled is None or confusion is None:
        return []
    some = {} if labelled.scored is None else {"scored": labelled.scored}
    table = zip(*fcn_score.per_class(confusion.sum(0), **some), strict=True)
    return [
        {
            "class": names[index] if names else str(index),
            "accuracy": float(accuracy) if math.isfinite(accuracy) else None,
            "iou": float(iou) if math.isfinite(iou) else None,
        }
        for index, (accuracy, iou) in enumerate(table)
    ]


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
