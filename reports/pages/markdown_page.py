"""The report as a Markdown page: reads well in a terminal, and in a pull request."""

from __future__ import annotations

from collections.abc import Sequence

from reports.analysis.cost import MEANS
from reports.analysis.runs import IMAGE_CAPTION
from reports.figures.style import IN_COLUMN
from reports.pages import verdict_text
from reports.pages.content import Report
from reports.pages.markdown import aligned, escape
from reports.pages.scorer import SCORER_RULE
from reports.pages.tables import markdown


def markdown_page(report: Report, drawn: dict[str, str]) -> str:
    """`drawn` is {figure: caption} of the figures that lie beside the page."""
    lines = [f"# {escape(report.heading)}", "", escape(report.question), ""]
    lines += [escape(", ".join(report.facts) + "."), "", markdown(report.table), ""]
    lines += _items(*report.notes, *report.problems)
    if report.verdict_notes:
        lines += ["", "## Verdicts", ""]
        lines += [verdict_text.markdown(report.verdicts), ""] if report.verdicts else []
        lines += _items(*report.verdict_notes, *verdict_text.remarks(report.verdicts))
    cost = report.cost
    rows = [(row.arm, str(row.n), *row.cells) for row in cost.rows]
    lines += ["", "## Cost", "", escape(f"{MEANS} {cost.total}"), ""]
    lines += [_table(("arm", "n", *cost.titles), rows)]
    if report.scorer:
        said = f"{SCORER_RULE} {report.scorer.training}".rstrip()
        lines += ["", "## The scorer", "", escape(said), ""]
        lines += [_table(report.scorer.columns, report.scorer.rows)]
    if report.over_images:
        lines += ["", "## Over test images", "", escape(IMAGE_CAPTION), ""]
        lines += [_table(report.over_images.columns, report.over_images.rows)]
    for title, items in report.sections.items():
        lines += ["", f"## {title}", "", *_items(*items)]
    if drawn:
        lines += ["", "## Figures", ""]
        for name, caption in drawn.items():
            files = f"[PDF]({name}.pdf), [PDF at column width]({name}{IN_COLUMN}.pdf)"
            lines.append(f"- [{name}]({name}.png) ({files}): {escape(caption)}")
    return "\n".join([*lines, ""])


def _items(*sentences: str) -> list[str]:
    return [f"- {escape(sentence)}" for sentence in sentences]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return aligned([*map(escape, columns)], [[*map(escape, row)] for row in rows])
