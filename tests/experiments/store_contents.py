"""What an MLflow store of the tests holds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from experiments.tracking.store import open_store


def points(store: Path) -> Counter[tuple[str, str, int]]:
    """{(run, metric, step): how often it is in the store}."""
    opened = open_store(f"sqlite:///{store}")
    counts: Counter[tuple[str, str, int]] = Counter()
    for experiment in opened.experiments().values():
        for run in opened.runs(experiment, {}):
            for name in run.data.metrics:
                for point in opened.client.get_metric_history(run.info.run_id, name):
                    counts[run.info.run_name, name, point.step] += 1
    return counts


def files(store: Path) -> list[str]:
    """Every artifact, relative to the store."""
    return sorted(str(p.relative_to(store.parent)) for p in store.parent.glob("mlruns/**/*.*"))
