"""All that a suite's report says, once, for its Markdown page and its HTML page."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.tracking.reader import SuiteRuns
from reports.analysis.ceiling import RULE, ceiling_warnings
from reports.analysis.claims import not_judged
from reports.analysis.cost import CostTable, cost_table
from reports.analysis.image_intervals import ImageIntervals, distances
from reports.analysis.ranking import in_words, paper_orders
from reports.analysis.verdicts import Verdict, verdicts
from reports.figures.lab import bin_notes
from reports.pages import notes, verdict_text
from reports.pages.scorer import ScorerKnowledge, scorer_knowledge
from reports.pages.tables import Table, make_table, title


@dataclass(frozen=True)
class Report:
    """A suite's runs and what is said of them; sentences are plain text."""

    runs: SuiteRuns
    table: Table
    verdicts: tuple[Verdict, ...]
    verdict_notes: tuple[str, ...]
    """How to read them, and which claims got none; empty where the suite has no claims."""
    heading: str
    question: str
    facts: tuple[str, ...]
    """What was trained on what, a few words each."""
    problems: tuple[str, ...]
    """What the numbers do not hold: failed, missing and left-out cells, weak ceilings."""
    notes: tuple[str, ...]
    """How to read the table."""
    cost: CostTable
    scorer: ScorerKnowledge | None
    """What the FCN-score's scorer knows of real photos, class by class."""
    over_images: ImageIntervals | None
    """Intervals over test images, which are not those over seeds."""
    sections: dict[str, tuple[str, ...]]
    """{title: lines} of what comes after the figures; only those that have lines."""


def gather(runs: SuiteRuns) -> Report:
    """Read a suite's runs once, into everything that its pages say."""
    record = runs.record
    table = make_table(runs)
    judged = tuple(verdicts(runs))
    warnings = ceiling_warnings(runs)
    problems = [*notes.gaps(runs), *notes.few_images(record), *notes.earlier_runs(runs)]
    problems += [f"Ceiling: {warning}" for warning in warnings]
    problems += [f"Ceiling {RULE}"] if warnings else []
    under = [notes.interval_note(runs), notes.paper_note(runs), notes.bold_note(runs, table)]
    under += [*notes.not_measured(runs), notes.not_asked(runs)]
    sections = {
        "Order of the arms": _orders(runs),
        "Colour distributions": bin_notes(runs),
        "Deviations from the paper": record.deviations,
        "Score names in files": _names(table),
        "Provenance": notes.provenance(runs),
        "Cells": notes.digests(runs),
    }
    return Report(
        runs=runs,
        table=table,
        verdicts=judged,
        verdict_notes=tuple(verdict_text.notes(judged, not_judged(runs))),
        heading=record.title,
        question=record.question,
        facts=tuple(_facts(runs)),
        problems=tuple(_sentence(line) for line in problems if line),
        notes=tuple(_sentence(line) for line in under if line),
        cost=cost_table(runs),
        scorer=scorer_knowledge(runs),
        over_images=distances(runs),
        sections={title: tuple(lines) for title, lines in sections.items() if lines},
    )


def _facts(runs: SuiteRuns) -> list[str]:
    record = runs.record
    said = [f"data set {record.dataset}", record.direction]
    said += [f"profile {record.variant}"]
    said += [f"{notes.size_text(record)} pixels"]
    if pairs := record.pairs:
        said.append(f"{pairs['train']:,} pairs to train on and {pairs['test']:,} to test")
    # Arms of different lengths have no one number.
    lengths = {"steps": record.steps, "epochs": record.epochs}
    said += [f"{n:,} {kind}" for kind, n in lengths.items() if n]
    counts = sorted(set(notes.finished_seeds(runs)))
    if counts:
        many = "–".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
        said.append(f"{many} seed{'s' if counts != [1] else ''} an arm")
    return [fact.replace("->", "→") for fact in said]


def _orders(runs: SuiteRuns) -> list[str]:
    """Our order beside the paper's, and what it is not."""
    lines = [f"{title(order.score, False)}: {in_words(order)}" for order in paper_orders(runs)]
    return ["of the means, proven or not: verdicts say what is proven", *lines] if lines else []


def _names(table: Table) -> list[str]:
    """What CSV files and suites call the scores."""
    return [f"{title(score, False)}: {score}" for score in table.scores]


def _sentence(line: str) -> str:
    return f"{line.rstrip('.')}."
