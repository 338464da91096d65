"""The process that does one job: `python -m experiments.worker`, the job as a JSON line on stdin.

Stdin then stays open as a lifeline: when it ends, whoever launched the job is gone, and the worker
stops as if it had been asked to. Progress goes to stdout, a JSON object a line; everything else to
stderr, which the launcher keeps in the run directory's log.txt.

Exit status: 0 done, 1 failed (the journal says why), 130 stopped and resumable.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import traceback
from typing import Any

from filelock import FileLock, Timeout

from eval.errors import ScoringError
from experiments.jobs import Job, state
from experiments.journal import Journal
from pix2pix.errors import Interrupted, TrainingError, UserError

DONE, FAILED, STOPPED = 0, 1, 130


def main() -> int:
    """Do the job that stdin describes."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    job = Job.from_json(sys.stdin.readline())
    threading.Thread(target=_watch_lifeline, args=(stopping,), daemon=True).start()
    # Anything that a library prints must not be taken for progress.
    progress, sys.stdout = sys.stdout, sys.stderr

    def emit(event: dict[str, Any]) -> None:
        # The launcher is gone: the lifeline says so too, and the job stops in order.
        with contextlib.suppress(BrokenPipeError, ValueError):
            print(json.dumps(event, default=str), file=progress, flush=True)

    try:
        job.directory.mkdir(parents=True, exist_ok=True)
        return _own(job, emit, stopping)
    except OSError as error:
        emit({"event": "failed", "error": f"{job.directory}: {error.strerror or error}"})
        return FAILED


def _watch_lifeline(stopping: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    stopping.set()


def _own(job: Job, emit: Any, stopping: threading.Event) -> int:
    """Take the run directory for this process alone, then do what is left to do."""
    lock = FileLock(job.directory / "owner.lock")
    while True:
        try:
            lock.acquire(timeout=0)
            break
        except Timeout:
            emit({"event": "phase", "phase": "waiting for another process that owns this cell"})
            if stopping.wait(1.0):
                return STOPPED
    try:
        for leftover in job.directory.rglob(".*.tmp"):  # of an owner that was killed
            leftover.unlink(missing_ok=True)
        if state(job).word == "done":
            emit({"event": "done", "seconds": 0.0})
            return DONE
        return _attempt(job, emit, stopping)
    finally:
        lock.release()


def _attempt(job: Job, emit: Any, stopping: threading.Event) -> int:
    try:
        # Torch is imported here, so that a worker that only waits stays small.
        from experiments.runner import run

        run(job, emit, stopping.is_set)
        return DONE
    except Interrupted:
        return STOPPED
    except (UserError, TrainingError, ScoringError) as error:
        message, log = str(error), ""
    except OSError as error:
        message, log = f"{error.filename or job.directory}: {error.strerror or error}", ""
    except Exception as error:
        log = traceback.format_exc()
        message = f"{type(error).__name__}: {error}".splitlines()[0]
        print(log, file=sys.stderr)
    emit({"event": "failed", "error": message})
    with contextlib.suppress(OSError):
        Journal(job.directory).append("failed", error=message, log=log[-2000:])
    return FAILED


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    # Threads of libraries must not keep a finished worker alive.
    os._exit(status)
