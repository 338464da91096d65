"""What a run directory says of a job that failed: the reason, and the last lines of its log."""

from __future__ import annotations

import contextlib
from pathlib import Path

from experiments.run.jobs import Job
from experiments.run.journal import Journal, read_records, write_json
from pix2pix.common.locks import Ownership

LAST = 2000
"""Characters of the log that a failure is recorded with."""


def describe(job: Job) -> None:
    """Write config.json, without which nobody knows what a journal is of."""
    write_json(job.directory / "config.json", {"digest": job.digest, **job.config})


def log_tail(directory: Path) -> str:
    """The end of a run directory's log.txt."""
    try:
        with open(directory / "log.txt", "rb") as file:
            file.seek(max(0, file.seek(0, 2) - 4 * LAST))
            return file.read().decode(errors="replace")[-LAST:]
    except OSError:
        return ""


def record_death(job: Job, reason: str) -> None:
    """Record, for a worker that could not do so itself, that and why it failed.

    Nothing is written where it did, or where another process owns the run directory by now, or
    where nothing can be written: the launcher says the reason in any case.
    """
    with contextlib.suppress(OSError):
        ownership = Ownership(job.directory / "owner.lock")
        if not ownership.take():
            return
        try:
            records = read_records(job.directory / "journal.jsonl")
            newest = records[-1] if records else {}
            if (newest.get("event"), newest.get("error")) != ("failed", reason):
                if not (job.directory / "config.json").exists():
                    describe(job)
                log = log_tail(job.directory)
                Journal(job.directory).append("failed", error=reason, log=log)
        finally:
            ownership.release()
