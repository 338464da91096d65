"""The paper's claims as orderings of means. A verdict with its test would replace `Check`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from eval.metrics import METRICS
from experiments.tracking_reader import SuiteRuns
from reports.collect import Entry, entry, runs_by_arm

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
    """`A > B on SCORE` or `A < B on SCORE`: whether the means are in that order."""
    match = re.fullmatch(r"(.+?) ([<>]) (.+?) on (\S+)", claim)  # as experiments.spec reads it
    if match is None:
        return Check(claim, None, "not an ordering like `A > B on SCORE`")
    first, sign, second, score = match.groups()
    arms = (first, second)
    if score not in METRICS:
        return Check(claim, None, f"no score is called {score}")
    by_arm = runs_by_arm(runs)
    intervals = []
    for arm in arms:
        if arm not in by_arm:
            return Check(claim, None, f"{arm} is not among the arms that were run")
        measured = entry(by_arm[arm], score)
        if measured.interval is None:
            return Check(claim, None, f"{arm} {_lack(measured)}")
        intervals.append(measured.interval)
    a, b = (interval.mean for interval in intervals)
    holds = a > b if sign == ">" else a < b
    digits = next((d for d in range(3, 9) if f"{a:.{d}f}" != f"{b:.{d}f}"), 3)
    values = zip(arms, intervals, strict=True)
    detail = ", ".join(f"{arm} {i.mean:.{digits}f}" for arm, i in values)
    counts = sorted({i.n for i in intervals})
    return Check(claim, holds, f"{detail}; n = {' and '.join(map(str, counts))}")


def _lack(measured: Entry) -> str:
    """The words behind an arm that has no value."""
    if measured.state == "—":
        return "has no such score"
    if measured.state == "failed":
        return "failed"
    return f"is {measured.state}" + (f" ({measured.why})" if measured.why else "")
