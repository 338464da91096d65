"""Every score by name: its unit, its range, and which direction is better.

Imports nothing heavy: specs and reports read this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FAMILIES = ("fcn", "labels", "lpips", "color", "pixel", "hole", "diversity")
"""The families of scores."""
OF_A_FOLDER = FAMILIES[:-1]
"""Those that a folder of translations has; diversity needs several translations of each input."""
PROTOCOLS = ("cityscapes-fcn8s",)
"""Published protocols for the FCN-score, instead of a scorer trained by this suite."""
LABEL_VALUES = ("positions", "own")
"""What the index maps of a data set hold: class indices, or the values of its own files."""


@dataclass(frozen=True)
class Metric:
    """One score.

    Attributes:
        label: short column title.
        unit: "" for a plain ratio.
        better: which direction is better.
        range: lowest and highest possible value.
        family: one of FAMILIES.
        per_image: whether each image has a value of its own. The other scores exist only for a
            whole set of images, from summed confusion matrices or pooled histograms.
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
    # photo→labels: the translation is a label map, read by the nearest palette colour.
    "labels.pixel_accuracy": _share("Per-pixel acc.", "labels", per_image=True),
    "labels.class_accuracy": _share("Per-class acc.", "labels"),
    "labels.class_iou": _share("Class IoU", "labels"),
    # No proven upper bound; identical images give 0, and in practice values stay below 1.
    "lpips": Metric("LPIPS", "", "lower", (0.0, float("inf")), "lpips", True),
    "color.L": _share("L", "color"),
    "color.a": _share("a", "color"),
    "color.b": _share("b", "color"),
    "pixel.l1": Metric("L1 error", "", "lower", (0.0, 1.0), "pixel", True),
    # Capped at 100, the value of identical images: see eval.pixel.
    "pixel.psnr": Metric("PSNR", "dB", "higher", (0.0, 100.0), "pixel", True),
    "pixel.ssim": Metric("SSIM", "", "higher", (-1.0, 1.0), "pixel", True),
    # Inpainting: the same, of the pixels inside the hole alone.
    "hole.l1": Metric("L1 error in the hole", "", "lower", (0.0, 1.0), "hole", True),
    "hole.psnr": Metric("PSNR in the hole", "dB", "higher", (0.0, 100.0), "hole", True),
    "hole.ssim": Metric("SSIM in the hole", "", "higher", (-1.0, 1.0), "hole", True),
    # Of several translations of one input: how much the generator's noise changes.
    "diversity.lpips": Metric(
        "LPIPS between draws", "", "higher", (0.0, float("inf")), "diversity", True
    ),
    "diversity.variance": _share("Noise's share of variance", "diversity"),
}


def of_family(family: str) -> tuple[str, ...]:
    """The names of the scores of a family, in table order; ValueError on an unknown family."""
    if family not in FAMILIES:
        raise ValueError(f"scores: must be one of {', '.join(FAMILIES)} (got {family!r})")
    return tuple(name for name, metric in METRICS.items() if metric.family == family)
