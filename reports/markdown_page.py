"""The report as a Markdown page: reads well in a terminal, and in a pull request."""

from __future__ import annotations

from reports import verdict_text
from reports.content import Report
from reports.scorer import SCORER_RULE
from reports.tables import aligned, markdown


def markdown_page(report: Report, drawn: dict[str, str]) -> str:
    """`drawn` is {figure: caption} of the figures that lie beside the page."""
    lines = [f"# {report.heading}", "", report.question, "", ", ".join(report.facts) + ".", ""]
    lines += [markdown(report.table), ""]
    lines += [f"- {line}" for line in (*report.notes, *report.problems)]
    if report.verdicts:
        lines += ["", "## Verdicts", "", verdict_text.markdown(report.verdicts), ""]
        lines += [f"- {line}" for line in verdict_text.notes(report.verdicts)]
    if report.scorer:
        lines += ["", "## The scorer", "", f"{SCORER_RULE} {report.scorer.training}".rstrip(), ""]
        lines += [aligned(report.scorer.columns, report.scorer.rows)]
    figures = [f"[{name}]({name}.png) ([PDF]({name}.pdf)): {c}" for name, c in drawn.items()]
    for title, items in {**report.sections, "Figures": figures}.items():
        if items:
            lines += ["", f"## {title}", "", *(f"- {item}" for item in items)]
    return "\n".join([*lines, ""])
