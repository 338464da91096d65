"""Which job runs when and where: worker processes, dealt out over GPUs or CPU cores."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from experiments.jobs import Job

Watch = Callable[[Job, dict[str, Any]], None]


@dataclass
class Outcome:
    """How a job ended: `done`, `failed` (with the reason) or `stopped`."""

    word: str
    reason: str = ""


@dataclass
class _Running:
    job: Job
    slot: int
    process: subprocess.Popen


def gpu_count() -> int:
    """GPUs that torch can use; 0 where there is none."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def choose_workers(requested: int | None, gpus: int, jobs: Sequence[Job]) -> int:
    """How many jobs run at once: one a GPU, else one a CPU core, never more than there are.

    A training on the CPU uses one thread, so that its bits do not depend on the machine, and
    several at once make better use of the cores than one with many threads.
    """
    return max(1, min(requested or gpus or usable_cores(), len(jobs)))


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM in a list for the time of the block, instead of dying of them."""
    received: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(n, lambda number, _: received.append(number)) for n in numbers]
    try:
        yield received
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def launch(jobs: Sequence[Job], workers: int, gpus: int, watch: Watch) -> dict[str, Outcome]:
    """Run jobs in worker processes and return how each ended, by digest.

    A job that fails or dies takes no other down. On SIGINT or SIGTERM all workers are asked to
    write a checkpoint and stop; what had not ended is `stopped`.
    """
    waiting, outcomes = deque(jobs), {}
    running: dict[int, _Running] = {}
    events: queue.Queue[tuple[int, dict[str, Any] | None]] = queue.Queue()
    with stop_signals() as signals:
        asked = False
        while waiting or running:
            while waiting and len(running) < workers and not signals:
                slot, job = min(set(range(workers)) - set(running)), waiting.popleft()
                try:
                    running[slot] = _start(job, slot, gpus, events)
                except OSError as error:
                    reason = f"{error.filename or job.directory}: {error.strerror or error}"
                    outcomes[job.digest] = Outcome("failed", reason)
                    watch(job, {"event": "failed", "error": reason})
            if len(signals) > 1:  # asked twice: at once
                for one in running.values():
                    one.process.kill()
            if signals and not asked:
                asked = True
                for one in running.values():
                    one.process.terminate()
                outcomes |= {job.digest: Outcome("stopped") for job in waiting}
                waiting.clear()
            if not running:
                continue
            try:
                slot, event = events.get(timeout=0.2)
            except queue.Empty:
                continue
            job = running[slot].job
            if event is not None:
                if event["event"] == "failed":
                    outcomes[job.digest] = Outcome("failed", event["error"])
                watch(job, event)
                continue
            process = running.pop(slot).process
            ended = _outcome(process.wait(), outcomes.get(job.digest))
            outcomes[job.digest] = Outcome("stopped") if len(signals) > 1 else ended
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            watch(job, {"event": "ended", "outcome": outcomes[job.digest].word})
    return outcomes


def _outcome(status: int, reported: Outcome | None) -> Outcome:
    if status == 0:
        return Outcome("done")
    # By signal: asked to stop before it could listen; nothing had begun.
    if status in (130, -signal.SIGTERM, -signal.SIGINT):
        return Outcome("stopped")
    if reported is not None:
        return reported
    died = f"the worker was killed by signal {-status}" if status < 0 else f"exit status {status}"
    hint = " (out of memory? try fewer --workers)" if status == -9 else ""
    return Outcome("failed", died + hint)


def _start(job: Job, slot: int, gpus: int, events: queue.Queue) -> _Running:
    """Start a worker in a session of its own, so that Ctrl-C reaches the launcher alone."""
    environment = dict(os.environ)
    threads = str(job.threads)
    environment |= {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    # glibc gives large blocks back at every step and faults them in again: a tenth of the time.
    environment.setdefault("MALLOC_MMAP_THRESHOLD_", str(2**25))
    environment.setdefault("MALLOC_TRIM_THRESHOLD_", str(2**30))
    # Errors of a program that runs unattended for days belong in its log at once.
    environment["PYTHONUNBUFFERED"] = "1"
    root = str(Path(__file__).resolve().parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join(
        p for p in (root, environment.get("PYTHONPATH")) if p
    )
    if gpus:
        job = replace(job, device=f"cuda:{slot % gpus}")
    job.directory.mkdir(parents=True, exist_ok=True)
    with open(job.directory / "log.txt", "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "experiments.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            text=True,
            start_new_session=True,
        )
    assert process.stdin is not None
    process.stdin.write(job.to_json() + "\n")
    process.stdin.flush()
    threading.Thread(target=_listen, args=(slot, process, events), daemon=True).start()
    return _Running(job, slot, process)


def _listen(slot: int, process: subprocess.Popen, events: queue.Queue) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        try:
            events.put((slot, json.loads(line)))
        except ValueError:
            continue
    events.put((slot, None))
