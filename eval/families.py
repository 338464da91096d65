"""The families of scores, each fed one image after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from eval import color, fcn_score, pixel

Array = np.ndarray


class FamilyScores(Protocol):
    """A family while it is measured; its memory grows by numbers, not by images."""

    settings: dict[str, Any]
    per_image: dict[str, list[float]]

    def add(self, translation: Array, target: Array, labels: Array | None) -> None:
        """Measure one image: (H, W, 3) uint8 twice, and (H, W) uint8 class indices."""

    def values(self) -> dict[str, float]:
        """The data set's scores; NaN where nothing was labelled."""


class PixelScores:
    """pixel.l1, pixel.psnr, pixel.ssim: means over the images."""

    def __init__(self, with_ssim: bool) -> None:
        self.measures = {"pixel.l1": pixel.l1, "pixel.psnr": pixel.psnr}
        if with_ssim:
            self.measures["pixel.ssim"] = pixel.ssim
        self.per_image: dict[str, list[float]] = {name: [] for name in self.measures}
        self.settings = {
            "psnr_cap_db": pixel.PSNR_CAP,
            "ssim": "Gaussian 11x11, sigma 1.5, k1 0.01, k2 0.03",
            "value_range": 1.0,
        }

    def add(self, translation: Array, target: Array, labels: Array | None) -> None:
        for name, measure in self.measures.items():
            self.per_image[name].append(measure(translation, target))

    def values(self) -> dict[str, float]:
        return {name: float(np.mean(column)) for name, column in self.per_image.items()}


class LPIPSScores:
    """lpips: the mean over the images."""

    def __init__(self, distance: Callable[[Array, Array], Array]) -> None:
        self.distance = distance
        self.per_image: dict[str, list[float]] = {"lpips": []}
        self.settings = {
            "net": getattr(distance, "net", "unnamed"),
            "version": "0.1",
            "backbone_sha256": getattr(distance, "sha256", None),
        }

    def add(self, translation: Array, target: Array, labels: Array | None) -> None:
        value = float(self.distance(translation[None], target[None])[0])
        self.per_image["lpips"].append(value)

    def values(self) -> dict[str, float]:
        return {"lpips": float(np.mean(self.per_image["lpips"]))}


class ColorScores:
    """color.L, color.a, color.b: of the pooled histograms, never a mean over images."""

    def __init__(self) -> None:
        self.histograms: list[Array] = []
        self.targets = np.zeros((3, color.BINS), np.int64)
        self.per_image: dict[str, list[float]] = {}
        self.settings = {"space": "CIE Lab, D65, 2 degrees", "bin_width": 1}

    def add(self, translation: Array, target: Array, labels: Array | None) -> None:
        self.histograms.append(color.lab_histograms(translation))
        self.targets += color.lab_histograms(target)

    def values(self) -> dict[str, float]:
        pooled = np.sum(self.histograms, axis=0)
        return {
            f"color.{channel}": color.histogram_intersection(pooled[c], self.targets[c])
            for c, channel in enumerate(color.CHANNELS)
        }


class ClassScores:
    """fcn.* or labels.*: of the summed confusion matrix, never a mean over images."""

    def __init__(
        self,
        family: str,
        predict: Callable[[Array], Array],
        classes: int,
        settings: dict[str, Any],
    ) -> None:
        self.family, self.predict, self.classes = family, predict, classes
        self.confusions: list[Array] = []
        self.per_image: dict[str, list[float]] = {f"{family}.pixel_accuracy": []}
        self.settings = {"classes": classes, "ignored": 255, **settings}

    def add(self, translation: Array, target: Array, labels: Array | None) -> None:
        assert labels is not None, "the caller reads labels for this family"
        confusion = fcn_score.confusion_matrix(self.predict(translation), labels, self.classes)
        self.confusions.append(confusion)
        accuracy = fcn_score.scores(confusion)["pixel_accuracy"]
        self.per_image[f"{self.family}.pixel_accuracy"].append(accuracy)

    def values(self) -> dict[str, float]:
        summed = fcn_score.scores(np.sum(self.confusions, axis=0))
        return {f"{self.family}.{name}": value for name, value in summed.items()}
