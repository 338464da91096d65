"""Runs jobs in worker processes, distributed over GPUs or CPU cores."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from experiments.run.jobs import Job
from experiments.run.journal import Journal, log_tail
from pix2pix.common.errors import name_user
from pix2pix.common.files import make_folder
from pix2pix.common.locks import LOST, Ownership, owner_of

WORKER = ["-m", "experiments.run.worker"]
LOOK_AGAIN = 1.0
"""Seconds after which a job that another process owned is tried again."""
HINTS: dict[int, str] = {
    signal.SIGKILL: " (out of memory? use fewer --workers)",
    signal.SIGBUS: " (truncated file in the cache of --out? delete the cache and start again)",
}

Watch = Callable[[Job, dict[str, Any]], None]


@dataclass
class Outcome:
    """How a job ended: `done`, `failed` (with the reason) or `stopped`."""

    word: str
    reason: str = ""
    killed: bool = False
    """Whether the worker, or its machine, died; begun again, the job may well be done."""


GPU_DEVICES = ("nvidia*", "nvhost*", "nvgpu*", "nvmap", "dxg", "kfd")
"""Names in /dev of NVIDIA's GPUs (also embedded ones), of WSL's and of AMD's."""


def gpu_count() -> int:
    """Number of GPUs that torch can use; torch, whose import takes a second, is not asked where
    the kernel has none."""
    devices = Path("/dev")
    if sys.platform == "linux" and not any(any(devices.glob(name)) for name in GPU_DEVICES):
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def unusable_gpus(devices: Path = Path("/dev")) -> str:
    """A warning if this machine has NVIDIA GPUs but torch can use none of them; else empty."""
    present = any(path.name[6:].isdigit() for path in devices.glob("nvidia*"))
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    if not present or hidden or gpu_count():
        return ""
    return (
        "torch cannot use this machine's GPU, training on the CPU: torch is built for the CPU, or "
        "the driver is too old for it (see nvidia-smi)"
    )


def choose_workers(requested: int | None, gpus: int, jobs: Sequence[Job]) -> int:
    """Parallel jobs: one per GPU, else one per CPU core, never more than there are jobs.

    A training on the CPU uses one thread: its bits then do not depend on the machine, and several
    trainings use the cores better than one training with many threads.
    """
    return max(1, min(requested or gpus or usable_cores(), len(jobs)))


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def launch(
    jobs: Sequence[Job], workers: int, gpus: int, watch: Watch, signals: Sequence[int] = ()
) -> dict[str, Outcome]:
    """Run jobs in worker processes and return how each ended, by digest.

    A job that fails does not stop the others. A job whose run directory another process owns is
    postponed and tried again. A job that gets no memory on a GPU that others use is tried again
    when one of them ends, with fewer workers from then on. The first entry in `signals` (a list
    that grows) asks all workers to write a checkpoint and stop, the second kills them; unfinished
    jobs are then `stopped`.
    """
    waiting = [(0.0, job) for job in jobs]
    """(when a job may be tried, the job)"""
    outcomes: dict[str, Outcome] = {}
    running: dict[int, tuple[Job, subprocess.Popen]] = {}
    events: queue.Queue[tuple[int, dict[str, Any] | None]] = queue.Queue()

    def end(job: Job, outcome: Outcome) -> None:
        outcomes[job.digest] = outcome
        watch(job, {"event": "ended", "outcome": outcome.word})

    crowded: set[int] = set()
    """Slots whose job got no memory beside the others on its GPU."""
    most, asked = workers, False
    while waiting or running:
        while len(running) < workers and not signals and (job := next_job(waiting, watch)):
            slot = min(set(range(workers)) - set(running))
            try:
                on_slot = replace(job, device=f"cuda:{slot % gpus}") if gpus else job
                running[slot] = (job, start_worker(on_slot, events, slot))
            except OSError as error:
                reason = f"{error.filename or job.directory}: {error.strerror or error}"
                watch(job, {"event": "failed", "error": reason})
                end(job, Outcome("failed", reason))
        if len(signals) > 1:  # asked twice: stop at once
            for _, process in running.values():
                process.kill()
        if signals and not asked:
            asked = True
            for _, process in running.values():
                process.terminate()
            outcomes |= {job.digest: Outcome("stopped") for _, job in waiting}
            waiting.clear()
        try:
            slot, event = events.get(timeout=0.2)
        except queue.Empty:
            continue
        job, process = running[slot]
        if event is not None:
            if event["event"] == "failed":
                outcomes[job.digest] = Outcome("failed", event["error"])
                others = running.keys() - {slot}
                if gpus and event.get("shortage") and slot % gpus in {o % gpus for o in others}:
                    crowded.add(slot)
                    continue
            watch(job, event)
            continue
        del running[slot]
        status = process.wait()
        with contextlib.suppress(BrokenPipeError):
            assert process.stdin is not None
            process.stdin.close()
        ended = _outcome(status, outcomes.get(job.digest))
        if signals and (len(signals) > 1 or status == LOST or slot in crowded):
            ended = Outcome("stopped")
        elif slot in crowded:
            crowded.discard(slot)
            del outcomes[job.digest]
            if workers == most:
                watch(job, {"event": "phase", "phase": _too_many(most)})
            workers = max(1, min(workers - 1, len(running)))
            waiting.insert(0, (0.0, job))
            continue
        elif status == LOST:
            waiting.append((time.monotonic() + LOOK_AGAIN, job))
            continue
        elif ended.word == "failed" and job.digest not in outcomes:
            record_death(job, ended.reason)
            watch(job, {"event": "failed", "error": ended.reason})
        end(job, ended)
    return outcomes


