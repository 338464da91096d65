"""What an arm cost: time, seconds per step, memory, parameters."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.tracking.reader import RunRecord, SuiteRuns
from reports.sections import Section

MEANS = (
    "Means over the finished seeds; “outside training” is the share of a cell's wall time that is "
    "not training steps."
)
SHARED = "Cells that took the generator of another cell's training are not among them."
UNITS = {"seconds": 1, "minutes": 60, "hours": 3600}
LEAST = 2
"""A unit is used from this many on: 90 seconds, 100 minutes."""


def cost_table(runs: SuiteRuns) -> Section:
    """One row per arm; a dash where nothing was recorded."""
    rows, shared = [], 0
    seconds = [r.cost["seconds"] for r in runs.runs if r.finished and "seconds" in r.cost]
    unit = unit_of(max(seconds, default=0))  # one unit for the column, so that arms compare
    for arm in runs.arms:
        done = [run for run in runs.of_arm(arm) if run.finished]
        trained = [run for run in done if "training_seconds" in run.cost]
        shared += len(done) - len(trained) if trained else 0
        done = trained or done
        training, whole = _mean(done, "training_seconds"), _mean(done, "seconds")
        steps = _steps(done)
        outside = 1 - training / whole if training is not None and whole else None
        rows.append(
            [
                arm,
                str(len(done)),
                "–" if training is None or not steps else f"{training / steps:.4f}",
                "–" if whole is None else f"{whole / UNITS[unit]:.2f}",
                "–" if outside is None else f"{100 * outside:.0f} %",
                _count(_mean(done, "peak_memory_mib")),
                _count(_mean(done, "generator_parameters")),
                _count(_mean(done, "discriminator_parameters")),
            ]
        )
    head = ["arm", "n", "seconds per step", f"{unit} per cell", "outside training"]
    head += ["peak memory (MiB)", "G parameters", "D parameters"]
    total = time_in_all(runs)
    total = f"Time in all, runs added up: {total}." if total else "No time was recorded."
    means = MEANS + (f" {SHARED}" if shared else "")
    return Section("Cost", f"{means} {total}", head, rows)


def unit_of(seconds: float) -> str:
    """The largest unit of which there are at least LEAST."""
    return max(
        (u for u in UNITS if seconds >= LEAST * UNITS[u]), key=UNITS.__getitem__, default="seconds"
    )


def duration(seconds: float) -> str:
    """`41.0 seconds`, `1.5 hours`."""
    unit = unit_of(seconds)
    return f"{seconds / UNITS[unit]:.1f} {unit}"


def time_in_all(runs: SuiteRuns) -> str | None:
    """`1.5 hours on AMD EPYC (all finished cells, …)`, by device; None where none is recorded."""
    parts = {"all finished cells": [(run, "seconds") for run in runs.runs if run.finished]}
    if runs.ground_truth and runs.ground_truth.finished:
        parts["the real photos' scores"] = [(runs.ground_truth, "seconds")]
    if runs.scorer:
        parts["the scorer's training"] = [(runs.scorer, "training_seconds")]
    spent: dict[str, float] = {}
    for run, kind in (one for of in parts.values() for one in of):
        if kind in run.cost:
            device = run.provenance.get("device_name") or run.provenance.get("device") or "unknown"
            spent[device] = spent.get(device, 0.0) + run.cost[kind]
    if not spent:
        return None
    times = "; ".join(
        f"{duration(seconds)} on {device}" for device, seconds in sorted(spent.items())
    )
    counted = [name for name, of in parts.items() if any(kind in run.cost for run, kind in of)]
    scored = any(score.startswith("fcn.") for run in runs.runs for score in run.scores)
    unknown = "; without the scorer's training" if scored and runs.scorer is None else ""
    return f"{times} ({', '.join(counted)}{unknown})"


def _steps(runs: Sequence[RunRecord]) -> float | None:
    steps = [_last_step(run) for run in runs]
    known = [step for step in steps if step]
    return sum(known) / len(known) if known and len(known) == len(steps) else None


def _last_step(run: RunRecord) -> int:
    try:
        return int(run.params.get("training.steps", ""))
    except ValueError:  # a length in epochs
        curves = run.curves()
        return int(curves.step.max()) if len(curves) else 0


def _mean(runs: Sequence[RunRecord], name: str) -> float | None:
    values = [run.cost[name] for run in runs if name in run.cost]
    return sum(values) / len(values) if values else None


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"
