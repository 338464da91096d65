"""The content of a suite's report, gathered once for its Markdown and its HTML page."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.tracking.reader import SuiteRuns
from reports.analysis import Analysis
from reports.analysis.ceiling import RULE
from reports.analysis.comparisons import not_judged
from reports.analysis.cost import cost_table
from reports.analysis.formatting import title
from reports.analysis.ranking import in_words, paper_orders
from reports.analysis.runs import image_distances
from reports.analysis.verdicts import Verdict
from reports.figures.lab import bin_notes
from reports.pages import notes, verdict_text
from reports.pages.scorer import (
    batches_section,
    full_size_section,
    other_scorers_section,
    scorer_section,
    yardstick_section,
)
from reports.pages.tables import Table, make_table
from reports.sections import Section


@dataclass(frozen=True)
class Report:
    """A suite's analysis and the sentences about it, which are plain text."""

    analysis: Analysis
    table: Table
    verdict_notes: tuple[str, ...]
    """How to read the verdicts, and which claims got none; empty where the suite has no claims."""
    facts: tuple[str, ...]
    """What was trained on which data, a few words each."""
    problems: tuple[str, ...]
    """What limits the numbers: one seed, failed, missing and left-out cells, weak ceilings."""
    notes: tuple[str, ...]
    """How to read the table."""
    sections: tuple[Section, ...]
    """What comes after the scores: cost, the scorer, intervals over images, lists of facts."""

    @property
    def runs(self) -> SuiteRuns:
        return self.analysis.runs

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        return self.analysis.verdicts


def gather(runs: SuiteRuns) -> Report:
    """Analyse a suite's runs once, into everything that its pages say."""
    record, analysis = runs.record, Analysis(runs)
    table = make_table(analysis)
    problems = [
        *verdict_text.one_seed(analysis.verdicts),
        *notes.gaps(runs),
        *notes.few_images(record),
        *notes.earlier_runs(runs),
        *(f"Ceiling: {warning}" for warning in analysis.ceiling_warnings),
    ]
    problems += [f"Ceiling {RULE}"] if analysis.ceiling_warnings else []
    under = [
        notes.interval_note(runs),
        notes.paper_note(runs),
        notes.bold_note(runs, table),
        *notes.not_measured(runs),
        *notes.labelled(record),
        notes.not_asked(runs),
    ]
    lists = {
        "Order of the arms": _orders(analysis),
        "Colour distributions": bin_notes(runs),
        "Deviations from the paper": record.deviations,
        "Score names in files": _names(table),
        "Provenance": notes.provenance(runs),
        "Cells": notes.digests(runs),
    }
    scorer = scorer_section(runs), yardstick_section(runs), other_scorers_section(analysis)
    sections = [
        full_size_section(analysis),
        batches_section(analysis),
        cost_table(runs),
        *scorer,
        image_distances(runs),
    ]
    sections += [Section(title, lines=lines) for title, lines in lists.items() if lines]
    return Report(
        analysis=analysis,
        table=table,
        verdict_notes=tuple(verdict_text.notes(analysis.verdicts, not_judged(runs))),
        facts=tuple(_facts(runs)),
        problems=tuple(_sentence(line) for line in problems),
        notes=tuple(_sentence(line) for line in under if line),
        sections=tuple(section for section in sections if section),
    )


def _facts(runs: SuiteRuns) -> list[str]:
    record = runs.record
    facts = [
        f"data set {record.dataset}",
        record.direction.replace("->", "→"),
        f"profile {record.variant}",
        f"{notes.size_text(record)} pixels",
    ]
    if pairs := record.pairs:
        what = "images of the longer side" if record.unpaired else "pairs"
        facts.append(f"{pairs['train']:,} {what} to train on and {pairs['test']:,} to test")
    # Arms of different lengths have no common number.
    lengths = {"steps": record.steps, "epochs": record.epochs}
    facts += [f"{n:,} {kind}" for kind, n in lengths.items() if n]
    if notes.finished_seeds(runs):
        seeds = notes.seeds_text(runs)
        facts.append(f"{seeds} seed{'s' if seeds != '1' else ''} per arm")
    return facts


def _orders(analysis: Analysis) -> list[str]:
    """Our order beside the paper's."""
    orders = paper_orders(analysis)
    lines = [f"{title(order.score, False)}: {in_words(order)}" for order in orders]
    note = "orders of the means, proven or not: the verdicts say what is proven"
    return [note, *lines] if lines else []


def _names(table: Table) -> list[str]:
    """The scores' names in CSV files and suites."""
    return [f"{title(score, False)}: {score}" for score in table.scores]


def _sentence(line: str) -> str:
    return f"{line.rstrip('.')}."
