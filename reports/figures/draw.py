"""Every figure of a report that its runs allow: {name: caption}."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from matplotlib.figure import Figure

from experiments.tracking.reader import SuiteRuns
from reports.figures.classes import draw_classes
from reports.figures.curves import draw_curves
from reports.figures.grid import draw_grid
from reports.figures.lab import draw_lab_histograms
from reports.figures.seeds import draw_seeds
from reports.figures.style import COLUMN_WIDTH, FONT, IN_COLUMN, PAGE_WIDTH, paper_style, save

FIGURES = {
    "arms_by_inputs": draw_grid,
    "seeds": draw_seeds,
    "classes": draw_classes,
    "lab_histograms": draw_lab_histograms,
    "curves": draw_curves,
}
DRAWN = ("seeds", "classes", "lab_histograms", "curves")
"""Those that are lines and text: the page holds them as SVG."""


def drawings(runs: SuiteRuns, width: float) -> Iterator[tuple[str, Figure, str]]:
    """(name, figure of `width` inches, caption) of every figure that there is data for."""
    with paper_style():
        for name, draw in FIGURES.items():
            drawn = draw(runs, width)
            if drawn is not None:
                yield name, *drawn


def draw_all(runs: SuiteRuns, folder: Path) -> dict[str, str]:
    """Draw into `folder`: NAME.png, NAME.pdf and, where it is lines and text, NAME.svg at page
    width, and NAME_column.pdf at column width.

    Returns the captions of the former. An older figure that has no data now goes.
    """
    captions: dict[str, str] = {}
    with _one_line_for_missing_letters() as missing:
        for name, figure, captions[name] in drawings(runs, PAGE_WIDTH):
            save(figure, folder, name, "png", "pdf", *(["svg"] if name in DRAWN else []))
            missing(name)
        for name, figure, _ in drawings(runs, COLUMN_WIDTH):
            save(figure, folder, f"{name}{IN_COLUMN}", "pdf")
            missing(name)
    for name in FIGURES.keys() - captions.keys():
        for ending in (".png", ".pdf", ".svg", f"{IN_COLUMN}.pdf"):
            (folder / f"{name}{ending}").unlink(missing_ok=True)
    return captions


@contextmanager
def _one_line_for_missing_letters() -> Iterator[Callable[[str], None]]:
    """Says at the end which figures have letters that the font lacks, in the place of matplotlib's
    warnings, one a letter and file; other warnings go on. Gives what is to be called with the name
    of each figure that was drawn."""
    lacking: dict[str, dict[str, None]] = {}
    others: list[warnings.WarningMessage] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")

        def drawn(name: str) -> None:
            while caught:
                warning = caught.pop()
                glyph = re.match(r"Glyph (\d+) .*missing from", str(warning.message))
                if glyph:
                    lacking.setdefault(name, {})[chr(int(glyph[1]))] = None
                else:
                    others.append(warning)

        yield drawn
    for warning in others:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if lacking:
        letters = "".join(sorted({letter for of in lacking.values() for letter in of}))
        told = f"{FONT} has no {letters}: boxes in the PNG and PDF files of {', '.join(lacking)}"
        print(f"figures: {told}", file=sys.stderr)
