"""The families of scores: what each measures of one image, and makes of all of them.

`measure` keeps no state, so images can be measured in any order and in several processes; its
results are appended to `measured` in the order of the images. `build_family` chooses by name.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from eval import bootstrap, color, fcn_score, pixel
from eval.matching import TRAIN_IDS, Matched
from eval.metrics import PROTOCOLS, of_family
from pix2pix.common.errors import NotMeasured, UserError

if TYPE_CHECKING:
    from eval.labels import LabelReader
    from eval.scorer.file import Scorer

Array = np.ndarray
Distance = Callable[[Array, Array], Array]
"""(N, H, W, 3) uint8 twice to (N,) distances, as `eval.lpips.LPIPSDistance`."""


@dataclass(frozen=True)
class Scoring:
    """What is scored, and with what.

    Attributes:
        families: some of FAMILIES. "fcn" is for translations that are photos, "labels" for
            translations that are painted label maps: never both.
        scorer: the network of "fcn".
        protocol: one of PROTOCOLS: `scorer` is the published network, used as published. It sets
            the label files, their size and the names of the classes.
        palette: (C, 3) uint8, the colours of "labels".
        class_names: for the table by class; None: the class indices.
        lpips: from `eval.lpips.load_lpips`, or the NotMeasured that it raised.
        label_reader: takes the matched files and returns how to read the label maps; None: as
            index maps.
        clip: a regular expression: images whose names begin with the same match are frames of one
            film clip, and the intervals over images draw whole clips. None: every image by itself.
        label_endings: which of the label files of Cityscapes can be read, the best first.

    Raises:
        ValueError: "fcn" together with "labels".
    """

    families: Sequence[str] = ("fcn", "lpips", "color", "pixel")
    scorer: Scorer | None = None
    protocol: str | None = None
    palette: Array | None = None
    class_names: Sequence[str] | None = None
    lpips: Distance | NotMeasured | None = None
    label_reader: Callable[[Matched], LabelReader] | None = None
    clip: str | None = None
    label_endings: Sequence[str] = (TRAIN_IDS,)

    def __post_init__(self) -> None:
        if "fcn" in self.families and "labels" in self.families:
            raise ValueError("families: translations are photos (fcn) or label maps (labels)")


class FamilyScores:
    """One family during the measurement; it stores numbers, never images."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.measured: list[Any] = []

    def measure(self, translation: Array, target: Array, labels: Array | None) -> Any:
        """Measure one image: (H, W, 3) uint8 twice, and (H, W) uint8 class indices."""
        raise NotImplementedError

    def per_image(self) -> dict[str, Array]:
        """(N,) float64 of each score that an image has by itself."""
        return {}

    def values(self) -> dict[str, float]:
        """The scores of the whole set; NaN if no pixel was labelled."""
        raise NotImplementedError

    def intervals(self, clips: Array | None = None) -> dict[str, bootstrap.Interval]:
        """The 95 % intervals over test images, or over their clips (`bootstrap.clip_numbers`);
        empty if there are none."""
        raise NotImplementedError


class MeanScores(FamilyScores):
    """Scores of single images, whose mean is the score of the set: {score: its function}."""

    def __init__(
        self, measures: Mapping[str, Callable[[Array, Array], float]], settings: dict[str, Any]
    ) -> None:
        super().__init__(settings)
        self.measures = measures
        self.names: Sequence[str] = tuple(measures)

    def measure(self, translation: Array, target: Array, labels: Array | None) -> tuple[float, ...]:
        return tuple(function(translation, target) for function in self.measures.values())

    def per_image(self) -> dict[str, Array]:
        columns = zip(*self.measured, strict=True)
        return {name: np.array(column) for name, column in zip(self.names, columns, strict=True)}

    def values(self) -> dict[str, float]:
        return {name: float(np.mean(column)) for name, column in self.per_image().items()}

    def intervals(self, clips: Array | None = None) -> dict[str, bootstrap.Interval]:
        return bootstrap.mean_intervals(self.per_image(), clips)


