"""Ray where the nodes share no folder: a run lies on its node's own disk, and what changes of it
is sent to the command, whose `--out` holds the copy that counts.

A run that is begun again, on whatever node, begins from that copy. The decoded data set goes to
each node once, in pieces, and is checked on arrival.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.run.jobs import DataSource, Job
from experiments.run.launcher import Outcome, WorkerProcess
from pix2pix.common.errors import UserError
from pix2pix.common.files import file_sha256, write_whole
from pix2pix.common.locks import Ownership, owner_of, owning
from pix2pix.config import CellConfig
from pix2pix.data.cache import find_source, folder
from pix2pix.data.registry import find_entry, load_registry

if TYPE_CHECKING:
    from ray import ObjectRef

SEND_SECONDS = 5.0
"""Between two looks of a node at what changed in a run directory."""
PIECE = 64 * 2**20
"""Bytes of the data set that travel at once."""
Files = dict[str, bytes]
"""Contents by path below the folder of all runs."""
Data = dict[str, tuple[str, "list[ObjectRef[bytes]]"]]
"""Of the files of a decoded data set, by name: the sha256, and the pieces in Ray's store."""


class Mailbox:
    """An actor on the command's own node: what nodes send waits here until the command takes it."""

    def __init__(self) -> None:
        self._parcels: list[tuple[str, Files, list[str]]] = []

    def put(self, digest: str, files: Files, present: list[str]) -> None:
        """`files` of a job that are new or changed, and the names of all that it has now."""
        self._parcels.append((digest, files, present))

    def take(self) -> list[tuple[str, Files, list[str]]]:
        parcels, self._parcels = self._parcels, []
        return parcels


class Luggage:
    """The command's side: what a job takes along, and what comes back."""

    def __init__(self) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = ray.get_runtime_context().get_node_id()
        pinned = NodeAffinitySchedulingStrategy(here, soft=False)
        actor = ray.remote(Mailbox).options(num_cpus=0, scheduling_strategy=pinned)
        self.mailbox: Any = actor.remote()
        self._data: dict[Path, Data] = {}
        self._running: dict[str, tuple[Job, Ownership]] = {}

    def own(self, job: Job) -> bool:
        """Own a job's run directory here while a node works on it; False if another does."""
        job.directory.mkdir(parents=True, exist_ok=True)
        ownership = Ownership(job.directory / "owner.lock")
        if ownership.take():
            self._running[job.digest] = job, ownership
            return True
        return False

    def release(self, job: Job) -> None:
        """Take what is left of a job that has ended, and give its run directory back."""
        self.collect()
        self._running.pop(job.digest)[1].release()

    def of(self, job: Job) -> tuple[Files, Data, str, bytes]:
        """What a job takes along: its files, the decoded data in pieces, the name of their folder,
        and the user's own registry."""
        import ray

        registry = Path(job.data.registry) if job.data.registry else None
        entry = find_entry(load_registry(registry), job.data.name)
        config, data = job.config, job.data
        source = find_source(entry, Path(data.root), config.size, config.direction)
        decoded = folder(source, Path(data.cache))
        if decoded not in self._data:
            self._data[decoded] = {
                path.name: (file_sha256(path), [ray.put(piece) for piece in _pieces(path)])
                for path in _files(decoded)
            }
        content = registry.read_bytes() if registry else b""
        return pack(Path(job.out), _taken(job)), self._data[decoded], decoded.name, content

    def collect(self) -> None:
        """Write what has arrived. Runs whose directory is no longer owned here are left alone."""
        import ray

        for digest, files, present in ray.get(self.mailbox.take.remote()):
            if digest not in self._running:
                continue
            job = self._running[digest][0]
            unpack(Path(job.out), files)
            names = set(present)
            for path in _files(job.directory):
                if str(path.relative_to(job.out)) not in names:
                    path.unlink(missing_ok=True)


def pack(out: Path, paths: Iterable[Path]) -> Files:
    """The contents of files below `out`; those that have gone meanwhile are left out."""
    files = {}
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            files[str(path.relative_to(out))] = path.read_bytes()
    return files


def unpack(out: Path, files: Mapping[str, bytes]) -> None:
    """Write files below `out`, in their order; those that are there already are left alone, so
    that no other task of the node sends them again."""
    for name, content in files.items():
        path = out / name
        if not path.is_file() or path.read_bytes() != content:
            write_whole(path, content)


