"""Jobs for tests that need no data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.run.jobs import DataSource, Job, ReferenceConfig
from pix2pix.config import CellConfig, TrainingSettings


def cell_config(seed: int = 1, **changes: Any) -> CellConfig:
    """A short training of a data set that does not exist."""
    values: dict[str, Any] = {
        "dataset": "nowhere",
        "direction": "labels->photo",
        "size": (32, 32),
        "seed": seed,
        "fingerprint": "f",
        "training": TrainingSettings(steps=10),
    }
    return CellConfig(**(values | changes))


def a_job(out: Path, digest: str = "abc", **changes: Any) -> Job:
    """A cell's job with this digest, whatever its settings, and `changes`."""
    values: dict[str, Any] = {
        "digest": digest,
        "title": digest,
        "out": out,
        "data": DataSource(name="nowhere", registry=None, root=out, cache=out / "cache"),
        "config": cell_config(),
        "reference": "r",
        "scorer": None,
    }
    return Job(**(values | changes))


def a_reference(**changes: Any) -> ReferenceConfig:
    """What the scores of `cell_config` are measured against."""
    values: dict[str, Any] = {
        "dataset": "nowhere",
        "fingerprint": "f",
        "direction": "labels->photo",
        "size": (32, 32),
        "scorer": None,
    }
    return ReferenceConfig(**(values | changes))
