"""The families of scores: what each measures of one image, and makes of all of them.

`measure` has no memory, so that images can be measured in any order and in several processes;
`add` is called with its results in the order of the images.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from eval import bootstrap, color, fcn_score, pixel

Array = np.ndarray


class FamilyScores(Protocol):
    """A family while it is measured; its memory grows by numbers, not by images."""

    settings: dict[str, Any]
    per_image: dict[str, list[float]]

    def measure(self, translation: Array, target: Array, labels: Array | None) -> Any:
        """One image's numbers, of (H, W, 3) uint8 twice and class indices (H, W) uint8."""

    def add(self, measured: Any) -> None:
        """Take the next image's numbers."""

    def values(self) -> dict[str, float]:
        """The data set's scores; NaN where nothing was labelled."""

    def intervals(self) -> dict[str, bootstrap.Interval]:
        """The scores' 95 % intervals over test images; empty where there is no such thing."""


class MeanScores:
    """Scores that every image has, and the test split their mean."""

    def __init__(self, names: tuple[str, ...], settings: dict[str, Any]) -> None:
        self.per_image: dict[str, list[float]] = {name: [] for name in names}
        self.settings = settings

    def add(self, measured: tuple[float, ...]) -> None:
        for column, value in zip(self.per_image.values(), measured, strict=True):
            column.append(value)

    def values(self) -> dict[str, float]:
        return {name: float(np.mean(column)) for name, column in self.per_image.items()}

    def intervals(self) -> dict[str, bootstrap.Interval]:
        columns = {name: np.array(column) for name, column in self.per_image.items()}
        return bootstrap.mean_intervals(columns)


PIXEL_MEASURES = {"pixel.l1": pixel.l1, "pixel.psnr": pixel.psnr, "pixel.ssim": pixel.ssim}


class PixelScores(MeanScores):
    """pixel.l1, pixel.psnr, pixel.ssim; the last one only `with_ssim`."""

    def __init__(self, with_ssim: bool) -> None:
        settings = {
            "psnr_cap_db": pixel.PSNR_CAP,
            "ssim": "Gaussian 11x11, sigma 1.5, k1 0.01, k2 0.03",
            "value_range": 1.0,
        }
        names = tuple(PIXEL_MEASURES)
        super().__init__(names if with_ssim else names[:2], settings)

    def measure(self, translation: Array, target: Array, labels: Array | None) -> tuple[float, ...]:
        return tuple(PIXEL_MEASURES[name](translation, target) for name in self.per_image)


class LPIPSScores(MeanScores):
    """lpips."""

    def __init__(self, distance: Callable[[Array, Array], Array]) -> None:
        self.distance = distance
        settings = {
            "net": getattr(distance, "net", "unnamed"),
            "version": "0.1",
            "backbone_sha256": getattr(distance, "sha256", None),
        }
        super().__init__(("lpips",), settings)

    def measure(self, translation: Array, target: Array, labels: Array | None) -> tuple[float, ...]:
        return (float(self.distance(translation[None], target[None])[0]),)


class ColorScores:
    """color.L, color.a, color.b: of the pooled histograms, never a mean over images."""

    def __init__(self) -> None:
        self.translations: list[Array] = []
        self.targets: list[Array] = []
        self.per_image: dict[str, list[float]] = {}
        self.settings = {
            "space": "CIE Lab, D65, 2 degrees",
            "bin_width": color.SCORED_WIDTH,
            "counted_bin_width": color.COUNTED_WIDTH,
        }

    def measure(
        self, translation: Array, target: Array, labels: Array | None
    ) -> tuple[Array, Array]:
        return color.lab_histograms(translation), color.lab_histograms(target)

    def add(self, measured: tuple[Array, Array]) -> None:
        self.translations.append(measured[0])
        self.targets.append(measured[1])

    def values(self, width: float = color.SCORED_WIDTH) -> dict[str, float]:
        """In bins of `width` units, one of `color.BIN_WIDTHS`; the scores have one unit."""
        pooled = (np.sum(side, axis=0) for side in (self.translations, self.targets))
        found = color.intersections(*pooled, width)
        return {f"color.{channel}": value for channel, value in found.items()}

    def intervals(self) -> dict[str, bootstrap.Interval]:
        return bootstrap.color_intervals(np.stack(self.translations), np.stack(self.targets))


class ClassScores:
    """fcn.* or labels.*: of the summed confusion matrix, never a mean over images.

    Args:
        family: "fcn" or "labels".
        predict: (H, W, 3) uint8 to class indices of the labels' shape.
        classes: rows and columns of the confusion matrix.
        scored: the first K classes that are averaged; None means all.
    """

    def __init__(
        self,
        family: str,
        predict: Callable[[Array], Array],
        classes: int,
        settings: dict[str, Any],
        scored: int | None = None,
    ) -> None:
        self.family, self.predict, self.classes, self.scored = family, predict, classes, scored
        self.confusions: list[Array] = []
        self.per_image: dict[str, list[float]] = {f"{family}.pixel_accuracy": []}
        self.settings = {"classes": classes, "ignored": 255, **settings}

    def measure(self, translation: Array, target: Array, labels: Array | None) -> Array:
        assert labels is not None, "the caller reads labels for this family"
        return fcn_score.confusion_matrix(self.predict(translation), labels, self.classes)

    def add(self, measured: Array) -> None:
        self.confusions.append(measured)
        self.per_image[f"{self.family}.pixel_accuracy"].append(
            self._scores(measured)["pixel_accuracy"]
        )

    def values(self) -> dict[str, float]:
        summed = self._scores(np.sum(self.confusions, axis=0))
        return {f"{self.family}.{name}": value for name, value in summed.items()}

    def intervals(self) -> dict[str, bootstrap.Interval]:
        return bootstrap.class_intervals(np.stack(self.confusions), self.family, self.scored)

    def _scores(self, confusion: Array) -> dict[str, float]:
        some = {} if self.scored is None else {"scored": self.scored}
        return fcn_score.scores(confusion, **some)
