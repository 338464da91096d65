"""What would decide a claim that is undecided, in a sentence."""

from __future__ import annotations

from dataclasses import dataclass

from reports.analysis.permutations import smallest_p
from reports.analysis.power import MOST_SEEDS, POWER, seeds_for_power
from reports.analysis.rounding import interval_text
from reports.analysis.statistics import ALPHA, FEW, Difference, holm

NO_SPREAD = {
    "same": "both arms have the same value in every seed: are they the same training?",
    "constant": "the seeds' values do not vary: either the seeds changed nothing or the score "
    "cannot tell; look at the runs",
    "shifted": "the difference is the same in every seed, so that no test has a spread to hold it "
    "against; look at the runs",
}
"""{Difference.lack_of_spread: what it says}"""


@dataclass(frozen=True)
class Family:
    """The claims of a suite that Holm's correction counts beside the one in question."""

    others: tuple[float, ...]
    """Their p-values."""
    asked: int
    """All claims that could be tested once their arms have several seeds."""

    @property
    def size(self) -> int:
        return len(self.others) + 1

    def after_holm(self, p: float) -> float:
        """What p becomes, the others as they are."""
        return holm([p, *self.others])[0]


def what_would_decide(found: Difference, family: Family, digits: int) -> str:
    """What an undecided claim lacks; `digits` are those of the score's differences."""
    if found.n < 2:
        return f"one seed shows no spread; {_seeds(_fewest(found, family))} {_could(found)}"
    if found.lack_of_spread:
        return NO_SPREAD[found.lack_of_spread]
    if found.n < FEW and found.smallest_p is not None:
        best = family.after_holm(found.smallest_p)
        if best >= ALPHA:
            over = f" after Holm over {family.size} claims" if family.size > 1 else ""
            return (
                f"cannot reach p < {ALPHA}{over} with {seeds_text(found)} ({best:.3g} at best); "
                f"{_fewest(found, family)} could"
            )
    wanted = seeds_for_power(found.standardised or 0.0, family.size, found.paired)
    if wanted is None:
        told = f"more than {MOST_SEEDS} seeds would be needed if the difference is as small as it "
        left = interval_text(found.interval, digits) if found.interval else None
        return f"{told}looks" + (f"; these leave {left} possible" if left else "")
    return (
        f"about {_seeds(max(wanted, found.n + 1))} {_could(found)}, with {100 * POWER:.0f} % power "
        "if the difference is as large as it looks"
    )


def seeds_text(found: Difference) -> str:
    """`5 seeds paired`, `4 and 20 seeds unpaired (2 seeds in common)`."""
    a, b = found.counts
    told = _seeds(a) if a == b else f"{a} and {_seeds(b)}"
    if found.n > 1 and found.design:
        told += f" {found.design}"
    if found.in_common:
        told += f" ({_seeds(found.in_common)} in common)"
    return told


def _fewest(found: Difference, family: Family) -> int:
    """The fewest seeds an arm, more than there are, with which a test can reach ALPHA after Holm.

    With one seed there is no p yet: then every claim that was asked for is counted.
    """

    def after_holm(p: float) -> float:
        return p * family.asked if found.n < 2 else family.after_holm(p)

    counts = range(found.n + 1, FEW)
    reach = (n for n in counts if after_holm(smallest_p(n, n, found.paired)) < ALPHA)
    return next(reach, FEW)


def _could(found: Difference) -> str:
    return f"{found.design} could decide".strip()


def _seeds(n: int) -> str:
    return f"{n} seed{'s' if n != 1 else ''}"
