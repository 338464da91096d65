"""Verdicts in words, as a Markdown table and as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import pandas as pd

from eval.metrics import METRICS
from eval.statistics import ALPHA, CONFIDENCE, FEW, MOST_ARRANGEMENTS, ONE_SAMPLE, POWER, detectable
from reports.analysis.comparisons import parse_claim
from reports.analysis.formatting import interval_text, p_text, signed, title
from reports.analysis.verdicts import UNDECIDED, WORDS, Verdict
from reports.pages.markdown import aligned, escape

RENAMED = {"word": "verdict", "effect": "difference", "smallest_p": "smallest_exact_p"}
COLUMNS = ["claim", "verdict", "score", "difference", "low", "high", "standardised", "measure"]
COLUMNS += ["n", "paired", "test", "p", "p_holm", "exact_p", "smallest_exact_p", "correlation"]
COLUMNS += ["advice", "detail"]
"""Of verdicts.csv."""
HEAD = ["claim", "verdict", "difference", f"{100 * CONFIDENCE:.0f} % interval", "standardised"]
HEAD += ["n", "test", "p", "p (Holm)", "exact p", "r"]


def markdown(verdicts: Sequence[Verdict]) -> str:
    """One row per claim."""
    rows = []
    for v in verdicts:
        size = "—" if v.standardised is None else f"{v.measure} = {signed(v.standardised, 1)}"
        rows.append(
            [
                escape(claim_words(v.claim)),
                f"**{word(v)}**" if word(v) else "—",
                "—" if v.effect is None else signed(v.effect, v.digits),
                interval_text(v.interval, v.digits) if v.interval else "—",
                size,
                v.seeds or "—",
                v.test if v.test != "none" else "—",
                *(p_text(p) if p is not None else "—" for p in (v.p, v.p_holm, v.exact_p)),
                "—" if v.correlation is None else signed(v.correlation, 1),
            ]
        )
    return aligned(HEAD, rows)


def one_seed(verdicts: Sequence[Verdict]) -> list[str]:
    """The sentence that stands once on a page where claims rest on one seed; else nothing."""
    count = sum(map(rests_on_one_seed, verdicts))
    if not count:
        return []
    part = "" if count == len(verdicts) else f" ({count} of the {len(verdicts)} claims)"
    return [
        f"one seed per arm decides nothing{part}: there is no interval and no test; a paired "
        f"comparison needs at least {FEW} seeds (--seeds {FEW})"
    ]


def rests_on_one_seed(verdict: Verdict) -> bool:
    """Whether a claim is undecided because both arms have one seed and no more."""
    return verdict.seeds == "1"


def word(verdict: Verdict) -> str:
    """The verdict, or nothing with one seed: `one_seed` says it once for all claims."""
    return "" if rests_on_one_seed(verdict) else verdict.word


def advice(verdict: Verdict) -> str:
    """What would decide the claim, or nothing with one seed, as `word`."""
    return "" if rests_on_one_seed(verdict) else verdict.advice


def notes(verdicts: Sequence[Verdict], not_judged: Sequence[str] = ()) -> list[str]:
    """How to read the verdicts and what these seeds can find."""
    lines = []
    if verdicts:
        counts = {w: sum(v.word == w for v in verdicts) for w in WORDS}
        summary = ", ".join(f"{n} {w}" for w, n in counts.items())
        lines.append(f"{summary}, of {len(verdicts)} claim{'s' if len(verdicts) > 1 else ''}")
    tested = [v for v in verdicts if v.p is not None]
    if tested:
        lines += [*_tests(tested), *_power(tested)]
    if not_judged:
        claims = "; ".join(map(claim_words, not_judged))
        lines.append(f"not judged, their arms were not asked for: {claims}")
    return lines


def _tests(tested: Sequence[Verdict]) -> list[str]:
    """What the words and numbers rest on."""
    several = len(tested) > 1
    holm = (
        f"after Holm's correction over the {len(tested)} claims tested"
        if several
        else "(one claim is tested: nothing to correct)"
    )
    lines = [
        f"reproduced or contradicted: two-sided p below {ALPHA} {holm}, on the claimed side or the "
        f"other; fewer than {FEW} seeds are tested by a permutation test, others by a t-test, "
        "paired where arms share seeds and the order of the data",
        "exact p comes from the exact permutation test, whichever test decides, where values vary "
        f"and have at most {MOST_ARRANGEMENTS:,} arrangements; r is the correlation of paired arms "
        "over their seeds",
        "the interval is the t-interval of one difference alone, over seeds of the training, also "
        "where another test decides, and without Holm's correction: it may exclude 0 where the "
        "claim is undecided",
        "seeds show only what happened in them: an arm that collapses rarely, and in none of these "
        "seeds, has another mean than theirs",
    ]
    if any(v.word == UNDECIDED for v in tested):
        lines.append(
            "adding seeds after a look decides wrongly more often than 1 time in 20: to go on, run "
            "fresh seeds (as --seeds 11,12,13,14,15) and report those alone"
        )
    if any("and Welch's t" in v.test for v in tested):
        lines.append(
            f"where fewer than {FEW} seeds are compared with more, the permutation test and "
            "Welch's test must agree: p is the larger of both"
        )
    return lines


def remarks(verdicts: Sequence[Verdict]) -> list[str]:
    """What would decide each undecided claim, what speaks against a score, and which verdicts
    leave seeds out."""
    lines = []
    for v in verdicts:
        is_open = v.word == UNDECIDED and not rests_on_one_seed(v)
        if is_open or v.ceiling or v.left_out:
            prefix = "" if v.word == UNDECIDED else f"{v.word}; "
            lines.append(f"{claim_words(v.claim)}: {prefix}{words(v)}")
    return lines


def words(verdict: Verdict) -> str:
    """The means, the seeds, and what would decide the claim."""
    return "; ".join(part for part in (verdict.detail, advice(verdict)) if part)


def score_of(text: str) -> tuple[str, str]:
    """(`A > B`, the score's name) of a claim, or the whole text and nothing."""
    claim = parse_claim(text)
    if claim is None or claim.score not in METRICS:
        return text, ""
    return f"{claim.first} {claim.sign} {claim.second}", title(claim.score, False)


def claim_words(text: str) -> str:
    """A claim with the score's name in the place of its key, and with its source."""
    claim = parse_claim(text)
    source = f" ({claim.source})" if claim and claim.source and claim.score in METRICS else ""
    return " on ".join(part for part in score_of(text) if part) + source


def by_advice(verdicts: Sequence[Verdict]) -> dict[str, str]:
    """{what would decide: `A > B on SCORE, C > D on SCORE`, the open claims that it decides}."""
    claims: dict[str, list[str]] = {}
    for verdict in verdicts:
        if verdict.advice:
            claims.setdefault(verdict.advice, []).append(claim_words(verdict.claim))
    return {advice: ", ".join(texts) for advice, texts in claims.items()}


def verdict_frame(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """One row per claim, in full precision, with the columns of verdicts.csv."""
    rows = []
    for verdict in verdicts:
        low, high = verdict.interval or (None, None)
        rows.append(asdict(verdict) | {"low": low, "high": high})
    return pd.DataFrame(rows).rename(columns=RENAMED).reindex(columns=COLUMNS)


def _power(tested: Sequence[Verdict]) -> list[str]:
    """The smallest differences that the seeds there are would find."""
    designs = {(v.n, v.paired, v.test == ONE_SAMPLE) for v in tested}
    lines = []
    for n, paired, one_sample in sorted(designs):
        found = detectable(n, len(tested), paired)
        if found is None:
            continue
        if one_sample:
            design, unit, bound = "", " over the seeds", "at least "
        elif paired:
            design, unit, bound = " paired", " of the paired differences", "at least "
        else:  # Welch's test falls a little short of Student's, which this counts by
            design, unit, bound = " per arm, unpaired", ", pooled over the arms,", "about "
        lines.append(
            f"power: with {n} seeds{design}, a true difference of {found:.1f} standard deviations"
            f"{unit} is found with {bound}{100 * POWER:.0f} % probability, smaller ones less often"
        )
    return lines