class HoleScores(MeanScores):
    """hole.l1, hole.psnr and hole.ssim: the pixel scores inside the hole of an inpainting."""

    def __init__(self) -> None:
        super().__init__({}, {"pixels": "inside the hole"})
        self.names = of_family("hole")

    def measure(self, translation: Array, target: Array, labels: Array | None) -> tuple[float, ...]:
        """As in the base class, but `labels` are the hole: (H, W) uint8, not 0 inside."""
        assert labels is not None, "the caller reads the hole for this family"
        return pixel.hole_scores(translation, target, labels)


class ColorScores(FamilyScores):
    """color.L, color.a and color.b, from pooled histograms: never a mean over images."""

    def __init__(self) -> None:
        widths = {"bin_width": color.SCORED_WIDTH, "counted_bin_width": color.COUNTED_WIDTH}
        super().__init__({"space": "CIE Lab, D65, 2 degrees", **widths})

    def measure(self, translation: Array, target: Array, labels: Array | None) -> Array:
        return np.stack([color.lab_histograms(translation), color.lab_histograms(target)])

    def counts(self) -> Array:
        """(2, N, 3, BINS) int32: translations, then targets."""
        return np.stack(self.measured, axis=1)

    def values(self, width: float = color.SCORED_WIDTH) -> dict[str, float]:
        """The scores in bins of `width` Lab units, one of `color.BIN_WIDTHS`."""
        translations, targets = self.counts().sum(axis=1)
        found = color.intersections(translations, targets, width)
        return {f"color.{channel}": value for channel, value in found.items()}

    def intervals(self, clips: Array | None = None) -> dict[str, bootstrap.Interval]:
        return bootstrap.color_intervals(*(bootstrap.by_clip(c, clips) for c in self.counts()))


class ClassScores(FamilyScores):
    """fcn.* or labels.*, from the summed confusion matrix: never a mean over images.

    Args:
        family: "fcn" or "labels".
        predict: (H, W, 3) uint8 to class indices, of the same shape as the labels.
        classes: rows and columns of the confusion matrix.
        scored: K; only the first K classes are averaged. None means all.
    """

    def __init__(
        self,
        family: str,
        predict: Callable[[Array], Array],
        classes: int,
        settings: dict[str, Any],
        scored: int | None = None,
    ) -> None:
        super().__init__({"classes": classes, "ignored": 255, **settings})
        self.family, self.predict, self.classes, self.scored = family, predict, classes, scored

    def measure(self, translation: Array, target: Array, labels: Array | None) -> Array:
        assert labels is not None, "the caller reads labels for this family"
        return fcn_score.confusion_matrix(self.predict(translation), labels, self.classes)

    def confusions(self) -> Array:
        """(N, C, C) int64, rows the true class."""
        return np.stack(self.measured)

    def per_image(self) -> dict[str, Array]:
        column = [fcn_score.scores(one, self.scored)["pixel_accuracy"] for one in self.measured]
        return {f"{self.family}.pixel_accuracy": np.array(column)}

    def values(self) -> dict[str, float]:
        summed = fcn_score.scores(self.confusions().sum(0), self.scored)
        return {f"{self.family}.{name}": value for name, value in summed.items()}

    def intervals(self, clips: Array | None = None) -> dict[str, bootstrap.Interval]:
        confusions = bootstrap.by_clip(self.confusions(), clips)
        return bootstrap.class_intervals(confusions, self.family, self.scored)


