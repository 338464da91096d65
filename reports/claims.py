"""The paper's claims as orderings of means. A verdict with its test would replace `Check`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from eval.metrics import METRICS
from experiments.tracking_reader import SuiteRuns
from reports.collect import entry, runs_by_arm

HOLDS = "holds in the means"
FAILS = "does not hold in the means"


@dataclass(frozen=True)
class Check:
    """A claim, whether the means agree (None: cannot be checked), and the numbers or why not."""

    claim: str
    holds: bool | None
    detail: str

    @property
    def wording(self) -> str:
        if self.holds is None:
            return f"cannot be checked: {self.detail}"
        return f"{HOLDS if self.holds else FAILS} ({self.detail})"


def check_claims(runs: SuiteRuns) -> list[Check]:
    """Every claim of the suite record, in its order."""
    return [check_claim(claim, runs) for claim in runs.record.get("claims") or []]


def check_claim(claim: str, runs: SuiteRuns) -> Check:
    """`A > B on SCORE` (or <, or a chain A > B > C): whether the means are in that order."""
    ordering, _, score = (part.strip() for part in claim.rpartition(" on "))
    parts = re.split(r"\s([<>])\s", ordering)
    arms, signs = parts[::2], parts[1::2]
    if not signs:
        return Check(claim, None, "not an ordering like `A > B on SCORE`")
    if score not in METRICS:
        return Check(claim, None, f"no score is called {score}")
    by_arm = runs_by_arm(runs)
    intervals = []
    for arm in arms:
        if arm not in by_arm:
            return Check(claim, None, f"{arm} is not among the arms that were run")
        measured = entry(by_arm[arm], score)
        if measured.interval is None:
            return Check(claim, None, f"{arm} is {measured.state}")
        intervals.append(measured.interval)
    pairs = zip(intervals, intervals[1:], signs, strict=False)
    holds = all(a.mean > b.mean if sign == ">" else a.mean < b.mean for a, b, sign in pairs)
    detail = ", ".join(f"{arm} {i.mean:.3f}" for arm, i in zip(arms, intervals, strict=True))
    counts = sorted({i.n for i in intervals})
    return Check(claim, holds, f"{detail}; n = {' and '.join(map(str, counts))}")
