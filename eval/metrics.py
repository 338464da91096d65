"""Every score by name: what it is measured in, its range, and which way is better.

Imports nothing heavy, so that reports can ask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FAMILIES = ("fcn", "labels", "lpips", "color", "pixel")
PROTOCOLS = ("cityscapes-fcn8s",)  # published ways to get fcn, in place of an own scorer

LABEL_VALUES = ("positions", "own")  # what a data set's index maps hold


@dataclass(frozen=True)
class Metric:
    """A score.

    Attributes:
        label: short column title.
        unit: "" where it is a plain ratio.
        better: which way is better.
        range: lowest and highest possible value.
        family: how scores are asked for, one of FAMILIES.
        per_image: whether an image has a value of its own. The others exist only for a whole
            set, from summed confusion matrices or pooled histograms.
    """

    label: str
    unit: str
    better: Literal["higher", "lower"]
    range: tuple[float, float]
    family: str
    per_image: bool


def _share(label: str, family: str, per_image: bool = False) -> Metric:
    return Metric(label, "", "higher", (0.0, 1.0), family, per_image)


METRICS: dict[str, Metric] = {
    "fcn.pixel_accuracy": _share("Per-pixel acc.", "fcn", per_image=True),
    "fcn.class_accuracy": _share("Per-class acc.", "fcn"),
    "fcn.class_iou": _share("Class IoU", "fcn"),
    # photo→labels: the translation itself is the label map, read by nearest palette colour.
    "labels.pixel_accuracy": _share("Per-pixel acc.", "labels", per_image=True),
    "labels.class_accuracy": _share("Per-class acc.", "labels"),
    "labels.class_iou": _share("Class IoU", "labels"),
    # No proven bound above; identical images give 0, and unlike ones stay below 1 in practice.
    "lpips": Metric("LPIPS", "", "lower", (0.0, float("inf")), "lpips", True),
    "color.L": _share("L", "color"),
    "color.a": _share("a", "color"),
    "color.b": _share("b", "color"),
    "pixel.l1": Metric("L1 error", "", "lower", (0.0, 1.0), "pixel", True),
    # Capped at 100, which is what identical images get: see eval.pixel.
    "pixel.psnr": Metric("PSNR", "dB", "higher", (0.0, 100.0), "pixel", True),
    "pixel.ssim": Metric("SSIM", "", "higher", (-1.0, 1.0), "pixel", True),
}


def of_family(family: str) -> tuple[str, ...]:
    """The names of a family's scores, in table order; ValueError on an unknown family."""
    if family not in FAMILIES:
        raise ValueError(f"scores: must be one of {', '.join(FAMILIES)} (got {family!r})")
    return tuple(name for name, metric in METRICS.items() if metric.family == family)
