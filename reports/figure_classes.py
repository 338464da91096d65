"""IoU of every class by arm, as a heat map: where the means over classes come from."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from eval.fcn_score import per_class
from experiments.tracking_reader import GROUND_TRUTH, RunRecord, SuiteRuns
from reports.collect import runs_by_arm
from reports.style import PAGE_WIDTH

ROW = 0.24
LIGHT_ABOVE = 0.6
"""IoU above which the map is dark and its number is written in white."""


def class_iou(runs: SuiteRuns) -> tuple[list[str], dict[str, np.ndarray]]:
    """Class names, and {arm: (C,) mean IoU over its finished seeds}; NaN where a class is absent.

    Of the confusion matrices of the FCN-score or, for photo→labels, of the palette's classes.
    """
    names: list[str] = []
    found: dict[str, np.ndarray] = {}
    for arm, of in runs_by_arm(runs).items():
        done = [run for run in of if run.status == "done"]
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


def draw_classes(runs: SuiteRuns) -> tuple[Figure, str] | None:
    """Arms as rows, classes as columns; the number is the IoU, a dash an absent class."""
    names, rows = class_iou(runs)
    if not rows:
        return None
    arms = list(rows)
    values = np.stack([rows[arm] for arm in arms])
    figure = Figure(figsize=(PAGE_WIDTH, 0.75 + ROW * len(arms)), layout="constrained")
    axes = figure.subplots()
    shown = np.ma.masked_invalid(values)
    image = axes.imshow(shown, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (y, x), value in np.ndenumerate(values):
        text = f"{value:.2f}".lstrip("0") if np.isfinite(value) else "–"
        colour = "white" if np.isfinite(value) and value > LIGHT_ABOVE else "black"
        axes.text(x, y, text, ha="center", va="center", color=colour, fontsize=5.8)
    axes.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(arms)), arms)
    axes.tick_params(length=0)
    if arms[-1] == GROUND_TRUTH and len(arms) > 1:
        axes.axhline(len(arms) - 1.5, color="white", linewidth=1.5)
    for spine in axes.spines.values():
        spine.set_visible(False)
    bar = figure.colorbar(image, ax=axes, pad=0.012, aspect=12, fraction=0.03)
    bar.set_label("class IoU")
    bar.outline.set_visible(False)
    return figure, "IoU of every class, mean over the finished seeds; a dash: no such pixel"


def _confusion(run: RunRecord) -> np.ndarray | None:
    stored = run.json_artifact("confusion.json")
    return None if stored is None else np.asarray(stored["confusion"], np.int64)


def _names(run: RunRecord) -> list[str]:
    sheet = run.json_artifact("scores.json") or {}
    return list((sheet.get("settings") or {}).get("class_names") or [])
