"""Verdicts in words, as a Markdown table and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from eval.metrics import METRICS
from reports.analysis.claims import parse_claim
from reports.analysis.permutations import MOST_ARRANGEMENTS
from reports.analysis.power import POWER, detectable
from reports.analysis.rounding import interval_text, p_text, signed
from reports.analysis.statistics import ALPHA, CONFIDENCE, FEW, ONE_SAMPLE
from reports.analysis.verdicts import CONTRADICTED, REPRODUCED, UNDECIDED, Verdict
from reports.pages.markdown import aligned, escape
from reports.pages.tables import title

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
        size = "—" if v.standardised is None else f"{v.measure} = {signed(v.standardised, 1)}"
        rows.append(
            [
                escape(claim_words(v.claim)),
                f"**{v.word}**",
                "—" if v.effect is None else signed(v.effect, v.digits),
                interval_text(v.interval, v.digits) if v.interval else "—",
                size,
                v.seeds or "—",
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
        lines += [*_tests(tested), *_power(tested)]
    return [*lines, *said]


def _tests(tested: Sequence[Verdict]) -> list[str]:
    """What the words and numbers rest on."""
    over = f" over the {len(tested)} claims tested" if len(tested) > 1 else ""
    holm = f"after Holm's correction{over}" if over else "(one claim is tested: nothing to correct)"
    lines = [
        f"reproduced or contradicted: two-sided p below {ALPHA} {holm}, on the claimed side or the "
        f"other; fewer than {FEW} seeds are tested by a permutation test, others by a t-test, "
        "paired where arms share seeds and the order of the data",
        "exact p is that of the exact permutation test, whichever test decides, where values vary "
        f"and have at most {MOST_ARRANGEMENTS:,} arrangements; r is the correlation of paired arms "
        "over their seeds",
        "the interval is the t-interval of one difference alone, over seeds of the training: also "
        "where another test decides, and without Holm's correction, so it may leave 0 out where "
        "the claim is undecided",
        "no seeds tell of what none of them did: an arm that collapses seldom, and in none of "
        "these, has another mean than theirs",
    ]
    if any(v.word == UNDECIDED for v in tested):
        lines.append(
            "seeds added after a look decide wrongly more often than 1 time in 20: to go on, run "
            "fresh ones (as --seeds 11,12,13,14,15) and report those alone"
        )
    if any("and Welch's t" in v.test for v in tested):
        lines.append(
            f"where fewer than {FEW} seeds stand against more, the permutation test and Welch's "
            "must agree: p is the larger of both"
        )
    return lines


def remarks(verdicts: Sequence[Verdict]) -> list[str]:
    """What would decide each claim that is undecided, what speaks against a score, and which
    verdicts leave seeds out."""
    told = []
    for v in verdicts:
        if v.word == UNDECIDED or v.ceiling or v.left_out:
            word = "" if v.word == UNDECIDED else f"{v.word}; "
            told.append(f"{claim_words(v.claim)}: {word}{words(v)}")
    return told


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
    designs = {(v.n, v.paired, v.test == ONE_SAMPLE) for v in tested}
    lines = []
    for n, paired, alone in sorted(designs):
        found = detectable(n, len(tested), paired)
        if found is None:
            continue
        if alone:
            how, of, sure = "", " over the seeds", "at least "
        elif paired:
            how, of, sure = " paired", " of the paired differences", "at least "
        else:  # Welch's test falls a little short of Student's, by which this is counted
            how, of, sure = " an arm, unpaired", ", pooled over the arms,", "about "
        lines.append(
            f"power: with {n} seeds{how}, a true difference of {found:.1f} standard deviations{of} "
            f"is found with {sure}{100 * POWER:.0f} % probability, smaller ones less often"
        )
    return lines