def do_job_apart(
    text: str, mailbox: Any, files: Files, data: Data, decoded: str, registry: bytes
) -> Outcome | None:
    """What a task does on its node: the job, in a folder of its own there."""
    job = Job.from_json(text)
    place = f"pix2pix-{os.getuid()}-{sha256(job.out.encode()).hexdigest()[:12]}"
    out = Path(tempfile.gettempdir()) / place
    cache = out / "cache"
    _keep_data(cache / decoded, data)
    own_registry = out / f"registry-{sha256(registry).hexdigest()[:12]}.yaml"
    if registry:
        write_whole(own_registry, registry)
    source = DataSource(
        job.data.name,
        str(own_registry) if registry else None,
        job.data.root,
        str(cache),
        decoded=decoded,
    )
    here = replace(job, out=str(out), data=source)
    # A worker of this run whose task was killed ends with a checkpoint, in a moment.
    while owner_of(here.directory / "owner.lock") is not None:
        time.sleep(1)
    shutil.rmtree(here.directory, ignore_errors=True)  # the command's copy counts
    unpack(out, files)
    worker = WorkerProcess(here)
    sender = Sender(here, mailbox, files, worker.stop)
    try:
        ended = worker.wait()
    except KeyboardInterrupt:  # of ray.cancel
        worker.stop(wait=True)
        ended = Outcome("stopped")
    failure = sender.finish()
    shutil.rmtree(here.directory, ignore_errors=True)
    return Outcome("failed", failure, killed=True) if failure else ended


class Sender:
    """A thread that sends what changes of a job's files while its worker runs."""

    def __init__(self, job: Job, mailbox: Any, files: Files, give_up: Any) -> None:
        self._job, self._mailbox, self._give_up = job, mailbox, give_up
        self._out = Path(job.out)
        self._sent = {name: _signature(self._out / name) for name in files}
        self._failure = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def finish(self) -> str:
        """Send the rest; why that was not possible, or empty."""
        self._over.set()
        self._thread.join()
        if not self._failure:
            self._try()
        return self._failure

    def _run(self) -> None:
        while not self._over.wait(SEND_SECONDS) and not self._failure:
            self._try()
        if self._failure:
            self._give_up()

    def _try(self) -> None:
        try:
            self._send()
        except Exception as error:  # of Ray, or of the disk
            self._failure = f"its files cannot be sent: {type(error).__name__}: {error}"

    def _send(self) -> None:
        import ray

        # The journal first, and sent last: it never names a file that is not there.
        journal = self._job.directory / "journal.jsonl"
        sent = _signature(journal)  # before it is read: what is added now is sent next time
        records = pack(self._out, [journal])
        found = {str(p.relative_to(self._out)): _signature(p) for p in _taken(self._job)}
        found |= {name: sent for name in records}
        changed = [name for name, one in found.items() if self._sent.get(name) != one]
        if not changed:
            return
        names = [name for name in changed if self._out / name != journal]
        files = pack(self._out, [self._out / name for name in names]) | records
        ray.get(self._mailbox.put.remote(self._job.digest, files, list(found)))
        self._sent = found


def _taken(job: Job) -> list[Path]:
    """The files of a job: its run directory, its reference, the scorers, and the generators that it
    may share."""
    out = Path(job.out)
    paths = _files(job.directory) + _files(out / "references" / job.reference)
    for reference in {job.reference, *(other.reference for other in job.others.values())}:
        paths += _files(out / "scorers" / reference)
        paths += [out / "scorers" / f"{reference}.safetensors"]
    if isinstance(job.config, CellConfig):
        for other in job.config.sharing:
            folder = out / "cells" / other.digest
            paths += [folder / "generator.pt", folder / "generator_back.pt"]
    return [path for path in dict.fromkeys(paths) if path.is_file()]


def _files(folder: Path) -> list[Path]:
    """The files below a folder, without what belongs to a lock or is being written."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [p for p in found if not p.name.startswith((".", "owner.lock"))]


def _signature(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _pieces(path: Path) -> Iterable[bytes]:
    with open(path, "rb") as file:
        while piece := file.read(PIECE):
            yield piece


def _keep_data(folder: Path, data: Data) -> None:
    """Write the decoded data set, unless this node has it; UserError if it arrived damaged."""
    import ray

    folder.parent.mkdir(parents=True, exist_ok=True)
    with owning(folder.with_name(f".{folder.name}.lock")):
        if folder.exists():
            return
        beside = folder.with_name(f".{folder.name}.arriving")
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        for name, (digest, pieces) in data.items():
            with open(beside / name, "wb") as file:
                for piece in pieces:
                    file.write(ray.get(piece))
            if file_sha256(beside / name) != digest:
                raise UserError(f"{beside / name}: arrived damaged; start the suite again")
        os.replace(beside, folder)
