"""Images inside a page: lossless, and no more of them than the page may weigh."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

from PIL import Image

from experiments.tracking.reader import GROUND_TRUTH, RunRecord, SuiteRuns
from pix2pix.common.errors import UserError
from reports.analysis.runs import arm_state

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
