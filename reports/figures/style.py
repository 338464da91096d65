"""One look for every figure: the seaborn theme, widths of a two-column page, colours, files."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import seaborn as sns
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pix2pix.common.files import write_whole

COLUMN_WIDTH, PAGE_WIDTH = 3.25, 6.875
"""Inches, as in CVPR's author kit: a page 6 7/8 wide with two columns of 3 1/4. Every figure is
drawn at both widths with type of the same size, for \\includegraphics without scaling."""
TALLEST = 8.5
"""Inches; CVPR's text is 8 7/8 high, and the caption needs a part of it."""
IN_COLUMN = "_column"
"""Suffix of the file name of a figure at COLUMN_WIDTH."""
DPI = 200
CHARACTERS_PER_INCH = 15
"""Characters per inch of the type in figures, counted so that text never needs more room."""
LINE = 0.125
"""Inches from line to line."""
FONT = "DejaVu Sans"
"""Part of matplotlib, so figures look the same on every machine."""
INK = "#222222"
GREY = "#8a8a8a"
# The colour-blind-safe palette of Okabe and Ito; a dark ochre replaces its yellow, which is
# hard to see on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5C00")
DASHES = ("", (4, 1.5), (1.2, 1.2))
"""As seaborn takes them: solid, dashed, dotted."""

RC = {
    "font.size": 7.5,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.1,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "pix2pix-ablations",  # the same figure gets the same ids
    "pdf.fonttype": 42,  # TrueType, as publishers ask for
    "figure.constrained_layout.wspace": 0.05,  # keeps the numbers of neighbouring panels apart
    "axes.formatter.useoffset": False,  # a tick `0.006` must not mean 13.626
    "text.parse_math": False,  # a dollar in an arm's name is a dollar
}


@contextmanager
def paper_style() -> Iterator[None]:
    """Draw in our seaborn theme, whatever the user's matplotlibrc says; restore it afterwards."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        sns.set_theme("paper", "ticks", COLOURS, font=FONT, color_codes=False, rc=RC)
        yield


def arm_colours(arms: Sequence[str]) -> dict[str, str]:
    """{arm: colour}: an arm has the same colour in every figure."""
    return {arm: COLOURS[i % len(COLOURS)] for i, arm in enumerate(arms)}


def arm_dashes(arms: Sequence[str]) -> dict[str, str | tuple[float, float]]:
    """{arm: dash pattern}: solid, but dashed or dotted where the colours start again."""
    return {arm: DASHES[i // len(COLOURS) % len(DASHES)] for i, arm in enumerate(arms)}


def arm_line(arms: Sequence[str], arm: str) -> dict[str, Any]:
    """The colour and line style of one of the arms, as keywords of matplotlib."""
    dash = arm_dashes(arms)[arm]
    return {"color": arm_colours(arms)[arm], "linestyle": (0, dash) if dash else "solid"}


def few_ticks(axis: Axis, most: int) -> None:
    """Set at most `most` round ticks, so that their numbers never touch."""
    axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]))


def wrapped(text: str, inches: float) -> str:
    """Break a text, and words that are longer, into lines of at most `inches`."""
    room = max(6, int(inches * CHARACTERS_PER_INCH))
    # The arrow that shows the better direction stays with its word.
    return textwrap.fill(text.replace(" ↑", "\u00a0↑").replace(" ↓", "\u00a0↓"), room)


def inches_of(text: str) -> tuple[float, float]:
    """(width, height) in inches that lines of type need at most."""
    lines = text.split("\n")
    return max(map(len, lines)) / CHARACTERS_PER_INCH, LINE * len(lines)


def legend_columns(names: Sequence[str], width: float) -> int:
    """How many entries of a legend fit side by side in `width` inches."""
    handle = 0.45  # inches: the line and the gaps around it
    most = int(width / (handle + max(map(len, names)) / CHARACTERS_PER_INCH))
    rows = -(-len(names) // max(1, min(most, len(names))))
    return -(-len(names) // rows)  # rows of nearly equal length


def add_legend(figure: Figure, lines: Mapping[str, Mapping[str, Any]], columns: int) -> None:
    """A legend above the panels; `lines`: {name: keywords of its line}."""
    handles = [Line2D([], [], **line) for line in lines.values()]
    figure.legend(handles, list(lines), loc="outside upper left", ncols=columns, columnspacing=1.2)


KINDS: dict[str, dict[str, Any]] = {
    "png": {"dpi": DPI, "metadata": {"Software": None}},
    "pdf": {"dpi": 300, "metadata": {"CreationDate": None}},
    "svg": {"metadata": {"Date": None}, "transparent": True},
}
"""Options of savefig per format: PNG to look at, PDF for papers, SVG for web pages."""


def save(figure: Figure, folder: Path, name: str, *kinds: str) -> None:
    """Write NAME.KIND for each of `kinds`; the same figure gives the same bytes."""
    for kind in kinds:
        content = io.BytesIO()
        figure.savefig(content, format=kind, **KINDS[kind])
        write_whole(folder / f"{name}.{kind}", content.getvalue())
