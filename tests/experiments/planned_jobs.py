"""Jobs of cells that no plan asks for: enough for tests that train nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.run.jobs import DataSource, Job
from pix2pix.config import CellConfig, TrainingSettings


def cell_job(
    name: str, title: str = "70x70 seed 1", out: Path | str = "runs", **fields: Any
) -> Job:
    """A cell's job; another `name` gives another digest."""
    config = CellConfig(
        dataset=name,
        fingerprint="f",
        direction="labels->photo",
        size=(32, 32),
        seed=1,
        training=TrainingSettings(steps=8),
    )
    data = DataSource("nothing-of-that-name", None, str(out), str(Path(out) / "cache"))
    values = {"reference": "r", "scorer": None} | fields
    return Job(config, title, str(out), data, **values)
