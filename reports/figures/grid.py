"""Arms × fixed inputs (Figures 4 to 6 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from experiments.tracking.reader import GROUND_TRUTH, RunRecord, SuiteRuns
from pix2pix.data.decode import read_rgb
from reports.analysis.runs import arm_state
from reports.figures.style import COLUMN_WIDTH, GREY, TALLEST, inches_of, wrapped

MOST_ROWS = 6
"""Test images."""
IN_A_COLUMN = 3
"""Test images at column width, so that they stay large enough to judge."""
WIDEST = 1.6
"""Inches of an image."""
GAP = 0.03
"""Inches between images."""


@dataclass(frozen=True)
class PictureGrid:
    """Test images as rows; input, ground truth and each arm's lowest finished seed as columns."""

    titles: tuple[str, ...]
    names: tuple[str, ...]
    """Of the test images."""
    rows: list[list[np.ndarray | str]]
    """(H, W, 3) uint8, all of one size, or why there is none: failed, left out or missing."""
    size: tuple[int, int]
    """(H, W)."""
    seed: str
    """Which seed of each arm is shown."""


def read_grid(runs: SuiteRuns) -> PictureGrid | None:
    """The pictures that the store keeps; None without any. UserError on a damaged image."""
    truth = runs.ground_truth
    columns: list[tuple[str, RunRecord | None, str]] = []
    if truth is not None and truth.finished:
        columns = [("input", truth, "inputs"), (GROUND_TRUTH, truth, "targets")]
        if runs.record.several_tasks:  # which have several inputs
            del columns[0]
        if runs.record.unpaired:  # no target belongs to an input
            del columns[-1]
    columns += [(arm, _lowest_seed(runs.of_arm(arm)), "translations") for arm in runs.arms]
    listed = [run.artifacts(kind) for _, run, kind in columns[1:] + columns[:1] if run]
    files = next((files[:MOST_ROWS] for files in listed if files), ())
    if not files:
        return None
    rows: list[list[np.ndarray | str]] = []
    for file in files:
        paths = [run.artifact(f"{kind}/{file}") if run else None for _, run, kind in columns]
        rows.append(
            [
                read_rgb(path) if path else ("missing" if run else arm_state(runs.of_arm(title)))
                for path, (title, run, _) in zip(paths, columns, strict=True)
            ]
        )
    shapes = [one.shape for row in rows for one in row if not isinstance(one, str)]
    seeds = {str(run.seed) for _, run, kind in columns if run and kind == "translations"}
    return PictureGrid(
        titles=tuple(title for title, _, _ in columns),
        names=tuple(file.rpartition(".")[0] for file in files),
        rows=rows,
        size=(shapes[0][0], shapes[0][1]),
        seed=" and ".join(sorted(seeds)),
    )


def _lowest_seed(runs: Sequence[RunRecord]) -> RunRecord | None:
    """The finished run with the lowest seed that has translations."""
    done = [run for run in runs if run.finished and run.artifacts("translations")]
    return min(done, key=lambda run: run.seed or 0, default=None)


def draw_grid(runs: SuiteRuns, width: float) -> tuple[Figure, str] | None:
    """Across a page a test image is a row; in a column it is a column, and there are fewer.

    Returns the figure and its caption; None without images.
    """
    grid = read_grid(runs)
    if grid is None:
        return None
    narrow = width <= COLUMN_WIDTH
    aspect = grid.size[0] / grid.size[1]
    cells = grid.rows
    if narrow:
        cells = [list(row) for row in zip(*cells[:IN_A_COLUMN], strict=True)]
    rows, columns = len(cells), len(cells[0])
    # Names are level above their column, or upright beside their row.
    wide = min(WIDEST, (width + GAP) / columns - GAP, (TALLEST / len(grid.titles) - GAP) / aspect)
    names = [wrapped(title, wide * aspect if narrow else wide) for title in grid.titles]
    room = 0.06 + max(inches_of(name)[1] for name in names)
    if narrow:
        wide = min(wide, (width - room + GAP) / columns - GAP)
    else:
        rows = min(rows, max(1, int((TALLEST - room) / (wide * aspect + GAP))))
    left, top = (room, 0.0) if narrow else (0.0, room)
    high = wide * aspect
    size = (left + columns * (wide + GAP) - GAP, top + rows * (high + GAP) - GAP)
    figure = Figure(figsize=size)
    panels = figure.subplots(rows, columns, squeeze=False)
    figure.subplots_adjust(left / size[0], 0, 1, 1 - top / size[1], GAP / wide, GAP / high)
    for axes, cell in zip(panels.flat, [cell for row in cells for cell in row], strict=False):
        axes.set_axis_off()
        if isinstance(cell, str):
            axes.text(0.5, 0.5, cell, ha="center", va="center", color=GREY)
        else:
            axes.imshow(cell, interpolation="none", aspect="auto")
    place = {"linespacing": 1.05, "multialignment": "center"}
    for axes, name in zip(panels[:, 0] if narrow else panels[0], names, strict=True):
        x, y = (-0.04 / wide, 0.5) if narrow else (0.5, 1 + 0.04 / high)
        place |= {"ha": "right", "va": "center"} if narrow else {"ha": "center", "va": "bottom"}
        axes.text(x, y, name, rotation=90 if narrow else 0, transform=axes.transAxes, **place)
    shown = columns if narrow else rows
    images = "1 test image" if shown == 1 else f"{shown} test images at equal distances by name"
    return figure, f"{images}, seed {grid.seed}"
