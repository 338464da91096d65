"""The readers of weights and of what run directories hold, called on one file."""

from __future__ import annotations

import importlib
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


def read_weights(path: Path) -> None:
    from pix2pix.generator_files import open_generator

    assert open_generator(path).multiple == 32


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
    assert jobs.state(job_in(path.parent)).word


def read_job(path: Path) -> None:
    from experiments.run.jobs import Job

    job = Job.from_json(path.read_text(encoding="utf-8", errors="replace"))
    assert job.directory.is_relative_to(job.out)
    assert Job.from_json(job.to_json()) == job


def job_in(directory: Path) -> Any:
    """A job whose run directory is this one, whatever its digest."""
    from experiments.run.jobs import DataSource, Job, ReferenceConfig

    class Here(Job):
        @property
        def directory(self) -> Path:
            return directory

    config = ReferenceConfig(
        dataset="d", fingerprint="f", direction="a->b", size=(16, 16), scorer=None
    )
    data = DataSource("d", None, "data", "cache")
    return Here(config, "t", str(directory.parents[1]), data, "fedc", None)


def read_suite_record(path: Path) -> None:
    from experiments.record import parse_record, read_suite_record

    record = read_suite_record(path)
    assert all(cell.arm and cell.digest and cell.seed >= 0 for cell in record.cells)
    assert parse_record(record.model_dump_json()) == record


def read_scores(path: Path) -> None:
    from experiments.run import jobs
    from experiments.tracking.run import read_scores
    from pix2pix.common.errors import UserError

    try:
        read_scores(path.parent)
    except ValueError as error:  # what it raises for a damaged file
        raise UserError(str(error)) from None
    finally:
        jobs.scores_current(job_in(path.parent))


def read_caffemodel(path: Path) -> None:
    from eval.scorer.convert_caffemodel import read_caffemodel

    for layer in read_caffemodel(path)[0]:
        assert all(np.isfinite(blob).all() for blob in layer.blobs)


def ready_for_caffe(_: Path) -> None:
    ready("eval.scorer.convert_caffemodel")


def ready(module: str) -> None:
    """Modules that run programs while they are imported are imported outside the fence."""
    importlib.import_module(module)
