"""The numbers of a report: intervals, tests, verdicts, the order of the arms."""

from __future__ import annotations

import dataclasses
from functools import cached_property

from experiments.tracking.reader import RunRecord, SuiteRuns
from reports.analysis.ceiling import ceiling_warnings
from reports.analysis.comparisons import Evidence, not_judged
from reports.analysis.ranking import RankOrder, best_arms, paper_orders
from reports.analysis.runs import table_scores
from reports.analysis.verdicts import Verdict, verdicts


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
        runs = [*self.runs.runs, *filter(None, [self.runs.ground_truth])]
        keys = (key for run in runs for key in run.scores if "/" in key)
        return {
            name: Analysis(_as_scored_by(name, self.runs))
            for name in dict.fromkeys(key.partition("/")[2] for key in keys)
        }

    @cached_property
    def not_judged(self) -> tuple[str, ...]:
        """The claims on arms that were not asked for."""
        return tuple(not_judged(self.runs))

    @cached_property
    def ceiling_warnings(self) -> tuple[str, ...]:
        """Sentences on FCN-scores that cannot tell arms apart."""
        return tuple(ceiling_warnings(self))

    @cached_property
    def paper_orders(self) -> tuple[RankOrder, ...]:
        """The order of the arms here and in the paper, one per score."""
        return tuple(paper_orders(self))


def _as_scored_by(scorer: str, runs: SuiteRuns) -> SuiteRuns:
    """The runs with the FCN-scores of another scorer in the place of the first one's."""

    def changed(run: RunRecord) -> RunRecord:
        scores = {key: value for key, value in run.scores.items() if not key.startswith("fcn.")}
        for key, value in run.scores.items():
            if key.endswith(f"/{scorer}"):
                scores[key.partition("/")[0]] = value
        return dataclasses.replace(run, scores=scores)

    truth = runs.ground_truth and changed(runs.ground_truth)
    return dataclasses.replace(runs, runs=tuple(map(changed, runs.runs)), ground_truth=truth)
