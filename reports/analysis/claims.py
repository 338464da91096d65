"""What a suite claims: an ordering of two arms in a score."""

from __future__ import annotations

import re
from dataclasses import dataclass

from eval.metrics import METRICS
from experiments.tracking.reader import GROUND_TRUTH, SuiteRuns


@dataclass(frozen=True)
class Claim:
    """`first > second on score`."""

    first: str
    sign: str
    second: str
    score: str

    def agrees(self, effect: float) -> bool:
        """Whether first minus second has the claimed sign."""
        return effect > 0 if self.sign == ">" else effect < 0


def parse_claim(claim: str) -> Claim | None:
    """`70x70 > 1x1 on fcn.class_iou`, as experiments.spec reads it; None where it is none."""
    match = re.fullmatch(r"(.+?) ([<>]) (.+?) on (\S+)", claim)
    return Claim(*match.groups()) if match else None


def not_judged(runs: SuiteRuns) -> list[str]:
    """The claims on arms that were not asked for: nothing is open there, so they get no verdict."""
    texts = runs.record.claims
    claims = [(text, parse_claim(text)) for text in texts]
    left = set(runs.not_asked)
    return [text for text, claim in claims if claim and left & {claim.first, claim.second}]


def asked(runs: SuiteRuns) -> int:
    """How many claims are orderings in a score of two arms that were asked for."""
    there = {*runs.arms, GROUND_TRUTH}
    claims = map(parse_claim, runs.record.claims)
    return sum(
        c is not None and {c.first, c.second} <= there and c.score in METRICS for c in claims
    )
