"""The progress of jobs that run elsewhere, read from their journals in a shared folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from experiments.run.jobs import Job
from experiments.run.journal import Record, parse_records
from experiments.run.launcher import Watch
from pix2pix.config import CellConfig


class Follower:
    """Passes on, as events of progress, what is added to the journals of jobs."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self._read: dict[str, int] = {}
        """{digest: bytes of the journal that were passed on}"""

    def begin(self, job: Job) -> None:
        """Pass over what the journal holds already."""
        self._read[job.digest] = _size(job)

    def look(self, job: Job) -> list[Record]:
        """Pass on the whole records that were added since the last look, and return them."""
        read = self._read[job.digest]
        if _size(job) <= read:
            return []
        try:
            with open(job.directory / "journal.jsonl", "rb") as file:
                file.seek(read)
                added = file.read()
        except OSError:  # the shared folder is away for a moment
            return []
        whole = added[: added.rfind(b"\n") + 1]
        self._read[job.digest] = read + len(whole)
        records = parse_records(whole)
        for record in records:
            for event in _events(job, record):
                self.watch(job, event)
        return records


def _size(job: Job) -> int:
    try:  # opened, because a network folder may show an older size to stat for a minute
        with open(job.directory / "journal.jsonl", "rb") as file:
            return file.seek(0, os.SEEK_END)
    except OSError:
        return 0


def _events(job: Job, record: Record) -> Iterator[dict[str, Any]]:
    """A record as a worker's launcher would hear of it, with the phases that no journal holds."""
    yield record
    if isinstance(job.config, CellConfig):
        if record["event"] == "data":
            total = job.config.training.total_steps(record["train"])
            yield {"event": "phase", "phase": "training", "total": total}
        elif record["event"] == "trained":
            yield {"event": "phase", "phase": "translating and scoring"}
