"""The report as a Markdown page that reads well in a terminal and in a pull request."""

from __future__ import annotations

from reports.figures.style import IN_COLUMN
from reports.pages import verdict_text
from reports.pages.content import Report
from reports.pages.markdown import bullets, escape, section_lines
from reports.pages.tables import markdown


def markdown_page(report: Report, drawn: dict[str, str]) -> str:
    """`drawn`: {name: caption} of the figures in the same folder."""
    record = report.runs.record
    lines = [f"# {escape(record.title)}", "", escape(record.question), ""]
    lines += [escape(", ".join(report.facts) + "."), "", markdown(report.table), ""]
    lines += bullets([*report.notes, *report.problems])
    if report.verdict_notes:
        lines += ["", "## Verdicts", ""]
        lines += [verdict_text.markdown(report.verdicts), ""] if report.verdicts else []
        lines += bullets([*report.verdict_notes, *verdict_text.remarks(report.verdicts)])
    lines += [line for section in report.sections for line in section_lines(section)]
    if drawn:
        lines += ["", "## Figures", ""]
        for name, caption in drawn.items():
            files = f"[PDF]({name}.pdf), [PDF at column width]({name}{IN_COLUMN}.pdf)"
            lines.append(f"- [{name}]({name}.png) ({files}): {escape(caption)}")
    return "\n".join([*lines, ""])
