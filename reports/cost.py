"""What an arm cost: hours, seconds a step, memory, parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.tracking_reader import RunRecord, SuiteRuns


@dataclass(frozen=True)
class CostRow:
    arm: str
    n: int
    """Finished seeds."""
    cells: tuple[str, ...]


@dataclass(frozen=True)
class CostTable:
    titles: tuple[str, ...]
    rows: tuple[CostRow, ...]
    total: str


TITLES = (
    "seconds a step",
    "hours a cell",
    "outside training",
    "peak memory (MiB)",
    "G parameters",
    "D parameters",
)


def cost_table(runs: SuiteRuns) -> CostTable:
    """An arm a row; a dash where nothing was recorded."""
    rows = []
    for arm in runs.arms:
        done = [run for run in runs.of_arm(arm) if run.status == "done"]
        training, whole = _mean(done, "training_seconds"), _mean(done, "seconds")
        steps = _steps(done)
        outside = 1 - training / whole if training is not None and whole else None
        rows.append(
            CostRow(
                arm,
                len(done),
                (
                    "–" if training is None or not steps else f"{training / steps:.4f}",
                    "–" if whole is None else f"{whole / 3600:.3f}",
                    "–" if outside is None else f"{100 * outside:.0f} %",
                    _count(_mean(done, "peak_memory_mib")),
                    _count(_mean(done, "generator_parameters")),
                    _count(_mean(done, "discriminator_parameters")),
                ),
            )
        )
    return CostTable(TITLES, tuple(rows), _total(runs))


def _total(runs: SuiteRuns) -> str:
    """Device hours of all finished cells, by device."""
    hours: dict[str, float] = {}
    for run in runs.runs:
        if run.status == "done" and "seconds" in run.cost:
            device = run.provenance.get("device_name") or run.provenance.get("device") or "unknown"
            hours[device] = hours.get(device, 0.0) + run.cost["seconds"] / 3600
    if not hours:
        return "No time was recorded."
    told = (f"{value:.2f} hours on {device}" for device, value in sorted(hours.items()))
    return "All finished cells together: " + "; ".join(told) + "."


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
