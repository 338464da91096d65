"""Whether a suite's runs may be averaged: the same data and settings, but for what arms change."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from experiments.record import SuiteRecord
from experiments.tracking.reader import RunRecord, SuiteRuns

OWN = ("seed", "digest")
"""Parameters in which every run differs from every other."""
UNTOLD = {"training.precision": "float32"}
"""What a parameter was before runs recorded it."""
SHARED = ("dataset", "direction", "size", "protocol", "training.")
"""Parameters (or their beginnings) that are the same in all arms, but where an arm changes them."""


def consistent(runs: SuiteRuns) -> SuiteRuns:
    """The suite with every run that must not be averaged over left out, saying why.

    A run of other data than the record's goes. Where the seeds of one arm differ in a setting, or
    an arm differs from most others in one that it does not change, nobody can say which was meant,
    and the arm's runs go. Values that are not finite count as not measured.
    """
    kept = [_of_this_data(_numbers_only(run), runs.record) for run in runs.runs]
    truth = runs.ground_truth
    truth = _of_this_data(_numbers_only(truth), runs.record) if truth else None
    why = {arm: _mixed(arm, kept) for arm in runs.arms} | _unlike(kept, runs)
    kept = [_out(run, why[run.arm]) if run.finished and why.get(run.arm) else run for run in kept]
    return replace(runs, runs=tuple(kept), ground_truth=truth)


def _numbers_only(run: RunRecord) -> RunRecord:
    """The run without values that nothing can be averaged with, which count as not measured."""
    lost = {name: value for name, value in run.scores.items() if not math.isfinite(value)}
    intervals = {
        name: bounds
        for name, bounds in run.image_intervals.items()
        if name not in lost and all(map(math.isfinite, bounds))
    }
    return replace(
        run,
        scores={name: value for name, value in run.scores.items() if name not in lost},
        not_measured=run.not_measured
        | {name: f"the value that is recorded is {value}" for name, value in lost.items()},
        image_intervals=intervals,
    )


def _of_this_data(run: RunRecord, record: SuiteRecord) -> RunRecord:
    wanted = record.fingerprint
    if not run.finished or not (wanted and run.fingerprint) or run.fingerprint == wanted:
        return run
    return _out(
        run, f"of another data version (fingerprint {run.fingerprint[:12]}…, not {wanted[:12]}…)"
    )


def _out(run: RunRecord, why: str) -> RunRecord:
    return replace(run, status="running", remark=why)


def _mixed(arm: str, runs: Iterable[RunRecord]) -> str | None:
    """In which settings the finished seeds of an arm differ; None where in none."""
    of = [run for run in runs if run.arm == arm and run.finished and run.params]
    said = []
    for key in sorted({key for run in of for key in run.params} - set(OWN)):
        values = dict.fromkeys(run.params.get(key, UNTOLD.get(key, "none")) for run in of)
        if len(values) > 1:
            said.append(f"{key} is {' or '.join(values)}")
    return f"of mixed settings ({', '.join(said)})" if said else None


def _unlike(runs: list[RunRecord], suite: SuiteRuns) -> dict[str, str]:
    """{arm: why} for arms that differ in a setting which no arm changes from the value that more of
    them have than any other; for all of them where there is no such value."""
    changed = {key for arm in suite.record.arms for key in arm.changes}
    if "training.steps" in changed or "training.epochs" in changed:
        changed |= {"training.steps", "training.epochs"}
    first: dict[str, RunRecord] = {}
    for run in runs:
        if run.finished and run.params:
            first.setdefault(run.arm, run)
    keys = {key for run in first.values() for key in run.params if key.startswith(SHARED)} - changed
    why: dict[str, str] = {}
    for key in sorted(keys):
        arms: dict[str, list[str]] = {}
        for arm, run in first.items():
            value = run.params.get(key, UNTOLD.get(key))
            if value is not None:
                arms.setdefault(value, []).append(arm)
        if len(arms) > 1:
            why |= _minority(key, arms)
    return why


def _minority(key: str, arms: dict[str, list[str]]) -> dict[str, str]:
    """{arm: why} of {value of a setting: the arms that have it}: all but those of the value that
    more have than any other."""
    most, second = sorted(arms, key=lambda value: -len(arms[value]))[:2]
    if len(arms[most]) == len(arms[second]):
        told = ", ".join(f"{value} in {' and '.join(of)}" for value, of in arms.items())
        why = f"of mixed settings ({key} is {told}: nobody can say which was meant)"
        return {arm: why for of in arms.values() for arm in of}
    return {
        arm: f"of mixed settings ({key} is {value}, in the other arms {most})"
        for value, of in arms.items()
        if value != most
        for arm in of
    }
