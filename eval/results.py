"""What scoring a folder gives: the scores, each image's own values, and how they were made."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from eval.color import COUNTED_WIDTH
from pix2pix.common.files import write_whole


@dataclass(frozen=True)
class ScoreSheet:
    """The scores of a folder of translations.

    Attributes:
        names: N stems, in the order of everything per image.
        values: {score: value}, all finite.
        not_measured: {score: why}; every score asked for is here or in `values`.
        intervals: {score: (low, high)}, 95 % over test images (eval.bootstrap); of a single
            model, so never to be taken for an interval over seeds. Empty for one image.
        per_image: {score: (N,) float64}; NaN where an image has no labelled pixel.
        per_class: a row a class, {"class", "accuracy", "iou"}; None where the class is absent.
        color_by_bin_width: {units: {score: value}} of the colour scores; empty if not asked.
        confusion: (N, C, C) int64, rows the true class; None without labels.
        lab, lab_targets: (N, 3, BINS) int32 counts of both sides, see `eval.color`; None if not
            asked.
        original_script: what the published protocol's script would print; None for any other.
        settings: all that the values depend on, ready for JSON.
    """

    names: tuple[str, ...]
    values: dict[str, float]
    not_measured: dict[str, str]
    per_image: dict[str, np.ndarray]
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    per_class: list[dict[str, Any]] = field(default_factory=list)
    color_by_bin_width: dict[str, dict[str, float]] = field(default_factory=dict)
    confusion: np.ndarray | None = None
    lab: np.ndarray | None = None
    lab_targets: np.ndarray | None = None
    original_script: dict[str, Any] | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def write(self, directory: Path) -> None:
        """Write scores.json, per_image.csv and per_image.npz, each whole; scores.json last."""
        arrays: dict[str, np.ndarray] = {"names": np.array(self.names)}
        arrays |= {f"values/{name}": column for name, column in self.per_image.items()}
        if self.confusion is not None:
            arrays["confusion"] = self.confusion
        if self.lab is not None and self.lab_targets is not None:
            arrays["lab"], arrays["lab_targets"] = self.lab, self.lab_targets
            arrays["lab_bin_width"] = np.array(COUNTED_WIDTH)
        packed = io.BytesIO()
        np.savez_compressed(packed, **arrays)
        write_whole(directory / "per_image.npz", packed.getvalue())
        write_whole(directory / "per_image.csv", self._csv().encode())
        self.write_json(directory / "scores.json")

    def write_json(self, path: Path, images: bool = False) -> None:
        """Write everything but counts as one JSON file, whole or not at all.

        `images` adds every image's own values, for those who keep this file alone.
        """
        record: dict[str, Any] = {
            "values": self.values,
            "intervals_over_images": {name: list(pair) for name, pair in self.intervals.items()},
            "not_measured": self.not_measured,
            "per_class": self.per_class,
            "color_by_bin_width": self.color_by_bin_width,
        }
        if self.original_script is not None:
            record["original_script"] = self.original_script
        record["settings"] = self.settings
        if images:
            columns = {
                score: [float(v) if math.isfinite(v) else None for v in column]
                for score, column in self.per_image.items()
            }
            record["per_image"] = {"names": list(self.names), **columns}
        write_whole(path, (json.dumps(record, indent=1, allow_nan=False) + "\n").encode())

    def _csv(self) -> str:
        """A row an image, a column a score, full precision; empty where there is no value."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["name", *self.per_image])
        for index, name in enumerate(self.names):
            row = [float(column[index]) for column in self.per_image.values()]
            writer.writerow([name, *(repr(v) if math.isfinite(v) else "" for v in row)])
        return text.getvalue()
