"""One look for every figure: widths of a two-column page, type, colours, files."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pix2pix.common.files import replacing

COLUMN_WIDTH, PAGE_WIDTH = 3.25, 6.875
"""Inches; CVPR's author kit: text 6 7/8 inches wide in two columns of 3 1/4. Every figure is drawn
at both, its type of the same size: for \\includegraphics without scaling."""
TALLEST = 8.5
"""Inches; CVPR's text is 8 7/8 high, and a caption needs some."""
IN_COLUMN = "_column"
"""Behind the name of a figure's file at COLUMN_WIDTH."""
DPI = 200
CHARACTERS_AN_INCH = 15
"""Of the type in figures, a careful count."""
LINE = 0.125
"""Inches from line to line."""
FONT = "DejaVu Sans"
"""Comes with matplotlib: the same on every machine."""
INK = "#222222"
GREY = "#8a8a8a"
# Okabe and Ito's palette, without its yellow, which white paper swallows.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5C00")
DASHES = ("solid", (0, (4, 1.5)), (0, (1.2, 1.2)))

RC = {
    "font.family": "sans-serif",
    "font.sans-serif": [FONT],
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
    "svg.hashsalt": "pix2pix-ablations",  # the same ids for the same figure
    "pdf.fonttype": 42,  # TrueType, as publishers ask for
    "figure.constrained_layout.wspace": 0.05,  # numbers below neighbouring panels stay apart
    "axes.formatter.useoffset": False,  # `0.006` must not mean 13.626
    "text.parse_math": False,  # a dollar in an arm's name is a dollar
}


@contextmanager
def paper_style() -> Iterator[None]:
    """Draw within this, so that nobody's matplotlibrc shows."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC)
        yield


def line_styles(arms: Sequence[str]) -> dict[str, dict]:
    """{arm: colour and dash}: colours first, then the same colours dashed."""
    return {
        arm: {"color": COLOURS[i % len(COLOURS)], "linestyle": DASHES[i // len(COLOURS) % 3]}
        for i, arm in enumerate(arms)
    }


def few_ticks(axis: matplotlib.axis.Axis, most: int = 4) -> None:
    """At most so many round ticks, so that they never touch."""
    axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]))


def wrapped(text: str, inches: float, cut: bool = True) -> str:
    """Words on as many lines as `inches` need; `cut` says whether a longer word is cut."""
    room = max(6, int(inches * CHARACTERS_AN_INCH))
    # An arrow that says which way is better stays with its word.
    return textwrap.fill(
        text.replace(" ↑", "\u00a0↑").replace(" ↓", "\u00a0↓"), room, break_long_words=cut
    )


def inches_of(text: str) -> tuple[float, float]:
    """(width, height) of lines of type, rather more than less."""
    lines = text.split("\n")
    return max(map(len, lines)) / CHARACTERS_AN_INCH, LINE * len(lines)


def legend_columns(names: Sequence[str], width: float) -> int:
    """How many entries of a legend stand side by side in `width` inches."""
    handle = 0.45  # inches: the line and the gaps around it
    most = int(width / (handle + max(map(len, names)) / CHARACTERS_AN_INCH))
    rows = -(-len(names) // max(1, min(most, len(names))))
    return -(-len(names) // rows)  # rows of nearly equal length


KINDS = {
    "png": {"dpi": DPI, "metadata": {"Software": None}},
    "pdf": {"dpi": 300, "metadata": {"CreationDate": None}},
    "svg": {"metadata": {"Date": None}, "transparent": True},
}
"""To read, for papers, and with text as text for web pages."""


def save(figure: Figure, folder: Path, name: str, *kinds: str) -> None:
    """NAME.KIND for each of `kinds`, the same bytes for the same figure."""
    for kind in kinds:
        content = io.BytesIO()
        figure.savefig(content, format=kind, **KINDS[kind])
        with replacing(folder / f"{name}.{kind}") as file:
            file.write(content.getvalue())