def build_family(
    family: str, scoring: Scoring, labelled: bool, smallest: tuple[int, int]
) -> FamilyScores:
    """One of FAMILIES, ready to measure images of at least `smallest` (H, W) pixels, and labels.

    Raises:
        NotMeasured: something that the family needs is missing.
        UserError: the published scorer without its protocol.
    """
    if family == "pixel":
        return _build_pixel(smallest)
    if family == "color":
        return ColorScores()
    if family == "lpips":
        return _build_lpips(scoring.lpips, smallest)
    if family == "hole":
        if min(smallest) < pixel.SSIM_MINIMUM:
            raise NotMeasured(f"an image has less than {pixel.SSIM_MINIMUM} pixels per side")
        return HoleScores()
    if not labelled:
        raise NotMeasured("the data set has no labels")
    if family == "labels":
        palette = scoring.palette
        if palette is None:
            raise NotMeasured("the data set has no palette")
        predict = functools.partial(fcn_score.nearest_class, palette=palette)
        return ClassScores("labels", predict, len(palette), {"palette": palette.tolist()})
    if scoring.scorer is None:
        raise NotMeasured("no scorer was given")
    return _build_fcn(scoring.scorer, scoring)


def _build_pixel(smallest: tuple[int, int]) -> MeanScores:
    measures = {"pixel.l1": pixel.l1, "pixel.psnr": pixel.psnr}
    if min(smallest) >= pixel.SSIM_MINIMUM:
        measures["pixel.ssim"] = pixel.ssim
    settings = {
        "psnr_cap_db": pixel.PSNR_CAP,
        "ssim": "Gaussian 11x11, sigma 1.5, k1 0.01, k2 0.03",
        "value_range": 1.0,
    }
    return MeanScores(measures, settings)


def _build_lpips(lpips: Distance | NotMeasured | None, smallest: tuple[int, int]) -> MeanScores:
    """lpips, from a distance that may name its `net` and its backbone's `digest`."""
    if lpips is None:
        raise NotMeasured("LPIPS was not loaded")
    if isinstance(lpips, NotMeasured):
        raise lpips
    net, needed = getattr(lpips, "net", "unnamed"), getattr(lpips, "smallest", 0)
    if min(smallest) < needed:
        raise NotMeasured(f"an image has {min(smallest)} pixels per side; LPIPS needs {needed}")
    settings = {"net": net, "version": "0.1", "backbone_digest": getattr(lpips, "digest", None)}
    return MeanScores({"lpips": functools.partial(_distance, lpips)}, settings)


def _distance(lpips: Distance, translation: Array, target: Array) -> float:
    return float(lpips(translation[None], target[None])[0])


def _build_fcn(scorer: Scorer, scoring: Scoring) -> ClassScores:
    """fcn with a scorer of the data set, or as published: 19 of the 20 outputs are scored."""
    # torch is loaded only when a network scores.
    from eval.scorer import cityscapes
    from eval.scorer.fcn8s import FCN8s
    from eval.scorer.file import weights_sha256
    from eval.scorer.train import segment_image

    settings: dict[str, Any]
    if scoring.protocol is not None:
        assert isinstance(scorer, FCN8s), "as load_published_scorer checks"
        settings = {
            "network": "FCN-8s, published",
            "protocol": scoring.protocol,
            "scored_classes": cityscapes.SCORED,
            "input": "bilinear to 1024x2048, BGR, mean subtracted",
            "weights_sha256": weights_sha256(scorer),
        }
        predict = functools.partial(cityscapes.segment_published, scorer)
        return ClassScores("fcn", predict, cityscapes.OUTPUTS, settings, cityscapes.SCORED)
    network = scorer.specification
    if network.get("padding") == "published" and scorer.classes == cityscapes.OUTPUTS:
        raise UserError(
            f"the published scorer gives valid scores only with --protocol {PROTOCOLS[0]}"
        )
    settings = {
        "network": "FCN-8s heads on VGG16" if "pretrained" in network else "FCN-8s",
        **{name: value for name, value in network.items() if name != "classes"},
        "weights_sha256": weights_sha256(scorer),
    }
    return ClassScores("fcn", functools.partial(segment_image, scorer), scorer.classes, settings)
