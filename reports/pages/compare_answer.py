"""Whether a suite's ordering carries over, what may not be compared, and what would decide."""

from __future__ import annotations

from collections.abc import Sequence

from reports.analysis import Analysis
from reports.analysis.formatting import title
from reports.analysis.runs import GROUND_TRUTH, arm_state
from reports.analysis.verdicts import CONTRADICTED, REPRODUCED
from reports.pages import notes
from reports.pages.compare_content import (
    LETTERS,
    Setting,
    arms_of,
    claims_of,
    unshared,
)
from reports.pages.verdict_text import claim_words

DIGEST = 12
"""Characters of a fingerprint that are shown."""


def sorted_claims(settings: Sequence[Setting]) -> tuple[list[str], list[str], list[str]]:
    """(the same verdict in all, one that turns round, undecided or not judged somewhere)."""
    same, turned, still_open = [], [], []
    for claim in claims_of(settings):
        found = [one.verdicts[claim].word if claim in one.verdicts else None for one in settings]
        if {REPRODUCED, CONTRADICTED} <= set(found):
            turned.append(claim)
        elif len(set(found)) == 1 and found[0] in (REPRODUCED, CONTRADICTED):
            same.append(claim)
        else:
            still_open.append(claim)
    return same, turned, still_open


def answer(settings: Sequence[Setting]) -> tuple[str, list[str]]:
    """Whether the ordering carries over, in a sentence, and the claims behind it."""
    same, turned, still_open = sorted_claims(settings)
    n = len(same) + len(turned) + len(still_open)
    where = "both" if len(settings) == 2 else f"all {len(settings)}"
    if not n:
        return "The suite states no claims: only the orders of the means can be compared.", []
    if turned:
        told = f"No: {_count(len(turned), n)} one way round in one setting and the other in another"
        told += f"; {_count(len(same), n)} the same verdict in {where}" if same else ""
    elif same and not still_open:
        told = f"Yes: {_count(len(same), n)} the same verdict in {where}"
    elif same:
        told = f"As far as it is decided, yes: {_count(len(same), n)} the same verdict in {where}"
    else:
        told = f"Not known: of {n} claim{'s' * (n > 1)} none is decided in {where}"
    if still_open and (same or turned):
        told += f"; {len(still_open)} not decided in at least one"
    words = {c: next(v.word for one in settings if (v := one.verdicts.get(c))) for c in same}
    lines = [f"{claim_words(c)}: {words[c]} in {where}" for c in same]
    for claim in turned:
        found = ", ".join(
            f"{one.verdicts[claim].word} in {letter}"
            for letter, one in zip(LETTERS, settings, strict=False)
            if claim in one.verdicts
        )
        lines.append(f"{claim_words(claim)}: {found}")
    return f"{told}.", lines


def _count(k: int, n: int) -> str:
    return f"{k} of {n} claim{'s' if n > 1 else ''} {'has' if k == 1 else 'have'}"


def limits(settings: Sequence[Setting]) -> list[str]:
    """What may not be compared, and what rests on too few seeds."""
    lines = [_images(settings), _scorers(settings)]
    for letter, one in zip(LETTERS, settings, strict=False):
        if set(notes.finished_seeds(one.runs)) == {1}:
            lines.append(
                f"{letter} has one seed an arm: no interval and no test, so no claim is decided "
                "there, and the order of its means may be chance."
            )
    for letter, one in zip(LETTERS, settings, strict=False):
        lines += [f"{letter}: {line}." for line in Analysis(one.runs).ceiling_warnings]
    lines += _arms(settings)
    lines += [
        f"{title(score, False)} is compared nowhere: no value in {', '.join(lacking)}."
        for score, lacking in unshared(settings)
    ]
    return [line for line in lines if line]


def _images(settings: Sequence[Setting]) -> str:
    prints = (one.runs.record.fingerprint for one in settings)
    groups = _groups(dict(zip(LETTERS, prints, strict=False)))
    if None in groups:
        return "Whether the images are the same is not recorded: values do not compare."
    if len(groups) == 1:
        return f"The images are the same (fingerprint {next(iter(groups))[:DIGEST]}…)."
    told = "; ".join(f"{of} {p[:DIGEST]}…" for p, of in groups.items())
    return (
        f"The images differ (fingerprints: {told}): values do not compare across them; orders and "
        "verdicts do."
    )


def _scorers(settings: Sequence[Setting]) -> str | None:
    scored = {
        letter: one.runs.record.reference
        for letter, one in zip(LETTERS, settings, strict=False)
        if any(name.startswith("fcn.") for run in one.runs.runs for name in run.scores)
    }
    if not scored:
        return None
    groups = _groups(scored)
    if None in groups:
        return f"{groups[None]} has no ground truth: its FCN-scores have no ceiling."
    if len(groups) == 1:
        return "The FCN-scores are one scorer's."
    return (
        f"The FCN-scores are of {len(groups)} scorers ({'; '.join(groups.values())}): each has its "
        "own ceiling, the ground truth."
    )


def _groups(values: dict[str, str | None]) -> dict[str | None, str]:
    """{value: `A, C`}, the letters of the settings that have it."""
    found: dict[str | None, list[str]] = {}
    for letter, value in values.items():
        found.setdefault(value, []).append(letter)
    return {value: ", ".join(letters) for value, letters in found.items()}


def _arms(settings: Sequence[Setting]) -> list[str]:
    lines = []
    for letter, one in zip(LETTERS, settings, strict=False):
        there = {row.arm for row in one.table.rows}
        lacking = [arm for arm in arms_of(settings) if arm not in there and arm != GROUND_TRUTH]
        empty = [
            f"{arm} {arm_state(of)}"
            for arm, of in ((arm, one.runs.of_arm(arm)) for arm in one.runs.arms)
            if not any(run.finished for run in of)
        ]
        told = [f"{', '.join(lacking)} not asked for"] if lacking else []
        told += [", ".join(empty)] if empty else []
        if told:
            lines.append(f"{letter} lacks arms: {'; '.join(told)}. Orders are of the shared arms.")
    return lines


def advice(settings: Sequence[Setting]) -> list[str]:
    """What would decide the open claims; claims that lack the same stand together."""
    lines = []
    for letter, one in zip(LETTERS, settings, strict=False):
        lacking: dict[str, list[str]] = {}
        for verdict in one.verdicts.values():
            if verdict.advice:
                lacking.setdefault(verdict.advice, []).append(claim_words(verdict.claim))
        for words, claims in lacking.items():
            every = len(claims) == len(one.verdicts) > 1
            told = f"all {len(claims)} claims" if every else "; ".join(claims)
            lines.append(f"{letter}, {told}: {words}.")
    return lines
