"""Protocols of published FCN-scores, by name: what to do instead of scoring with an own scorer.

The only one is Cityscapes' (`eval.scorer.cityscapes`, pix2pix section 4.1).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eval.families import ClassScores
from eval.metrics import PROTOCOLS
from pix2pix.common.errors import ScoringError

if TYPE_CHECKING:
    from eval.scorer.fcn8s import FCN8s


@dataclass(frozen=True)
class PublishedProtocol:
    """The published score of Cityscapes, with its scorer loaded.

    Attributes:
        label_size: (H, W) of every label map, whatever size the images have.
    """

    name: str
    model: FCN8s
    weights_sha256: str
    label_size: tuple[int, int]

    def scores(self) -> ClassScores:
        """The family fcn, over the 19 classes that are scored of 20 outputs."""
        from eval.scorer import cityscapes

        settings = {
            "network": "FCN-8s, published",
            "protocol": self.name,
            "scored_classes": cityscapes.SCORED,
            "input": "bilinear to 1024x2048, BGR, mean subtracted",
            "weights_sha256": self.weights_sha256,
        }
        predict = functools.partial(cityscapes.segment_published, self.model)
        return ClassScores("fcn", predict, cityscapes.OUTPUTS, settings, cityscapes.SCORED)

    def original_script(self, confusion: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
        """What the original script would print, and the names of the images that it drops."""
        from eval.scorer.cityscapes import original_script_scores

        found = dict(original_script_scores(confusion))
        found["dropped_images"] = [names[index] for index in found["dropped_images"]]
        return found


def read_train_ids(path: Path) -> np.ndarray:
    """(1024, 2048) uint8 trainIds, 255 ignored, of a label file of Cityscapes."""
    from eval.scorer import cityscapes

    return cityscapes.read_train_ids(path)


def load_protocol(name: str, scorer: Path, device: str = "cpu") -> PublishedProtocol:
    """A protocol of PROTOCOLS with the converted scorer; ScoringError where it is another file."""
    from eval.scorer import cityscapes
    from eval.scorer.file import weights_sha256

    if name not in PROTOCOLS:
        raise ScoringError(f"--protocol: must be one of {', '.join(PROTOCOLS)} (got {name})")
    model = cityscapes.load_published_scorer(scorer, device)
    return PublishedProtocol(name, model, weights_sha256(model), cityscapes.SIZE)


def published_class_names() -> tuple[str, ...]:
    """The 19 classes that are scored, in index order."""
    from eval.scorer import cityscapes

    return cityscapes.CLASS_NAMES[: cityscapes.SCORED]
