"""The numbers of a report: intervals, tests, verdicts, the order of the arms."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property

from eval.metrics import FAMILIES
from experiments.run.jobs import FULL_SIZE
from experiments.tracking.reader import RunRecord, SuiteRuns
from reports.analysis.ceiling import ceiling_warnings
from reports.analysis.comparisons import Evidence
from reports.analysis.ranking import best_arms
from reports.analysis.runs import table_scores
from reports.analysis.verdicts import Verdict, verdicts

BATCH = "batch-"
"""Scores of images translated in batches of 10: `fcn.class_iou/batch-10`."""


class Analysis(Evidence):
    """Everything that a suite's runs show, each computed once; pages only format it.

    `Analysis(runs)` costs nothing: what a page never asks for is never computed.
    """

    @cached_property
    def scores(self) -> tuple[str, ...]:
        """The columns of the table."""
        return tuple(table_scores(self.runs))

    @cached_property
    def best_arms(self) -> dict[str, str]:
        """{score: arm} where one arm is proven better than every other."""
        return best_arms(self, self.scores)

    @cached_property
    def verdicts(self) -> tuple[Verdict, ...]:
        """One per claim that is judged."""
        return verdicts(self)

    @cached_property
    def by_other_scorers(self) -> dict[str, Analysis]:
        """{name: the same runs, their FCN-scores those of that scorer}; it decides nothing."""
        return {
            name: Analysis(_as_scored_by(name, self.runs, ("fcn",)))
            for name in _variants(self.runs)
            if not name.startswith(BATCH) and name != FULL_SIZE
        }

    @cached_property
    def by_test_batch(self) -> dict[int, Analysis]:
        """{size: the same runs, their scores those of images translated in such batches}."""
        return {
            int(name.removeprefix(BATCH)): Analysis(_as_scored_by(name, self.runs, FAMILIES))
            for name in _variants(self.runs)
            if name.startswith(BATCH)
        }

    @cached_property
    def at_full_size(self) -> Analysis | None:
        """The same runs, their label scores at the size of the data set's own label maps."""
        if FULL_SIZE not in _variants(self.runs):
            return None
        return Analysis(_as_scored_by(FULL_SIZE, self.runs, ("labels",)))

    @cached_property
    def ceiling_warnings(self) -> tuple[str, ...]:
        """Sentences on FCN-scores that cannot tell arms apart."""
        return tuple(ceiling_warnings(self))


def _variants(runs: SuiteRuns) -> list[str]:
    """What stands behind the slash in the names of scores: `fcn.class_iou/NAME`."""
    every = [*runs.runs, *filter(None, [runs.ground_truth])]
    keys = (key for run in every for key in run.scores if "/" in key)
    return list(dict.fromkeys(key.partition("/")[2] for key in keys))


def _as_scored_by(variant: str, runs: SuiteRuns, families: Sequence[str]) -> SuiteRuns:
    """The runs with a variant's scores of these families in the place of the usual ones."""

    def changed(run: RunRecord) -> RunRecord:
        scores = {k: v for k, v in run.scores.items() if k.split(".")[0] not in families}
        for key, value in run.scores.items():
            name, _, of = key.partition("/")
            if of == variant:
                scores[name] = value
        return dataclasses.replace(run, scores=scores)

    truth = runs.ground_truth
    if truth and any(key.endswith(f"/{variant}") for key in truth.scores):
        truth = changed(truth)  # real photos are translated in no batches
    return dataclasses.replace(runs, runs=tuple(map(changed, runs.runs)), ground_truth=truth)
