"""Scores of a folder of translated images, from the PNG files alone, one image at a time."""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eval.errors import NotMeasured, ScoringError
from eval.families import ClassScores, ColorScores, FamilyScores, LPIPSScores, PixelScores
from eval.images import check_png, matched_files, read_labels, read_rgb
from eval.metrics import FAMILIES, of_family
from eval.palette import nearest_class
from eval.pixel import SSIM_MINIMUM
from eval.sheet import ScoreSheet

if TYPE_CHECKING:
    from eval.fcn import FCN8s

__all__ = ["ScoreSheet", "ScoringError", "score_folders"]

Size = tuple[int, int]
PACKAGES = ("numpy", "pillow", "torch", "torchmetrics", "scikit-image", "lpips")


def score_folders(
    translations: Path,
    targets: Path,
    labels: Path | None = None,
    *,
    families: Sequence[str] = ("fcn", "lpips", "color", "pixel"),
    scorer: FCN8s | None = None,
    palette: np.ndarray | None = None,
    classes: int | None = None,
    lpips: Callable[[np.ndarray, np.ndarray], np.ndarray] | NotMeasured | None = None,
) -> ScoreSheet:
    """Score translations against targets and labels of the same names.

    Args:
        translations, targets: folders of 8-bit RGB PNG files with the same stems and sizes.
        labels: folder of 8-bit index PNG files; 255 is ignored. "fcn" and "labels" need it.
        families: of FAMILIES. "fcn" is for translations that are photos, "labels" for those that
            are painted label maps: never both.
        scorer: the network of "fcn".
        palette: (C, 3) uint8, the colours of "labels".
        classes: how many the labels have; by default as many as the scorer or the palette.
        lpips: from `load_lpips`, or the NotMeasured that it raised.

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
    folders = [translations, targets, *([labels] if labels is not None else [])]
    names, listings = matched_files(folders)
    smallest, largest = _checked_sizes(names, listings)

    reasons: dict[str, str] = {}
    measured: dict[str, FamilyScores] = {}
    for family in FAMILIES:
        if family not in families:
            continue
        try:
            measured[family] = _family(
                family, labels is not None, scorer, palette, classes, lpips, smallest
            )
        except NotMeasured as reason:
            reasons.update(dict.fromkeys(of_family(family), str(reason)))
    if min(smallest) < SSIM_MINIMUM and "pixel" in families:
        reasons["pixel.ssim"] = f"an image of {_text(smallest)} pixels is below {SSIM_MINIMUM}"

    _measure(names, listings, measured)
    values = {name: v for family in measured.values() for name, v in family.values().items()}
    for name, value in values.items():
        if not math.isfinite(value):
            reasons[name] = "no pixel is labelled"
    labelled = next((m for m in measured.values() if isinstance(m, ClassScores)), None)
    coloured = next((m for m in measured.values() if isinstance(m, ColorScores)), None)
    per_image = {
        name: np.array(column)
        for family in measured.values()
        for name, column in family.per_image.items()
    }
    return ScoreSheet(
        names=names,
        values={name: values[name] for name in wanted if name not in reasons},
        not_measured={name: reasons[name] for name in wanted if name in reasons},
        per_image=per_image,
        confusion=np.stack(labelled.confusions) if labelled else None,
        lab=np.stack(coloured.histograms) if coloured else None,
        settings={
            "images": len(names),
            "smallest": list(smallest),
            "largest": list(largest),
            **{family: measure.settings for family, measure in measured.items()},
            "versions": _versions(),
        },
    )


def _checked_sizes(names: Sequence[str], listings: list[dict[str, Path]]) -> tuple[Size, Size]:
    """Smallest and largest (H, W); refuses wrong kinds and unequal sizes before any scoring."""
    sizes = []
    for name in names:
        size = check_png(listings[0][name], ("RGB",))
        for position, listing in enumerate(listings[1:], 1):
            other = check_png(listing[name], ("RGB",) if position == 1 else ("grey", "palette"))
            if other != size:
                raise ScoringError(
                    f"{listing[name]}: {_text(other)} pixels (height x width), but"
                    f" {listings[0][name]} has {_text(size)}"
                )
        sizes.append(size)
    return min(sizes, key=lambda size: (min(size), size)), max(sizes)


def _family(
    family: str,
    labelled: bool,
    scorer: FCN8s | None,
    palette: np.ndarray | None,
    classes: int | None,
    lpips: Any,
    smallest: Size,
) -> FamilyScores:
    """The family ready to measure, or NotMeasured."""
    if family == "pixel":
        return PixelScores(with_ssim=min(smallest) >= SSIM_MINIMUM)
    if family == "color":
        return ColorScores()
    if family == "lpips":
        if lpips is None:
            raise NotMeasured("LPIPS was not loaded")
        if isinstance(lpips, NotMeasured):
            raise lpips
        if min(smallest) < getattr(lpips, "smallest", 0):
            raise NotMeasured(
                f"an image of {_text(smallest)} pixels is below the {lpips.smallest} that"
                f" LPIPS ({lpips.net}) needs"
            )
        return LPIPSScores(lpips)
    if not labelled:
        raise NotMeasured("the data set has no labels")
    return _fcn(scorer, classes) if family == "fcn" else _labels(palette, classes)


def _fcn(scorer: FCN8s | None, classes: int | None) -> ClassScores:
    if scorer is None:
        raise NotMeasured("no scorer was given")
    # torch is only loaded by whoever scores with a network.
    from eval.scorer import segment
    from eval.scorer_file import weights_sha256

    if classes not in (None, scorer.classes):
        raise ScoringError(
            f"the scorer was trained for {scorer.classes} classes, the labels have {classes}"
        )
    settings = {
        "network": "FCN-8s",
        "width": scorer.width,
        "batch_norm": scorer.batch_norm,
        "padding": scorer.padding,
        "weights_sha256": weights_sha256(scorer),
    }
    return ClassScores(
        "fcn", lambda image: segment(scorer, image[None])[0], scorer.classes, settings
    )


def _labels(palette: np.ndarray | None, classes: int | None) -> ClassScores:
    if palette is None:
        raise NotMeasured("the data set has no palette")
    if classes not in (None, len(palette)):
        raise ScoringError(f"the palette has {len(palette)} colours, the labels {classes} classes")
    colours = {"palette": palette.tolist()}
    return ClassScores("labels", lambda image: nearest_class(image, palette), len(palette), colours)


def _measure(
    names: Sequence[str], listings: list[dict[str, Path]], measured: dict[str, FamilyScores]
) -> None:
    classes = next((m.classes for m in measured.values() if isinstance(m, ClassScores)), None)
    for name in names:
        translation, target = read_rgb(listings[0][name]), read_rgb(listings[1][name])
        labels = None if classes is None else read_labels(listings[2][name], classes)
        for family in measured.values():
            family.add(translation, target, labels)


def _versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
