"""Verdicts in words, as a Markdown table and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from eval.metrics import METRICS
from reports.collect import decimals
from reports.markdown import aligned, escape
from reports.statistics import ALPHA, CONFIDENCE, FEW, POWER, detectable
from reports.tables import title
from reports.verdicts import CONTRADICTED, REPRODUCED, UNDECIDED, Verdict, digits_apart, parse_claim

COLUMNS = (
    "claim",
    "verdict",
    "score",
    "difference",
    "low",
    "high",
    "standardised",
    "measure",
    "n",
    "paired",
    "test",
    "p",
    "p_holm",
    "exact_p",
    "smallest_exact_p",
    "correlation",
    "advice",
    "detail",
)


def markdown(verdicts: Sequence[Verdict]) -> str:
    """A row a claim."""
    head = [
        "claim",
        "verdict",
        "difference",
        f"{100 * CONFIDENCE:.0f} % interval",
        "standardised",
        "n",
    ]
    head += ["test", "p", "p (Holm)", "exact p", "r"]
    rows = []
    for v in verdicts:
        digits = max(decimals(v.score) if v.score else 3, digits_apart(abs(v.effect or 0.0), 0.0))
        interval = "—"
        if v.interval:
            interval = f"{signed(v.interval[0], digits)} to {signed(v.interval[1], digits)}"
        size = "—" if v.standardised is None else f"{v.measure} = {signed(v.standardised, 1)}"
        rows.append(
            [
                escape(claim_words(v.claim)),
                f"**{v.word}**",
                "—" if v.effect is None else signed(v.effect, digits),
                interval,
                size,
                str(v.n) if v.n else "—",
                v.test if v.test != "none" else "—",
                *(p_text(p) if p is not None else "—" for p in (v.p, v.p_holm, v.exact_p)),
                "—" if v.correlation is None else signed(v.correlation, 1),
            ]
        )
    return aligned(head, rows)


def notes(verdicts: Sequence[Verdict], left: Sequence[str] = ()) -> list[str]:
    """How to read the verdicts and what these seeds can find; `left` are the claims that are not
    judged."""
    said = []
    if left:
        said = [f"not judged, their arms were not asked for: {'; '.join(map(claim_words, left))}"]
    if not verdicts:
        return said
    counts = {word: sum(v.word == word for v in verdicts) for word in (REPRODUCED, CONTRADICTED)}
    counts[UNDECIDED] = sum(v.word == UNDECIDED for v in verdicts)
    told = ", ".join(f"{n} {word}" for word, n in counts.items())
    lines = [f"{told}, of {len(verdicts)} claim{'s' if len(verdicts) > 1 else ''}"]
    tested = [v for v in verdicts if v.p is not None]
    if tested:
        lines.append(
            f"reproduced or contradicted: two-sided p below {ALPHA} after Holm's correction over "
            f"the {len(tested)} claims tested, on the claimed side or the other; fewer than {FEW} "
            "seeds are tested by an exact permutation test, others by a t-test, paired where arms "
            "share seeds and the order of the data; exact p stands beside it either way. The "
            "interval is of one difference alone, over seeds of the training"
        )
        lines += _power(tested)
    return [*lines, *said]


def open_claims(verdicts: Sequence[Verdict]) -> list[str]:
    """What would decide each claim that is undecided."""
    return [f"{claim_words(v.claim)}: {words(v)}" for v in verdicts if v.word == UNDECIDED]


def words(verdict: Verdict) -> str:
    """The means, the seeds, and what would decide it."""
    return f"{verdict.detail}" + (f"; {verdict.advice}" if verdict.advice else "")


def score_of(text: str) -> tuple[str, str]:
    """(`A > B`, the score's name) of a claim, or the whole text and nothing."""
    claim = parse_claim(text)
    if claim is None or claim.score not in METRICS:
        return text, ""
    return f"{claim.first} {claim.sign} {claim.second}", title(claim.score, False)


def claim_words(text: str) -> str:
    """A claim with the score's name in the place of its key."""
    return " on ".join(part for part in score_of(text) if part)


def p_text(p: float) -> str:
    """`0.041`, `0.0079`, `< 0.0001`."""
    if p < 0.0001:
        return "< 0.0001"
    return f"{p:.4f}" if p < 0.01 else f"{p:.3f}"


def signed(value: float, digits: int, minus: str = "−") -> str:
    """`+0.041`, with a true minus."""
    return f"{value:+.{digits}f}".replace("-", minus)


def as_csv(verdicts: Sequence[Verdict]) -> str:
    """A row a claim, in full precision."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(COLUMNS)
    for v in verdicts:
        low, high = v.interval or (None, None)
        cells = [v.claim, v.word, v.score, v.effect, low, high, v.standardised, v.measure, v.n]
        cells += [v.paired, v.test, v.p, v.p_holm, v.exact_p, v.smallest_p, v.correlation]
        cells += [v.advice, v.detail]
        out.writerow(["" if c is None else repr(c) if isinstance(c, float) else c for c in cells])
    return text.getvalue()


def _power(tested: Sequence[Verdict]) -> list[str]:
    """The smallest differences that the seeds there are would find."""
    designs = sorted({(v.n, v.paired) for v in tested})
    lines = []
    for n, paired in designs:
        found = detectable(n, len(tested), paired)
        how = "paired" if paired else "unpaired"
        if found is not None:
            lines.append(
                f"power: with {n} seeds {how}, a true difference of {found:.1f} standard "
                f"deviations is found with {100 * POWER:.0f} % probability at the least, smaller "
                "ones less often"
            )
    return lines
