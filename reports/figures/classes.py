"""IoU of every class by arm as a heat map: it shows where the means over classes come from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from eval.fcn_score import per_class
from experiments.tracking.reader import GROUND_TRUTH, SuiteRuns
from reports.analysis.runs import runs_by_arm
from reports.figures.style import COLUMN_WIDTH, LINE, inches_of, wrapped

ROW = 0.18
"""Height of a row, in inches."""
NUMBER = 0.21
"""Width in inches of the narrowest cell that has room for its number."""
LONGEST = 1.2
"""Width in inches of a line of an arm's name."""
BAR = 0.65
"""Width in inches of the colour bar with its numbers and its title."""
ABSENT = "#e4e4e4"


def class_iou(runs: SuiteRuns) -> pd.DataFrame:
    """Mean IoU over the finished seeds: arms as rows, classes as columns, NaN for absent classes.

    The confusion matrices come from the FCN-score or, for photo→labels, from the palette's
    classes. An arm whose seeds were scored with different classes is left out; the frame is empty
    where arms have different numbers of classes.
    """
    found: dict[str, np.ndarray] = {}
    names: list[str] = []
    for arm, seeds in runs_by_arm(runs).items():
        done = [run for run in seeds if run.finished]
        stored = [run.json_artifact("confusion.json") for run in done]
        matrices = [np.asarray(one["confusion"], np.int64) for one in stored if one is not None]
        if len({matrix.shape for matrix in matrices}) != 1:
            continue
        frame = pd.DataFrame([per_class(matrix)[1] for matrix in matrices])
        found[arm] = frame.where(np.isfinite(frame)).mean().to_numpy()
        scores = done[0].json_artifact("scores.json") or {}
        names = names or (scores.get("settings") or {}).get("class_names") or []
    counts = {len(row) for row in found.values()}
    if len(counts) != 1:
        return pd.DataFrame()
    (count,) = counts
    if len(names) != count:
        names = [f"class {i}" for i in range(count)]
    return pd.DataFrame.from_dict(found, orient="index", columns=names)


def draw_classes(runs: SuiteRuns, width: float) -> tuple[Figure, str] | None:
    """Arms × classes; at column width classes × arms. The numbers are the IoUs.

    Returns the figure and its caption; None without a confusion matrix.
    """
    frame = class_iou(runs)
    if frame.empty:
        return None
    narrow = width <= COLUMN_WIDTH
    values = frame.rename(index=lambda arm: wrapped(arm, LONGEST))
    values = values.T if narrow else values
    sizes = [inches_of(name) for name in values.columns]
    longest, lines = (max(size) for size in zip(*sizes, strict=True))
    names = max(inches_of(name)[0] for name in values.index)
    cell = (width - names - BAR) / len(values.columns)
    upright = lines > LINE or cell < NUMBER
    row = max(ROW, *(inches_of(name)[1] + 0.04 for name in values.index))
    height = 0.3 + (longest if upright else 0.7 * longest) + row * len(values)
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    sns.heatmap(
        values,
        ax=axes,
        vmin=0,
        vmax=1,
        cmap="Blues",
        annot=values.map(_number) if cell >= NUMBER else None,
        fmt="",
        annot_kws={"size": 7},
        cbar_kws={"label": "IoU of the class", "pad": 0.012, "aspect": 40 if narrow else 12},
    )
    axes.set_facecolor(ABSENT)
    axes.set(xlabel="", ylabel="")
    axes.tick_params(length=0)
    axes.set_yticks(np.arange(len(values)) + 0.5, values.index, rotation=0)
    place: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    if upright:
        place = {"rotation": 90, "ha": "center", "multialignment": "right", "linespacing": 1.0}
    axes.set_xticks(np.arange(len(values.columns)) + 0.5, values.columns, **place)
    if frame.index[-1] == GROUND_TRUTH and len(frame) > 1:
        line = axes.axvline if narrow else axes.axhline
        line(len(frame) - 1, color="white", linewidth=1.5)
    return figure, "IoU of every class, mean over the finished seeds; grey: no such pixel"


def _number(value: float) -> str:
    """`.86`, and `1.0` for a perfect class; heat maps leave absent classes without a number."""
    text = f"{value:.2f}"
    return "1.0" if text == "1.00" else text.lstrip("0")
