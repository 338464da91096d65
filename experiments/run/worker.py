"""The process that does one job: `python -m experiments.run.worker`, one JSON line on stdin.

Stdin then stays open as a lifeline: its end means that the launcher is gone, and the worker stops
as if asked to. Progress goes to stdout, one JSON object per line; everything else goes to stderr,
which the launcher writes to log.txt of the run directory.

Exit status: 0 done, 1 failed (the journal says why), 75 another process owns the run directory,
130 stopped and resumable.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import traceback
from typing import Any

from experiments.run.jobs import Job, state
from experiments.run.journal import Journal, clear_leftovers, log_tail
from experiments.run.signals import Stop
from pix2pix.common.errors import Interrupted, TrainingError, UserError
from pix2pix.common.files import make_folder
from pix2pix.common.locks import LOST, Ownership, owner_of

DONE, FAILED, OWNED, STOPPED = 0, 1, LOST, 130


def main() -> int:
    """Do the job that stdin describes."""
    stop = Stop()
    try:
        stop.listen()
        try:
            # Not sys.stdin's text, whose encoding PYTHONIOENCODING decides.
            job = Job.from_json(sys.stdin.buffer.readline())
        except UserError as error:
            print(json.dumps({"event": "failed", "error": str(error)}), flush=True)
            print(f"failed: {error}", file=sys.stderr)
            return FAILED
        threading.Thread(target=_watch_lifeline, args=(stop,), daemon=True).start()
        # Keep the prints of libraries out of the progress.
        progress, sys.stdout = sys.stdout, sys.stderr

        def emit(event: dict[str, Any]) -> None:
            # If the launcher is gone, the lifeline ends too, and the job stops in order.
            with contextlib.suppress(BrokenPipeError, ValueError):
                print(json.dumps(event, default=str), file=progress, flush=True)

        try:
            make_folder(job.directory)
            return _own(job, emit, stop)
        except OSError as error:
            emit({"event": "failed", "error": _reason(job, error)})
            return FAILED
    except KeyboardInterrupt:
        return STOPPED


def _watch_lifeline(stop: Stop) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    stop.ask()


def _own(job: Job, emit: Any, stop: Stop) -> int:
    """Own the run directory, then do the rest of the job."""
    lock = job.directory / "owner.lock"
    ownership = Ownership(lock)
    if not ownership.take():
        emit({"event": "phase", "phase": f"owned by {owner_of(lock) or 'another process'}"})
        return OWNED
    try:
        for folder in (job.directory, job.directory / "samples", job.directory / "translations"):
            clear_leftovers(folder)
        if state(job).word == "done":
            emit({"event": "done", "seconds": 0.0})
            return DONE
        return _attempt(job, emit, stop)
    finally:
        ownership.release()


def _attempt(job: Job, emit: Any, stop: Stop) -> int:
    fields: dict[str, Any] = {}
    try:
        job.write_config()
        # Import torch only now: a worker that finds another owner stays small.
        from experiments.run.runner import run

        run(job, emit, stop)
        return DONE
    except Interrupted:
        return STOPPED
    except (UserError, TrainingError) as error:
        message = str(error)
    except OSError as error:
        message = _reason(job, error)
    except Exception as error:
        if shortage := _shortage(error, job):
            fields["shortage"] = True
        message = shortage or f"{type(error).__name__}: {error}".splitlines()[0]
        with contextlib.suppress(OSError):  # a full disk has no room for the log either
            traceback.print_exc()
    with contextlib.suppress(OSError):
        print(f"failed: {message}", file=sys.stderr, flush=True)
    with contextlib.suppress(OSError):
        Journal(job.directory).append("failed", error=message, log=log_tail(job.directory))
    emit({"event": "failed", "error": message, **fields})
    return FAILED


def _shortage(error: Exception, job: Job) -> str | None:
    """A message if memory ran out, or may have; None for any other error."""
    import torch

    from pix2pix.common.memory import no_engine, out_of_memory, shortage

    return shortage(error, torch.device(job.device)) if out_of_memory(error) else no_engine(error)


def _reason(job: Job, error: OSError) -> str:
    return f"{error.filename or job.directory}: {error.strerror or error}"


if __name__ == "__main__":
    status = main()
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    # End now, even if a library left a thread running.
    os._exit(status)
