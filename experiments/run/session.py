"""What all phases of a job use: its data, its journal, its progress events, when to stop."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from experiments.run.jobs import Job
from experiments.run.journal import Journal, Record, last
from experiments.run.node import versions
from experiments.run.signals import Stop
from pix2pix.common.errors import UserError
from pix2pix.common.locks import owning
from pix2pix.config import CellConfig
from pix2pix.data.cache import PairedData, arrived, prepare
from pix2pix.data.registry import DatasetEntry, find_entry, load_registry

Emit = Callable[[dict[str, Any]], None]


class Session:
    """What all phases of a job use: its data, its journal, its progress events, when to stop."""

    def __init__(self, job: Job, emit: Emit, stop: Stop) -> None:
        self.job = job
        self._emit = emit
        self.stop = stop
        self.journal = Journal(job.directory)
        self.began = time.monotonic()
        self.waited = 0.0
        """Seconds of this session spent waiting for another job."""
        self.device = torch.device(job.device)
        registry = load_registry(Path(job.data.registry) if job.data.registry else None)
        self.entry: DatasetEntry = find_entry(registry, job.data.name)
        direction, cache = job.config.direction, Path(job.data.cache)
        self.data: PairedData
        if job.data.decoded:
            self.data = arrived(self.entry, direction, cache / job.data.decoded)
        else:
            self.data = prepare(self.entry, Path(job.data.root), job.config.size, direction, cache)
        self.input_role = self.entry.roles(job.config.direction)[0]
        if self.data.fingerprint != job.config.fingerprint:
            raise UserError(
                f"data set {job.data.name} changed while the suite ran (fingerprint "
                f"{self.data.fingerprint[:12]} instead of {job.config.fingerprint[:12]}): "
                "start the suite again"
            )
        self.provenance = {
            "commit": job.commit,
            "versions": versions(),
            "device": job.device,
            "device_name": device_name(job.device),
            "threads": job.threads,
            "platform": platform.platform(),
            "cores": os.cpu_count(),
        }
        if isinstance(job.config, CellConfig):
            self.provenance["precision"] = job.config.training.precision

    def emit(self, event: dict[str, Any]) -> None:
        """Send an event to the launcher. KeyboardInterrupt if a swallowed signal asked to stop."""
        self.stop.check()
        self._emit(event)

    def record(self, event: str, **fields: Any) -> None:
        if event == "start":
            fields["provenance"] = self.provenance
        self.stop.check()
        self.journal.append(event, **fields)
        self.emit({"event": event, **fields})

    def record_set_aside(self, path: Path, error: Exception) -> None:
        """Record that an unusable file was renamed to `path`."""
        why = str(error).removeprefix(f"{path.with_suffix('')}: ")
        self.record("set aside", file=path.name, error=why)

    def record_data(self) -> None:
        splits = {s: len(getattr(self.data, s)) for s in ("train", "val", "test")}
        self.record("data", fingerprint=self.data.fingerprint, **splits)

    def record_done(self) -> None:
        """Record `done` with the seconds of all sessions: this one and the earlier ones."""
        # These may come before a session's `start`: the pause would count as the one before.
        early = ("data", "set aside")
        records = [r for r in self.journal.records() if r["event"] not in early]
        earlier = sessions(records)[:-1]
        before = sum(part[-1]["time"] - part[0]["time"] for part in earlier)
        here = time.monotonic() - self.began - self.waited
        seconds, fields = round(before + here, 3), {}
        if (trained := last(records, "trained")) and seconds:
            fields["outside"] = round(max(0.0, 1 - trained["seconds"] / seconds), 4)
        self.record("done", seconds=seconds, **fields)


@contextmanager
def waiting(session: Session, lock: Path, what: str) -> Iterator[None]:
    """Hold a lock during the block; waits for its present owner. `what` names it to the user."""
    began = time.monotonic()

    def report_wait(_: object) -> None:
        session.emit({"event": "phase", "phase": f"waiting for {what}"})

    with owning(lock, report_wait):
        session.waited += time.monotonic() - began
        yield


def sessions(records: list[Record]) -> list[list[Record]]:
    """A journal's records by session; every session begins with `start`."""
    parts: list[list[Record]] = []
    for record in records:
        if record["event"] == "start" or not parts:
            parts.append([])
        parts[-1].append(record)
    return parts


def device_name(device: str) -> str:
    """The product name of a device."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
