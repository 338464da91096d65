"""IoU of every class by arm, as a heat map: where the means over classes come from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.fcn_score import per_class
from experiments.tracking.reader import GROUND_TRUTH, RunRecord, SuiteRuns
from reports.analysis.runs import runs_by_arm
from reports.figures.style import COLUMN_WIDTH, LINE, inches_of, wrapped

ROW = 0.18
"""Inches."""
NUMBER, SIZE = 0.21, 7
"""The narrowest cell that holds its number, in inches, and the number's size in points."""
LONGEST = 1.2
"""Inches of a line of an arm's name."""
LABEL, ABSENT = "IoU of the class", "#e4e4e4"


def class_iou(runs: SuiteRuns) -> tuple[list[str], dict[str, np.ndarray]]:
    """Class names, and {arm: (C,) mean IoU over its finished seeds}; NaN where a class is absent.

    Of the confusion matrices of the FCN-score or, for photo→labels, of the palette's classes.
    """
    names: list[str] = []
    found: dict[str, np.ndarray] = {}
    for arm, of in runs_by_arm(runs).items():
        done = [run for run in of if run.finished]
        matrices = [m for m in (_confusion(run) for run in done) if m is not None]
        if not matrices:
            continue
        if len({m.shape for m in matrices}) > 1:
            continue  # another scorer's classes: never averaged over
        ious = np.stack([per_class(matrix)[1] for matrix in matrices])
        seen = np.isfinite(ious).any(0)
        mean = np.full(ious.shape[1], np.nan)
        mean[seen] = np.nanmean(ious[:, seen], axis=0)
        found[arm] = mean
        names = names or next((n for n in (_names(run) for run in done) if n), [])
    classes = {len(row) for row in found.values()}
    if len(classes) != 1:
        return [], {}
    (count,) = classes
    return (names if len(names) == count else [f"class {i}" for i in range(count)]), found


def draw_classes(runs: SuiteRuns, width: float) -> tuple[Figure, str] | None:
    """Arms × classes, in a column classes × arms; the number is the IoU, grey an absent class."""
    names, found = class_iou(runs)
    if not found:
        return None
    arms = list(found)
    values = np.stack([found[arm] for arm in arms])
    if width <= COLUMN_WIDTH:
        figure, axes = _map(values.T, names, [wrapped(arm, LONGEST) for arm in arms], width)
    else:
        figure, axes = _map(values, [wrapped(arm, LONGEST) for arm in arms], names, width)
    if arms[-1] == GROUND_TRUTH and len(arms) > 1:
        line = axes.axvline if width <= COLUMN_WIDTH else axes.axhline
        line(len(arms) - 1, color="white", linewidth=1.5)
    return figure, "IoU of every class, mean over the finished seeds; grey: no such pixel"


def _map(
    values: np.ndarray, rows: Sequence[str], columns: Sequence[str], width: float
) -> tuple[Figure, Axes]:
    """(R, C) IoUs as a heat map with their numbers, where cells are wide enough for them."""
    length, lines = (max(of) for of in zip(*map(inches_of, columns), strict=True))
    upright = lines > LINE or (width - 1.2) / len(columns) < NUMBER
    height = 0.3 + (length if upright else 0.7 * length)
    height += max(ROW, *(inches_of(name)[1] + 0.04 for name in rows)) * len(rows)
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    numbers = (width - 1.2) / len(columns) > NUMBER
    narrow = width <= COLUMN_WIDTH
    seaborn.heatmap(
        pd.DataFrame(values, rows, columns),
        ax=axes,
        cmap="Blues",
        vmin=0,
        vmax=1,
        annot=np.vectorize(_number)(values) if numbers else False,
        fmt="",
        annot_kws={"size": SIZE},
        cbar_kws={"pad": 0.012, "aspect": 40 if narrow else 12, "fraction": 0.03, "label": LABEL},
    )
    axes.set_facecolor(ABSENT)
    slant = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    turned = {"rotation": 90, "ha": "center", "multialignment": "right", "linespacing": 1.0}
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns, **(turned if upright else slant))
    axes.tick_params(length=0)
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows, rotation=0)
    return figure, axes


def _number(value: float) -> str:
    """`.53` for 0.53, `1.0` for 1, a dash for a class that does not occur."""
    return "1.0" if value > 0.995 else f"{value:.2f}".lstrip("0") if np.isfinite(value) else "–"


def _confusion(run: RunRecord) -> np.ndarray | None:
    stored = run.json_artifact("confusion.json")
    return None if stored is None else np.asarray(stored["confusion"], np.int64)


def _names(run: RunRecord) -> list[str]:
    sheet = run.json_artifact("scores.json") or {}
    return list((sheet.get("settings") or {}).get("class_names") or [])
