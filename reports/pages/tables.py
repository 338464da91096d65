"""The result table of a suite, and its Markdown and its frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from eval.metrics import METRICS
from experiments.tracking.reader import GROUND_TRUTH
from reports.analysis import Analysis
from reports.analysis.formatting import decimals, plain, title
from reports.analysis.runs import Entry
from reports.pages.markdown import aligned, escape

COLUMNS_SIDE_BY_SIDE = 8
"""With more score columns than this there are two tables: first the scores that the paper prints
(or that are measured against labels), then the rest."""


@dataclass(frozen=True)
class Row:
    arm: str
    finished: int
    planned: int
    """Seeds."""
    entries: dict[str, Entry]
    published: dict[str, str]
    """{score: the paper's value as it prints it}."""

    @property
    def n(self) -> str:
        """Finished seeds, `2 of 3` where some are not finished; empty for the ground truth."""
        if self.arm == GROUND_TRUTH:
            return ""
        done = self.finished == self.planned
        return str(self.finished) if done else f"{self.finished} of {self.planned}"


@dataclass(frozen=True)
class Table:
    scores: tuple[str, ...]
    published: tuple[str, ...]
    """The scores that the paper prints."""
    rows: tuple[Row, ...]
    best_arms: dict[str, str]
    """{score: arm} where one arm is proven better than every other; see analysis.ranking."""

    def bold(self, row: Row, score: str) -> bool:
        """Whether an arm's value in a score is bold."""
        return self.best_arms.get(score) == row.arm

    def blocks(self) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
        """(our columns, the paper's columns) of each printed table."""
        if len(self.scores) + len(self.published) <= COLUMNS_SIDE_BY_SIDE:
            return [(self.scores, self.published)]
        first = self.published or tuple(
            s for s in self.scores if METRICS[s].family in ("fcn", "labels")
        )
        rest = tuple(score for score in self.scores if score not in first)
        return [(ours, papers) for ours, papers in ((first, self.published), (rest, ())) if ours]


def make_table(analysis: Analysis) -> Table:
    """One row per arm in the suite's order, the ground truth last."""
    scores = analysis.scores
    published = analysis.runs.record.published_rows
    rows = tuple(
        Row(
            arm,
            sum(run.finished for run in runs),
            len(runs),
            {score: analysis.entry(arm, score) for score in scores},
            {score: _as_published(value) for score, value in published.get(arm, {}).items()},
        )
        for arm, runs in analysis.by_arm.items()
    )
    named = {score for row in rows for score in row.published}
    papers = tuple(score for score in scores if score in named)
    return Table(scores, papers, rows, analysis.best_arms)


def cell_text(cell: Entry, score: str, finished: int) -> str:
    """`0.859 ± 0.012`, with its n where that is not the number of finished seeds; or why it is
    empty."""
    if cell.interval is None:
        return cell.state
    digits = decimals(score)
    text = plain(cell.interval.mean, digits)
    if cell.interval.half_width is not None:
        text += f" ± {cell.interval.half_width:.{digits}f}"
    return text if cell.interval.n == finished else f"{text} (n = {cell.interval.n})"


def markdown(table: Table) -> str:
    """One or two Markdown tables, padded to read well as plain text too."""
    parts = []
    for ours, papers in table.blocks():
        head = ["arm", "n", *map(title, ours), *(f"paper: {title(s, False)}" for s in papers)]
        rows = [
            [
                escape(row.arm),
                row.n,
                *(marked(table, row, score) for score in ours),
                *(escape(row.published.get(score, "")) for score in papers),
            ]
            for row in table.rows
        ]
        parts.append(aligned(head, rows))
    return "\n\n".join(parts)


def marked(table: Table, row: Row, score: str) -> str:
    """A value as a Markdown cell, bold where it is proven best."""
    text = cell_text(row.entries[score], score, row.finished)
    return f"**{text}**" if table.bold(row, score) else text


def table_frame(table: Table) -> pd.DataFrame:
    """One row per arm; `SCORE`, `SCORE half-width`, `SCORE n`, `SCORE state`, `SCORE paper`."""
    rows = []
    for row in table.rows:
        cells: dict[str, Any] = {"arm": row.arm}
        for score in table.scores:
            entry = row.entries[score]
            interval = entry.interval
            cells[score] = entry.mean
            cells[f"{score} half-width"] = interval.half_width if interval else None
            cells[f"{score} n"] = interval.n if interval else 0
            cells[f"{score} state"] = entry.state
        cells |= {f"{score} paper": row.published.get(score) for score in table.published}
        rows.append(cells)
    return pd.DataFrame(rows)


def _as_published(value: float) -> str:
    return f"{value:.2f}" if round(value, 2) == value else f"{value:g}"