def _too_many(workers: int) -> str:
    return (
        f"waits: the GPU's memory is too small for {workers} at a time; fewer are run from now on"
    )


def next_job(waiting: list[tuple[float, Job]], watch: Watch) -> Job | None:
    """Take the next job that is due; postpone those that another process owns."""
    for item in list(waiting):
        due, job = item
        if time.monotonic() < due:
            continue
        waiting.remove(item)
        owner = owner_of(job.directory / "owner.lock")
        if owner is None:
            return job
        watch(job, {"event": "phase", "phase": f"owned by {owner}"})
        waiting.append((time.monotonic() + LOOK_AGAIN, job))
    return None


def record_death(job: Job, reason: str) -> None:
    """Record a failure for a worker that died before it could do so itself.

    Does nothing if another process owns the run directory by now, or if the directory cannot be
    written: the launcher prints the reason in any case.
    """
    ownership = Ownership(job.directory / "owner.lock")
    with contextlib.suppress(OSError):
        if not ownership.take():
            return
        if not (job.directory / "config.json").exists():
            job.write_config()
        Journal(job.directory).append("failed", error=reason, log=log_tail(job.directory))
    ownership.release()


def _outcome(status: int, reported: Outcome | None) -> Outcome:
    if status == 0:
        return Outcome("done")
    # A signal before the worker listened: nothing had started.
    if status in (130, -signal.SIGTERM, -signal.SIGINT):
        return Outcome("stopped")
    if reported is not None:
        return reported
    if status >= 0:
        return Outcome("failed", f"the worker ended with exit status {status}")
    reason = f"the worker was killed by signal {-status}{HINTS.get(-status, '')}"
    return Outcome("failed", reason, killed=status == -signal.SIGKILL)


def start_worker(job: Job, events: queue.Queue, slot: int = 0) -> subprocess.Popen:
    """Start a worker in its own session, so that Ctrl-C reaches only the launcher; what it says
    goes into `events`."""
    make_folder(job.directory)
    with open(job.directory / "log.txt", "ab") as log:
        process = subprocess.Popen(
            [sys.executable, *WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=worker_environment(job.threads),
            encoding="utf-8",
            start_new_session=True,
        )
    assert process.stdin is not None
    process.stdin.write(job.to_json() + "\n")
    process.stdin.flush()
    threading.Thread(target=_listen, args=(slot, process, events), daemon=True).start()
    return process


class WorkerProcess:
    """The worker of one job on this machine, for a program that a cluster has started there."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._events: queue.Queue[tuple[int, dict[str, Any] | None]] = queue.Queue()
        self._process = start_worker(job, self._events)

    def stop(self, *, wait: bool = False) -> None:
        """Ask it to write a checkpoint and end; `wait` a minute for that."""
        self._process.terminate()
        if wait:  # with a limit, because a handler of a signal may interrupt `wait` itself
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(60)

    def wait(self) -> Outcome | None:
        """How the job ended; None if another process owns its run directory.

        Handlers of signals run while this waits. A death that the worker could not record itself
        is recorded, unless it was killed: then the caller may begin the job again.
        """
        reported = None
        while True:
            try:
                _, event = self._events.get(timeout=0.5)
            except queue.Empty:  # an interrupt that is no signal is noticed here
                continue
            if event is None:
                break
            if event["event"] == "failed":
                reported = Outcome("failed", event["error"])
        status = self._process.wait()
        if status == LOST:
            return None
        ended = _outcome(status, reported)
        if ended.word == "failed" and reported is None and not ended.killed:
            record_death(self.job, ended.reason)
        return ended


def worker_environment(threads: int) -> dict[str, str]:
    """The environment of a process that trains with so many CPU threads."""
    environment = dict(os.environ)
    name_user(environment)
    environment |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    # By default glibc returns large blocks to the system at every step, which costs up to a third
    # of the time (docs/performance.md).
    environment.setdefault("MALLOC_MMAP_THRESHOLD_", str(2**25))
    environment.setdefault("MALLOC_TRIM_THRESHOLD_", str(2**30))
    environment.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")  # from 2.35 on
    # A program that runs unattended for days writes its errors to the log at once.
    environment["PYTHONUNBUFFERED"] = "1"
    environment["PYTHONFAULTHANDLER"] = "1"
    return environment | python_path()


def python_path() -> dict[str, str]:
    """The variables with which another process finds these packages, and not the user's files of
    the same names: `-m` would look into the current folder first."""
    root = str(Path(__file__).resolve().parents[2])
    paths = (root, os.environ.get("PYTHONPATH"))
    return {"PYTHONPATH": os.pathsep.join(path for path in paths if path), "PYTHONSAFEPATH": "1"}


def _listen(slot: int, process: subprocess.Popen, events: queue.Queue) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        try:
            events.put((slot, json.loads(line)))
        except ValueError:
            continue
    events.put((slot, None))
