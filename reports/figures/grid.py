"""Arms × fixed inputs (Figures 4 to 6 of the paper)."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from experiments.tracking.reader import GROUND_TRUTH, RunRecord, SuiteRuns
from pix2pix.common.errors import UserError
from reports.analysis.runs import arm_state
from reports.figures.style import COLUMN_WIDTH, GREY, LINE, TALLEST, inches_of, wrapped

MOST_ROWS = 6
BUDGET = 3_000_000
"""Bytes of images in one page, before base64; rows beyond it are left out."""


@dataclass(frozen=True)
class Picture:
    """An image as it stands in a page; `uri` is None where the run has no such image."""

    uri: str | None
    alt: str
    state: str = ""
    """Why there is none: failed, left out or missing."""


@dataclass(frozen=True)
class PictureGrid:
    """Test images as rows; input, ground truth and each arm as columns."""

    columns: tuple[str, ...]
    names: tuple[str, ...]
    rows: tuple[tuple[Picture, ...], ...]
    size: tuple[int, int]
    """(H, W) of the images, in pixels."""
    seed: str
    """Which seed of each arm is shown."""


def lowest_seed(runs: tuple[RunRecord, ...]) -> RunRecord | None:
    """The finished run with the lowest seed that has translations."""
    done = [run for run in runs if run.finished and run.artifacts("translations")]
    return min(done, key=lambda run: run.seed or 0, default=None)


def grid_columns(runs: SuiteRuns) -> list[tuple[str, RunRecord | None, str]]:
    """(title, run, artifact folder): input, ground truth, then each arm's lowest finished seed."""
    truth = runs.ground_truth
    columns: list[tuple[str, RunRecord | None, str]] = []
    if truth is not None and truth.finished:
        columns = [("input", truth, "inputs"), (GROUND_TRUTH, truth, "targets")]
    return columns + [(arm, lowest_seed(runs.of_arm(arm)), "translations") for arm in runs.arms]


def no_picture(runs: SuiteRuns, arm: str, run: RunRecord | None) -> str:
    """Why a column of the grid has no picture: failed, left out or missing."""
    return "missing" if run else arm_state(runs.of_arm(arm))


def grid_names(columns: list[tuple[str, RunRecord | None, str]]) -> list[str]:
    """File names of the test images that the store keeps, at most MOST_ROWS."""
    for _, run, kind in columns[::-1] if len(columns) < 2 else [columns[1], *columns]:
        names = run.artifacts(kind) if run else ()
        if names:
            return list(names[:MOST_ROWS])
    return []


def picture_grid(runs: SuiteRuns, budget: int = BUDGET) -> PictureGrid | None:
    """The grid for a page; None where no image is stored. UserError on a damaged image."""
    columns = grid_columns(runs)
    rows: list[tuple[Picture, ...]] = []
    names: list[str] = []
    spent, size = 0, (0, 0)
    for name in grid_names(columns):
        row, weight = [], 0
        for title, run, kind in columns:
            path = run.artifact(f"{kind}/{name}") if run else None
            stem = name.rpartition(".")[0]
            if path is None:
                state = no_picture(runs, title, run)
                row.append(Picture(None, f"{title}, {stem}: {state}", state))
                continue
            content, size = _webp(path)
            weight += len(content)
            uri = "data:image/webp;base64," + base64.b64encode(content).decode()
            row.append(Picture(uri, f"{title}, {stem}"))
        if rows and spent + weight > budget:
            break
        spent += weight
        rows.append(tuple(row))
        names.append(name.rpartition(".")[0])
    if not rows:
        return None
    seeds = sorted({str(run.seed) for _, run, kind in columns if run and kind == "translations"})
    titles = tuple(title for title, _, _ in columns)
    return PictureGrid(titles, tuple(names), tuple(rows), size, " and ".join(seeds))


def _webp(path) -> tuple[bytes, tuple[int, int]]:
    """Lossless WebP of an image, a quarter smaller than PNG, and its (H, W)."""
    content = io.BytesIO()
    try:
        with Image.open(path, formats=("PNG",)) as image:
            image.convert("RGB").save(content, "WEBP", lossless=True, quality=80, method=4)
            return content.getvalue(), (image.height, image.width)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: cannot be read as an image") from error


WIDEST = 1.6
"""Inches of an image."""
GAP = 0.03  # inches between images
LONGEST = 1.0
"""Inches of a line of a name that does not fit along its image."""
FEWEST = 3
"""Images side by side in a column, where there are as many."""

Cells = list[list[np.ndarray | str]]
"""Pictures, or why there is none."""


