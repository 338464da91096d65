"""A suite's runs to one table, and that table to Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eval.metrics import METRICS
from experiments.tracking_reader import SuiteRuns
from reports.collect import GROUND_TRUTH, Entry, entry, runs_by_arm, table_scores

FAMILY_PREFIX = {"fcn": "FCN ", "labels": "Labels ", "color": "Lab ∩ "}
COLUMNS_SIDE_BY_SIDE = 8
"""More score columns than this are two tables: first what the paper has too (or is
scored against labels), then the rest."""


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
        """Finished seeds, `2 of 3` where some are not; the ground truth has none."""
        if self.arm == GROUND_TRUTH:
            return ""
        done = self.finished == self.planned
        return str(self.finished) if done else f"{self.finished} of {self.planned}"


@dataclass(frozen=True)
class Table:
    scores: tuple[str, ...]
    published: tuple[str, ...]
    """The scores that the paper has values of."""
    rows: tuple[Row, ...]

    def blocks(self) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
        """(our columns, the paper's columns) of each printed table."""
        if len(self.scores) + len(self.published) <= COLUMNS_SIDE_BY_SIDE:
            return [(self.scores, self.published)]
        first = self.published or tuple(
            s for s in self.scores if METRICS[s].family in ("fcn", "labels")
        )
        rest = tuple(score for score in self.scores if score not in first)
        return [(ours, papers) for ours, papers in ((first, self.published), (rest, ())) if ours]


def make_table(runs: SuiteRuns) -> Table:
    """An arm a row in the suite's order, the ground truth last."""
    scores = tuple(table_scores(runs))
    published = ((runs.record.get("published") or {}).get("rows")) or {}
    rows = []
    for arm, of_arm in runs_by_arm(runs).items():
        done = sum(run.status == "done" for run in of_arm)
        values = published.get(arm) or {}
        rows.append(
            Row(
                arm,
                done,
                len(of_arm),
                {score: entry(of_arm, score) for score in scores},
                {score: _as_published(value) for score, value in values.items()},
            )
        )
    named = {score for row in rows for score in row.published}
    return Table(scores, tuple(score for score in scores if score in named), tuple(rows))


def title(score: str, arrow: bool = True) -> str:
    """A score's column title: its family, label, unit and which way is better."""
    metric = METRICS[score]
    prefix = FAMILY_PREFIX.get(metric.family, "")
    label = metric.label if metric.family not in ("fcn", "labels") else _uncapitalised(metric.label)
    unit = f" ({metric.unit})" if metric.unit else ""
    way = " ↑" if metric.better == "higher" else " ↓"
    return f"{prefix}{label}{unit}{way if arrow else ''}"


def cell_text(cell: Entry, score: str, finished: int | None = None) -> str:
    """`0.859 ± 0.012`, its n where it is not the number of finished seeds; or why it is empty."""
    if cell.interval is None:
        return cell.state
    digits = decimals(score)
    text = f"{cell.interval.mean:.{digits}f}"
    if cell.interval.half_width is not None:
        text += f" ± {cell.interval.half_width:.{digits}f}"
    expected = cell.planned if finished is None else finished
    return text if cell.interval.n == expected else f"{text} (n = {cell.interval.n})"


def decimals(score: str) -> int:
    """Digits behind the point."""
    return 2 if METRICS[score].unit == "dB" else 3


def markdown(table: Table) -> str:
    """One or two Markdown tables, columns padded so that they read well as plain text too."""
    parts = []
    for ours, papers in table.blocks():
        head = [
            "arm",
            "n",
            *map(title, ours),
            *(f"paper: {title(s, False).removeprefix('FCN ')}" for s in papers),
        ]
        rows = [
            [
                row.arm.replace("|", "\\|"),
                row.n,
                *(cell_text(row.entries[score], score, row.finished) for score in ours),
                *(row.published.get(score, "") for score in papers),
            ]
            for row in table.rows
        ]
        parts.append(_aligned(head, rows))
    return "\n\n".join(parts)


def latex(table: Table, caption: str, label: str, source: str) -> str:
    """A `table*` for \\input (booktabs), one tabular a block, the paper's columns grouped."""
    lines = [r"% needs \usepackage{booktabs}", r"\begin{table*}", r"\centering", r"\small"]
    lines += [rf"\caption{{{escape(caption)}}}", rf"\label{{{label}}}"]
    for i, (ours, papers) in enumerate(table.blocks()):
        lines += [r"\par\medskip"] if i else []
        lines += [rf"\begin{{tabular}}{{@{{}}l{'c' * (1 + len(ours) + len(papers))}@{{}}}}"]
        lines += [r"\toprule"]
        if papers:
            a, b = len(ours) + 2, len(ours) + len(papers) + 2
            lines += [
                rf" & & \multicolumn{{{len(ours)}}}{{c}}{{ours}} & "
                rf"\multicolumn{{{len(papers)}}}{{c}}{{{escape(source)}}} \\",
                rf"\cmidrule(lr){{3-{a}}}\cmidrule(l){{{a + 1}-{b}}}",
            ]
        head = ["arm", "$n$", *map(escape, map(title, ours))]
        head += [escape(title(score, False)) for score in papers]
        lines += [_tex_row(head), r"\midrule"]
        for row in table.rows:
            if row.arm == GROUND_TRUTH and len(table.rows) > 1:
                lines.append(r"\midrule")
            cells = [escape(row.arm), row.n]
            cells += [escape(cell_text(row.entries[score], score, row.finished)) for score in ours]
            cells += [escape(row.published.get(score, "")) for score in papers]
            lines.append(_tex_row(cells))
        lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join([*lines, r"\end{table*}", ""])


def as_csv(table: Table) -> str:
    """An arm a row; `SCORE`, `SCORE half-width`, `SCORE n`, `SCORE state`, `SCORE paper`."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    kinds = ("", " half-width", " n", " state")
    head = [f"{score}{kind}" for score in table.scores for kind in kinds]
    out.writerow(["arm", *head, *(f"{score} paper" for score in table.published)])
    for row in table.rows:
        cells: list[Any] = [row.arm]
        for score in table.scores:
            cell = row.entries[score]
            interval = cell.interval
            cells += ["" if interval is None else repr(interval.mean)]
            width = interval.half_width if interval else None
            cells += ["" if width is None else repr(width)]
            cells += [interval.n if interval else 0, cell.state]
        out.writerow([*cells, *(row.published.get(score, "") for score in table.published)])
    return text.getvalue()


TEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "×": r"$\times$",
    "±": r"$\pm$",
    "∩": r"$\cap$",
    "→": r"$\to$",
    "↔": r"$\leftrightarrow$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "–": "--",
    "—": "---",
}


def escape(text: str) -> str:
    """Plain text for LaTeX: its special characters and the few others that names here have."""
    return "".join(TEX.get(character, character) for character in text)


def _as_published(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:.2f}" if round(value, 2) == value else f"{value:g}"


def _uncapitalised(text: str) -> str:
    return text if text[1:2].isupper() else text[0].lower() + text[1:]


def _aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[i]) for line in (head, *rows)) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = [cells[0].ljust(widths[0])]
        padded += [c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True)]
        return f"| {' | '.join(padded)} |"

    rule = "|".join(["-" * (widths[0] + 2), *("-" * (w + 1) + ":" for w in widths[1:])])
    return "\n".join([line(head), f"|{rule}|", *map(line, rows)])


def _tex_row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
