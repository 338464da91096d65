"""What a store holds of a suite besides its table."""

from __future__ import annotations

from experiments.tracking.reader import RunRecord, SuiteRuns
from reports.analysis.consistency import OWN
from reports.pages.notes import names


def left_out(runs: SuiteRuns) -> list[str]:
    """A sentence for each way in which runs of the same name differ from those in the table."""
    told: dict[str, list[RunRecord]] = {}
    for run in runs.left_out:
        same = [other for other in runs.runs if other.arm == run.arm and other.params]
        differences = _differences(run, same[0]) if same else []
        if run.fingerprint and run.fingerprint != runs.record.fingerprint:
            differences = [f"other data (fingerprint {run.fingerprint[:12]}…)"]
        words = ", ".join(differences) or (
            "other settings or an earlier version" if same else "an arm of another record"
        )
        told.setdefault(words, []).append(run)
    return [
        f"left out, recorded under the same name with {words}: {names(of)}"
        for words, of in told.items()
    ]


def _differences(run: RunRecord, other: RunRecord) -> list[str]:
    keys = sorted((run.params.keys() | other.params.keys()) - set(OWN) - {"fingerprint"})
    return [
        f"{key} {run.params.get(key, 'none')}, not {other.params.get(key, 'none')}"
        for key in keys
        if run.params.get(key) != other.params.get(key)
    ]
