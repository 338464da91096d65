"""Mirrors again and again while a suite runs."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable

from experiments.tracking.store import first_line

SECONDS_BETWEEN_PASSES = 5.0


def follow(one_pass: Callable[[], None], seconds: float = SECONDS_BETWEEN_PASSES) -> int:
    """Repeat a pass until standard input ends, then once more; the exit status.

    A problem is told once, and again where it is the last pass's.
    """
    if not sys.stdin.isatty():
        # Ctrl-C reaches the whole process group, but the mirror still has a last pass to do.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    ended = threading.Event()
    threading.Thread(target=_wait_for_end, args=(ended,), daemon=True).start()
    said = ""
    while True:
        is_last = ended.is_set()
        problem = ""
        try:
            one_pass()
        except Exception as error:  # whatever keeps MLflow away: the run directories are safe
            problem = first_line(error)
        if problem and (problem != said or is_last):
            later = "" if is_last else " (tried again until the suite ends)"
            with contextlib.suppress(BrokenPipeError):  # the launcher is gone; the last pass is not
                print(f"mlflow: not up to date: {problem}{later}", file=sys.stderr, flush=True)
        said = problem
        if is_last:
            return 1 if problem else 0
        ended.wait(seconds)


def _wait_for_end(ended: threading.Event) -> None:
    # os.read: a thread inside sys.stdin's buffer would block the interpreter's end.
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        pass  # standard input is closed already
    ended.set()