def draw_grid(runs: SuiteRuns, width: float) -> tuple[Figure, str] | None:
    """Test images by input, ground truth, and each arm's lowest finished seed.

    Across a page an image is a row. In a column it is a column, and there are fewer of them, so
    that they stay large enough to judge.
    """
    columns = grid_columns(runs)
    names = grid_names(columns)
    if not names:
        return None
    cells: Cells = []
    for name in names:
        paths = [run.artifact(f"{kind}/{name}") if run else None for _, run, kind in columns]
        cells.append(
            [
                _open(path) if path else no_picture(runs, arm, run)
                for path, (arm, run, _) in zip(paths, columns, strict=True)
            ]
        )
    first = next(one for row in cells for one in row if not isinstance(one, str))
    titles = [title for title, _, _ in columns]
    draw = _in_column if width <= COLUMN_WIDTH else _across_page
    figure, shown = draw(cells, titles, width, first.shape[0] / first.shape[1])
    seeds = {str(run.seed) for _, run, kind in columns if run and kind == "translations"}
    images = "1 test image" if shown == 1 else f"{shown} test images at equal distances by name"
    return figure, f"{images}, seed {' and '.join(sorted(seeds))}"


def _across_page(
    cells: Cells, titles: Sequence[str], width: float, aspect: float
) -> tuple[Figure, int]:
    """As many rows as a page is high; their number comes with the figure."""
    wide = min((width - GAP * (len(titles) - 1)) / len(titles), WIDEST)
    heads, upright = _fitted(titles, wide)
    top = 0.06 + max(inches_of(head)[0 if upright else 1] for head in heads)
    cells = cells[: max(1, int((TALLEST - top) / (wide * aspect + GAP)))]
    figure = _images(cells, wide, aspect, left=0.0, top=top)
    for axes, head in zip(figure.axes[: len(heads)], heads, strict=True):
        place: dict[str, Any] = {"ha": "center", "va": "bottom", "transform": axes.transAxes}
        place |= {"rotation": 90 if upright else 0, "linespacing": 1.05}
        axes.text(0.5, 1 + 0.04 / (wide * aspect), head, **place)
    return figure, len(cells)


def _in_column(
    cells: Cells, titles: Sequence[str], width: float, aspect: float
) -> tuple[Figure, int]:
    """Arms as rows, images narrower only where the column is too short; names stand upright where
    they fit."""
    high = (TALLEST - GAP * (len(titles) - 1)) / len(titles)
    for count in range(min(FEWEST, len(cells)), len(cells) + 1):
        wide = min((width - 2 * LINE - GAP * (count - 1)) / count, WIDEST)
        if wide * aspect <= high:
            break
    names, level = _fitted(titles, min(wide * aspect, high))
    left = 0.06 + max(inches_of(name)[0 if level else 1] for name in names)
    wide = min(wide, high / aspect, (width - left - GAP * (count - 1)) / count)
    figure = _images([list(row) for row in zip(*cells[:count], strict=True)], wide, aspect, left, 0)
    for axes, name in zip(figure.axes[::count], names, strict=True):
        place: dict[str, Any] = {
            "ha": "right",
            "va": "center",
            "transform": axes.transAxes,
            "linespacing": 1.05,
        }
        place |= {"rotation": 0 if level else 90, "multialignment": "right" if level else "center"}
        axes.text(-0.04 / wide, 0.5, name, **place)
    return figure, count


def _fitted(titles: Sequence[str], inches: float) -> tuple[list[str], bool]:
    """Titles wrapped into `inches` of an image's side, or, where a word is longer than that, into
    LONGEST for a turn by 90 degrees (True)."""
    names = [wrapped(title, inches, cut=False) for title in titles]
    if all(inches_of(name)[0] <= inches for name in names):
        return names, False
    return [wrapped(title, LONGEST) for title in titles], True


def _images(cells: Cells, wide: float, aspect: float, left: float, top: float) -> Figure:
    """Rows of images of `wide` inches, with so many inches free on the left and at the top."""
    high = wide * aspect
    rows, columns = len(cells), len(cells[0])
    width = left + wide * columns + GAP * (columns - 1)
    height = top + high * rows + GAP * (rows - 1)
    figure = Figure(figsize=(width, height))
    for r, row in enumerate(cells):
        for c, picture in enumerate(row):
            x, y = left + c * (wide + GAP), height - top - (r + 1) * high - r * GAP
            axes = figure.add_axes((x / width, y / height, wide / width, high / height))
            axes.set_axis_off()
            if isinstance(picture, str):
                axes.text(0.5, 0.5, picture, ha="center", va="center", color=GREY)
                axes.set(xlim=(0, 1), ylim=(0, 1))
            else:
                axes.imshow(picture, interpolation="none", aspect="auto")
    return figure


def _open(path: Path) -> np.ndarray:
    try:
        with Image.open(path, formats=("PNG",)) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: cannot be read as an image") from error
