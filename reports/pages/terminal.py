"""A suite's result as a few lines for the terminal: the table, the verdicts, one line each."""

from __future__ import annotations

from collections.abc import Sequence

from eval.statistics import FEW
from reports.analysis.formatting import interval_text, signed
from reports.analysis.runs import GROUND_TRUTH
from reports.analysis.verdicts import Verdict
from reports.pages.content import Report
from reports.pages.tables import markdown
from reports.pages.verdict_text import claim_words

ONE_SEED = "One seed per arm decides nothing; these differences only show a direction:"


def terminal_page(report: Report) -> str:
    """The result table, the problems of single cells, and one line per verdict."""
    lines = [report.runs.record.title, "", markdown(report.table)]
    failed = [problem for problem in report.problems if "failed" in problem]
    lines += ["", *failed] if failed else []
    if report.verdicts:
        lines += ["", *_verdict_lines(report.verdicts)]
    return "\n".join(lines)


def needs_more_seeds(report: Report) -> bool:
    """Whether the suite has claims, and too few seeds to decide them."""
    arms = [row for row in report.table.rows if row.arm != GROUND_TRUTH]
    return bool(report.verdicts) and any(row.planned < FEW for row in arms)


def _verdict_lines(verdicts: Sequence[Verdict]) -> list[str]:
    """With one seed no verdict is possible, which is said once instead of in every line."""
    width = max(len(claim_words(verdict.claim)) for verdict in verdicts)
    lines = [f"{claim_words(v.claim):<{width}}  {_effect(v)}".rstrip() for v in verdicts]
    if all(verdict.n <= 1 for verdict in verdicts):
        return [ONE_SEED, *(f"  {line}" for line in lines)]
    return [f"{v.word:<12}  {line}" for v, line in zip(verdicts, lines, strict=True)]


def _effect(verdict: Verdict) -> str:
    """`+0.042 (+0.010 to +0.074), n = 5`, or why there is no difference."""
    if verdict.effect is None:
        return verdict.detail
    text = signed(verdict.effect, verdict.digits)
    if verdict.interval is not None:
        text += f" ({interval_text(verdict.interval, verdict.digits)}), n = {verdict.seeds}"
    return text
