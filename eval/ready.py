"""A family of scores made ready to measure, or the reason why it cannot be had."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from eval.families import ClassScores, ColorScores, FamilyScores, LPIPSScores, PixelScores
from eval.metrics import PROTOCOLS
from eval.palette import nearest_class
from eval.pixel import SSIM_MINIMUM
from pix2pix.common.errors import NotMeasured, ScoringError

PUBLISHED_OUTPUTS = 20  # eval.scorer.cityscapes has it too, but loads torch

if TYPE_CHECKING:
    from eval.scorer.fcn8s import FCN8s
    from eval.scorer.published import PublishedProtocol


def ready_family(
    family: str,
    labelled: bool,
    scorer: FCN8s | None,
    palette: np.ndarray | None,
    classes: int | None,
    lpips: Any,
    smallest: tuple[int, int],
    protocol: PublishedProtocol | None = None,
) -> FamilyScores:
    """One of FAMILIES, for images of at least `smallest` (H, W) pixels.

    Raises:
        NotMeasured: what it needs is not there.
        ScoringError: what it needs does not fit the number of classes.
    """
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
                f"an image of {smallest[0]}x{smallest[1]} pixels is below the {lpips.smallest}"
                f" that LPIPS ({lpips.net}) needs"
            )
        return LPIPSScores(lpips)
    if not labelled:
        raise NotMeasured("the data set has no labels")
    if family == "labels":
        return _labels(palette, classes)
    return protocol.scores() if protocol else _fcn(scorer, classes)


def _fcn(scorer: FCN8s | None, classes: int | None) -> ClassScores:
    if scorer is None:
        raise NotMeasured("no scorer was given")
    if scorer.padding == "published" and scorer.classes == PUBLISHED_OUTPUTS:
        raise ScoringError(
            f"scorer: is the published one, which only the protocol {PROTOCOLS[0]} feeds rightly"
        )
    # torch is only loaded by whoever scores with a network.
    from eval.scorer.file import weights_sha256

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
    return ClassScores("fcn", functools.partial(_segment, scorer), scorer.classes, settings)


def _segment(scorer: FCN8s, image: np.ndarray) -> np.ndarray:
    from eval.scorer.train import segment

    return segment(scorer, image[None])[0]


def _labels(palette: np.ndarray | None, classes: int | None) -> ClassScores:
    if palette is None:
        raise NotMeasured("the data set has no palette")
    if classes not in (None, len(palette)):
        raise ScoringError(f"the palette has {len(palette)} colours, the labels {classes} classes")
    colours = {"palette": palette.tolist()}
    predict = functools.partial(nearest_class, palette=palette)
    return ClassScores("labels", predict, len(palette), colours)
