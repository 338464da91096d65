"""The report as a Markdown page that reads well in a terminal and in a pull request."""

from __future__ import annotations

from reports.analysis.cost import MEANS
from reports.analysis.runs import IMAGE_CAPTION
from reports.figures.style import IN_COLUMN
from reports.pages import verdict_text
from reports.pages.content import Report
from reports.pages.markdown import bullets, escape, plain_table
from reports.pages.scorer import SCORER_RULE
from reports.pages.tables import markdown


def markdown_page(report: Report, drawn: dict[str, str]) -> str:
    """`drawn`: {name: caption} of the figures in the same folder."""
    lines = [f"# {escape(report.heading)}", "", escape(report.question), ""]
    lines += [escape(", ".join(report.facts) + "."), "", markdown(report.table), ""]
    lines += bullets([*report.notes, *report.problems])
    if report.verdict_notes:
        lines += ["", "## Verdicts", ""]
        lines += [verdict_text.markdown(report.verdicts), ""] if report.verdicts else []
        lines += bullets([*report.verdict_notes, *verdict_text.remarks(report.verdicts)])
    cost = report.cost
    rows = [(row.arm, str(row.n), *row.cells) for row in cost.rows]
    lines += ["", "## Cost", "", escape(f"{MEANS} {cost.total}"), ""]
    lines += [plain_table(("arm", "n", *cost.titles), rows)]
    if report.scorer:
        sentence = f"{SCORER_RULE} {report.scorer.training}".rstrip()
        lines += ["", "## The scorer", "", escape(sentence), ""]
        lines += [plain_table(report.scorer.columns, report.scorer.rows)]
    if report.over_images:
        lines += ["", "## Over test images", "", escape(IMAGE_CAPTION), ""]
        lines += [plain_table(report.over_images.columns, report.over_images.rows)]
    for title, items in report.sections.items():
        lines += ["", f"## {title}", "", *bullets(items)]
    if drawn:
        lines += ["", "## Figures", ""]
        for name, caption in drawn.items():
            files = f"[PDF]({name}.pdf), [PDF at column width]({name}{IN_COLUMN}.pdf)"
            lines.append(f"- [{name}]({name}.png) ({files}): {escape(caption)}")
    return "\n".join([*lines, ""])
