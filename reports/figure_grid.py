"""Arms × fixed inputs (Figures 4 to 6 of the paper)."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from experiments.tracking_reader import SuiteRuns
from pix2pix.errors import UserError
from reports.pictures import grid_columns, grid_names
from reports.style import GREY, PAGE_WIDTH

TALLEST = 8.5
GAP = 0.03  # inches between images
CHARACTERS_AN_INCH = 15


def draw_grid(runs: SuiteRuns) -> tuple[Figure, str] | None:
    """Rows are test images; columns input, ground truth, then each arm's lowest finished seed."""
    columns = grid_columns(runs)
    names = grid_names(columns)
    if not names:
        return None

    width = (PAGE_WIDTH - GAP * (len(columns) - 1)) / len(columns)
    width = min(width, 1.6)
    pictures = {
        (name, i): _open(run.artifact(f"{kind}/{name}")) if run else None
        for name in names
        for i, (_, run, kind) in enumerate(columns)
    }
    first = next(picture for picture in pictures.values() if picture is not None)
    height = width * first.shape[0] / first.shape[1]
    titles = [textwrap.fill(t, max(6, int(width * CHARACTERS_AN_INCH))) for t, _, _ in columns]
    top = 0.06 + 0.125 * max(title.count("\n") + 1 for title in titles)
    names = names[: max(1, int((TALLEST - top) / (height + GAP)))]

    whole = (
        width * len(columns) + GAP * (len(columns) - 1),
        top + height * len(names) + GAP * (len(names) - 1),
    )
    figure = Figure(figsize=whole)
    for r, name in enumerate(names):
        for c in range(len(columns)):
            left, bottom = c * (width + GAP), whole[1] - top - (r + 1) * height - r * GAP
            box = (left / whole[0], bottom / whole[1], width / whole[0], height / whole[1])
            axes = figure.add_axes(box)
            axes.set_axis_off()
            picture = pictures[name, c]
            if picture is None:
                axes.text(0.5, 0.5, "missing", ha="center", va="center", color=GREY)
                axes.set(xlim=(0, 1), ylim=(0, 1))
            else:
                axes.imshow(picture, interpolation="none", aspect="auto")
            if r == 0:
                axes.text(
                    0.5,
                    1 + 0.04 / height,
                    titles[c],
                    ha="center",
                    va="bottom",
                    transform=axes.transAxes,
                    linespacing=1.05,
                )
    seeds = {str(run.seed) for _, run, kind in columns if run and kind == "translations"}
    return (
        figure,
        f"{len(names)} test images at equal distances by name, seed {' and '.join(sorted(seeds))}",
    )


def _open(path: Path | None) -> np.ndarray | None:
    if path is None:
        return None
    try:
        with Image.open(path, formats=("PNG",)) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: cannot be read as an image") from error
