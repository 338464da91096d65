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

from eval.files import write_whole


@dataclass(frozen=True)
class ScoreSheet:
    """The scores of a folder of translations.

    Attributes:
        names: N stems, in the order of everything per image.
        values: {score: value}, all finite.
        not_measured: {score: why}; every score asked for is here or in `values`.
        per_image: {score: (N,) float64}; NaN where an image has no labelled pixel.
        confusion: (N, C, C) int64, rows the true class; None without labels.
        lab: (N, 3, BINS) int64 counts of the translations, see `eval.color`; None if not asked.
        settings: all that the values depend on, ready for JSON.
    """

    names: tuple[str, ...]
    values: dict[str, float]
    not_measured: dict[str, str]
    per_image: dict[str, np.ndarray]
    confusion: np.ndarray | None = None
    lab: np.ndarray | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def write(self, directory: Path) -> None:
        """Write scores.json, per_image.csv and per_image.npz, each whole; scores.json last."""
        arrays: dict[str, np.ndarray] = {"names": np.array(self.names)}
        if self.confusion is not None:
            arrays["confusion"] = self.confusion
        if self.lab is not None:
            arrays["lab"] = self.lab
        packed = io.BytesIO()
        np.savez_compressed(packed, **arrays)
        write_whole(directory / "per_image.npz", packed.getvalue())
        write_whole(directory / "per_image.csv", self._csv().encode())
        self.write_json(directory / "scores.json")

    def write_json(self, path: Path) -> None:
        """Write values, reasons and settings as one JSON file, whole or not at all."""
        record = {
            "values": self.values,
            "not_measured": self.not_measured,
            "settings": self.settings,
        }
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
