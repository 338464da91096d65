"""The readers of weights and of what run directories hold, called on one file."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def read_checkpoint(path: Path) -> None:
    from pix2pix.checkpoint import load

    assert isinstance(load(path), dict)


def read_generator(path: Path) -> None:
    import torch

    from pix2pix.checkpoint import load_generator

    network, content = load_generator(path)
    assert isinstance(content["origin"], dict)
    height, width = content["size"]
    if height * width <= 256**2:
        network(torch.zeros(1, content["channels"][0], height, width))


def read_scorer(path: Path) -> None:
    import torch

    from eval.scorer.file import load_scorer

    model, metadata = load_scorer(path)
    assert len(metadata["class_names"]) == model.classes
    model(torch.zeros(1, 3, 8, 8))


def read_journal(path: Path) -> None:
    from experiments.run import jobs
    from experiments.run.journal import is_done, last, read_records, replay

    records = read_records(path)
    assert all(isinstance(record["event"], str) for record in records)
    kept = replay(records)
    assert [record for record in kept if record not in records] == []
    last(records, "losses")
    is_done(path.parent)
    job = jobs.Job("cell", path.parent.name, "t", str(path.parents[2]), None, {}, "r", None)
    assert jobs.state(job).word


def read_job(path: Path) -> None:
    from experiments.run.jobs import Job

    job = Job.from_json(path.read_text(encoding="utf-8", errors="replace"))
    assert job.directory.is_relative_to(job.out) and re.fullmatch("[0-9a-f]+", job.digest)
    assert Job.from_json(job.to_json()) == job


def read_suite_record(path: Path) -> None:
    from experiments.record import _kept, read_suite_record

    arms = [{"name": "L1", "identity": "0123"}]
    _kept(path, arms, "fedc", set())
    record = read_suite_record(path)
    assert all(isinstance(arm["name"], str) for arm in record["arms"])
    assert all(cell["arm"] and cell["digest"] and cell["seed"] >= 0 for cell in record["cells"])


def read_scores(path: Path) -> None:
    from experiments.run import jobs
    from experiments.tracking.scores import read_sheet, reference_of, with_sheet

    sheet = documented(lambda: read_sheet(path.parent))
    reference_of(sheet)
    with_sheet([{"event": "done", "time": 1.0}], sheet)
    job = jobs.Job("cell", path.parent.name, "t", str(path.parents[2]), None, {}, "fedc", None)
    jobs.scores_current(job)


def documented(read: Callable[[], Any]) -> Any:
    """What `read_sheet` says: ValueError where it is not JSON."""
    from pix2pix.common.errors import UserError

    try:
        return read()
    except ValueError as error:
        raise UserError(f"scores.json: {error}") from None


def read_caffemodel(path: Path) -> None:
    from eval.scorer.convert_caffemodel import read_caffemodel

    for layer in read_caffemodel(path).layers:
        assert all(np.isfinite(blob).all() for blob in layer.blobs)


def ready_for_caffe(_: Path) -> None:
    ready("eval.scorer.convert_caffemodel")


def ready(module: str) -> None:
    """Modules that run programs while they are imported are imported outside the fence."""
    importlib.import_module(module)
