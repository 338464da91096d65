"""Results of scoring a folder: scores, values per image and settings; as files and as text."""

from __future__ import annotations

import io
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from eval.bootstrap import LEVEL
from eval.color import COUNTED_WIDTH
from eval.metrics import METRICS
from pix2pix.common.files import write_whole


@dataclass
class ScoreResults:
    """The scores of a folder of translations.

    Attributes:
        names: N stems, the order of everything per image.
        values: {score: value}, all finite.
        not_measured: {score: reason}; every requested score is here or in `values`.
        intervals: {score: (low, high)}, 95 % over test images (eval.bootstrap). They hold for a
            single model: they are not intervals over seeds. Empty for one image.
        per_image: {score: (N,) float64}; NaN for an image without a labelled pixel.
        per_class: a row per class, {"class", "accuracy", "iou"}; None if the class is absent.
        color_by_bin_width: {units: {score: value}} of the colour scores; empty without them.
        confusion: (N, C, C) int64, rows the true class; None without labels.
        lab, lab_targets: (N, 3, BINS) int32 counts of both sides, see `eval.color`; None without
            colour scores.
        original_script: what the script of the published protocol would print, from
            `eval.scorer.cityscapes.original_script_scores`; None without the protocol.
        settings: everything that the values depend on, ready for JSON.
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
        """Write per_image.npz, per_image.csv and, last, scores.json, each atomically."""
        arrays: dict[str, np.ndarray] = {"names": np.array(self.names)}
        arrays |= {f"values/{name}": column for name, column in self.per_image.items()}
        if self.confusion is not None:
            arrays["confusion"] = self.confusion
        if self.lab is not None and self.lab_targets is not None:
            arrays["lab"], arrays["lab_targets"] = self.lab, self.lab_targets
            arrays["lab_bin_width"] = np.array(COUNTED_WIDTH)
        packed = io.BytesIO()
        np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]  # no name is an option
        write_whole(directory / "per_image.npz", packed.getvalue())
        import pandas as pd  # here, as worker processes do without it

        rows = pd.DataFrame({"name": self.names, **self.per_image})  # repr: full precision
        write_whole(directory / "per_image.csv", rows.to_csv(index=False).encode())
        self.write_json(directory / "scores.json")

    def write_json(self, path: Path, images: bool = False) -> None:
        """Write everything except the counts as one JSON file, atomically.

        Args:
            images: add the values of each image, for readers who keep only this file.
        """
        record: dict[str, Any] = {
            "values": self.values,
            "intervals_over_images": self.intervals,
            "not_measured": self.not_measured,
            "per_class": self.per_class,
            "color_by_bin_width": self.color_by_bin_width,
            **({"original_script": self.original_script} if self.original_script else {}),
            "settings": self.settings,
        }
        if images:
            columns = {
                score: [float(v) if math.isfinite(v) else None for v in column]
                for score, column in self.per_image.items()
            }
            record["per_image"] = {"names": list(self.names), **columns}
        write_whole(path, (json.dumps(record, indent=1, allow_nan=False) + "\n").encode())


def table(results: ScoreResults) -> str:
    """Text for a terminal: scores with their intervals, then classes and bin widths if measured."""
    settings = results.settings
    sizes = dict.fromkeys("{}x{}".format(*settings[key]) for key in ("smallest", "largest"))
    images = f"{len(results.names)} images of {' to '.join(sizes)}"
    lines = [f"{images}, matched by {settings['matched_by']}", ""]
    interval = f"{LEVEL:.0%} over images"
    lines.append(f"{'score':22}{'value':>9}  {interval:<22}{'unit':5}better")
    for name, value in results.values.items():
        metric = METRICS[name]
        ends = results.intervals.get(name, ())
        low_high = " to ".join(f"{end:.4f}" for end in ends)
        lines.append(f"{name:22}{value:9.4f}  {low_high:<22}{metric.unit:5}{metric.better}")
    lines += [f"{name:22}not measured: {why}" for name, why in results.not_measured.items()]
    if results.intervals:
        lines.append("Intervals are over test images, of this single model, not over trainings.")
    if any(row["iou"] is not None for row in results.per_class):
        width = max(len(row["class"]) for row in results.per_class) + 2
        lines += ["", f"{'class':{width}}{'accuracy':>9}{'IoU':>9}"]
        for row in results.per_class:
            cells = ("absent" if row[k] is None else f"{row[k]:.4f}" for k in ("accuracy", "iou"))
            lines.append(f"{row['class']:{width}}" + "".join(f"{cell:>9}" for cell in cells))
    if results.color_by_bin_width:
        names = results.color_by_bin_width["1"]
        lines += ["", f"{'bin width (Lab units)':22}" + "".join(f"{name:>9}" for name in names)]
    for units, values in results.color_by_bin_width.items():
        lines.append(f"{units:22}" + "".join(f"{value:9.4f}" for value in values.values()))
    return "\n".join([*lines, *_original(results.original_script)])


def _original(found: dict[str, Any] | None) -> list[str]:
    """What the published script would print, next to ours."""
    if found is None:
        return []
    scores = {name: value for name, value in found.items() if isinstance(value, float)}
    dropped = found["dropped_images"]
    return [
        "",
        "the original script would print (it counts absent classes as 0, misplaces pixels and"
        " drops images):",
        *(f"{'fcn.' + name:22}{value:9.4f}" for name, value in scores.items()),
        f"images it drops: {len(dropped)}" + f" ({', '.join(dropped[:3])})" * bool(dropped),
        f"pixels of output 19 that it counts for another class: {found['misplaced_pixels']}",
        f"classes it counts as 0: {', '.join(found['absent_classes']) or 'none'}",
    ]
