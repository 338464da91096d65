"""Which seeds of two arms are compared with each other."""

from __future__ import annotations

from experiments.tracking.reader import GROUND_TRUTH, SuiteRuns
from reports.analysis.runs import arm_values, runs_by_arm
from reports.analysis.statistics import FEW, Difference, difference

ORDER_OF_DATA = ("training.batch", "training.jitter", "training.mirror")
"""Arms that differ in one of these see other data in another order under the same seed."""


def compare(first: str, second: str, score: str, runs: SuiteRuns) -> Difference | None:
    """Two arms in one score; None where one has no value.

    They are paired where they have the same seeds, or share FEW at least: pairs of fewer could not
    be decided, and would leave seeds out. The ground truth is one number without a seed, so an arm
    is compared with it as with a constant.
    """
    by_arm = runs_by_arm(runs)
    a, b = (arm_values(by_arm.get(arm, []), score) for arm in (first, second))
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
    same_order = _same_order_of_data(first, second, runs)
    if same_order and len(shared) >= min(max(len(a), len(b)), FEW):
        return difference(*pairs, True)
    in_common = len(shared) if same_order else 0
    return difference(list(a.values()), list(b.values()), False, in_common=in_common)


def _same_order_of_data(first: str, second: str, runs: SuiteRuns) -> bool:
    a, b = (runs.record.changes.get(arm, {}) for arm in (first, second))
    return all(a.get(key) == b.get(key) for key in ORDER_OF_DATA)
