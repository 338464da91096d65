"""What a suite claims, and the values and differences that its claims are judged by."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from eval.metrics import METRICS
from eval.statistics import FEW, Difference, difference
from experiments import spec
from experiments.tracking.reader import GROUND_TRUTH, RunRecord, SuiteRuns
from reports.analysis.runs import Entry, arm_values, entry, runs_by_arm

ORDER_OF_DATA = ("training.batch", "training.jitter", "training.mirror", "training.sampling")
"""Arms that differ in one of these see the data in another order under the same seed."""


@dataclass(frozen=True)
class Claim:
    """`first > second on score (source)`."""

    first: str
    sign: str
    second: str
    score: str
    source: str
    """Where it is stated, such as a table of the paper; "" if that is not said."""

    def agrees(self, effect: float) -> bool:
        """Whether first minus second has the claimed sign."""
        return effect > 0 if self.sign == ">" else effect < 0


def parse_claim(claim: str) -> Claim | None:
    """`70x70 > 1x1 on fcn.class_iou (Table 3)`; None where it is no claim."""
    try:
        return Claim(*spec.parse_claim(claim))
    except ValueError:
        return None


def not_judged(runs: SuiteRuns) -> list[str]:
    """The claims on arms that were not asked for: they get no verdict, and none is open."""
    claims = [(text, parse_claim(text)) for text in runs.record.claims]
    absent = set(runs.not_asked)
    return [text for text, claim in claims if claim and absent & {claim.first, claim.second}]


@dataclass(frozen=True)
class Evidence:
    """A suite's entries by arm and score, and the differences of its arms, each computed once."""

    runs: SuiteRuns
    _entries: dict[tuple[str, str], Entry] = field(default_factory=dict, repr=False)
    _differences: dict[tuple[str, str, str], Difference | None] = field(
        default_factory=dict, repr=False
    )

    @cached_property
    def by_arm(self) -> dict[str, list[RunRecord]]:
        """{arm: its runs, one per seed}, in the suite's order, the ground truth last."""
        return runs_by_arm(self.runs)

    @cached_property
    def testable_claims(self) -> int:
        """How many claims are orderings in a known score of two arms that were asked for."""
        arms = {*self.runs.arms, GROUND_TRUTH}
        claims = [parse_claim(text) for text in self.runs.record.claims]
        return sum(
            claim is not None and {claim.first, claim.second} <= arms and claim.score in METRICS
            for claim in claims
        )

    def entry(self, arm: str, score: str) -> Entry:
        """One arm of `by_arm` in one score."""
        key = (arm, score)
        if key not in self._entries:
            self._entries[key] = entry(self.by_arm[arm], score)
        return self._entries[key]

    def values(self, arm: str, score: str) -> dict[int | None, float]:
        """{seed: value} of an arm's finished runs; empty where the suite has no such arm."""
        return arm_values(self.by_arm.get(arm, []), score)

    def difference(self, first: str, second: str, score: str) -> Difference | None:
        """Two arms in one score; None where one has no value.

        They are paired where they have the same seeds, or share FEW at least: fewer pairs could
        not decide anything, and would leave seeds out. The ground truth is one number without a
        seed, so an arm is compared with it as with a constant.
        """
        key = (first, second, score)
        if key not in self._differences:
            self._differences[key] = self._compare(first, second, score)
        return self._differences[key]

    def _compare(self, first: str, second: str, score: str) -> Difference | None:
        a, b = self.values(first, score), self.values(second, score)
        if not a or not b:
            return None
        if first == GROUND_TRUTH:
            a = dict.fromkeys(b, *a.values())
        elif second == GROUND_TRUTH:
            b = dict.fromkeys(a, *b.values())
        shared = [seed for seed in a if seed in b]
        pairs = [a[seed] for seed in shared], [b[seed] for seed in shared]
        if GROUND_TRUTH in (first, second):
            return difference(*pairs, True, one_sample=True)
        same_order = self._same_order_of_data(first, second)
        if same_order and len(shared) >= min(max(len(a), len(b)), FEW):
            return difference(*pairs, True)
        in_common = len(shared) if same_order else 0
        return difference(list(a.values()), list(b.values()), False, in_common=in_common)

    def _same_order_of_data(self, first: str, second: str) -> bool:
        a, b = (self.runs.record.changes.get(arm, {}) for arm in (first, second))
        return all(a.get(key) == b.get(key) for key in ORDER_OF_DATA)
