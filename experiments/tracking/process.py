"""The process that mirrors run directories into MLflow: started, waited for, and on its own."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.plan import Plan
from experiments.record import read_suite_record, record_path, suite_records
from experiments.run.signals import collected_signals
from pix2pix.common.errors import UserError

TRACKER_PATIENCE = 300.0
"""Seconds that the MLflow mirror gets to catch up after the last cell."""
STOPPED_PATIENCE = 3.0
"""The same where the study was asked to stop: the next start catches up."""


@dataclass(frozen=True)
class Ending:
    """How a study ended: the command's exit status, and whether MLflow holds all of it."""

    status: int
    tracked: bool
    seconds: float = 0.0


@dataclass(frozen=True)
class Mirror:
    """The mirror's process, and the thread that passes on what it says."""

    process: subprocess.Popen
    relay: threading.Thread


def mirror_only(out: Path, plans: Sequence[Plan], meanwhile: Callable[[], None]) -> Ending:
    """Mirror what the run directories of these suites hold; trains nothing.

    `meanwhile`, here and below, is called once while the mirror's process works.
    """
    paths = [record_path(out, p.suite.name, p.entry.name, p.variant) for p in plans]
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise UserError(f"--report-only: nothing was run yet: {missing[0]} does not exist")
    return _mirror(out, paths, meanwhile)


def mirror_everything(
    out: Path, meanwhile: Callable[[], None]
) -> tuple[Ending, list[tuple[str, str, str]]]:
    """Mirror every suite that was ever run into `out`, also into a new store; trains nothing.

    Returns the suites too, as (suite, data set, profile). UserError where there is none
    or one of them cannot be read.
    """
    paths = suite_records(out)
    if not paths:
        raise UserError(f"--report-only: nothing was run yet: {out / 'suites'} holds no suite")
    suites = []
    for path in paths:
        record = read_suite_record(path)
        suites.append((record.suite, record.dataset, record.variant))
    return _mirror(out, paths, meanwhile), suites


def _mirror(out: Path, paths: list[Path], meanwhile: Callable[[], None]) -> Ending:
    with collected_signals() as signals:
        tracked = stop_mirror(start_mirror(out, paths), signals, meanwhile)
    if signals:
        return Ending(128 + signals[0], False)
    return Ending(0 if tracked else 1, tracked)


def start_mirror(out: Path, records: list[Path]) -> Mirror | None:
    """The one process that writes to MLflow; None where MLflow is not installed.

    What it says is said by this process: a line of another one would tear a live table.
    """
    if importlib.util.find_spec("mlflow") is None:
        say("MLflow is not installed: nothing is tracked, the run directories hold everything")
        return None
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(p for p in (root, os.environ.get("PYTHONPATH")) if p)
    command = [sys.executable, "-m", "experiments.tracking.mirror", "--out", str(out), "--follow"]
    for record in records:
        command += ["--suite-record", str(record)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
        text=True,
        errors="replace",
        start_new_session=True,
    )
    relay = threading.Thread(target=_pass_on, args=(process,), daemon=True)
    relay.start()
    return Mirror(process, relay)


def _pass_on(process: subprocess.Popen) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        say(line.rstrip("\n"))


def stop_mirror(
    mirror: Mirror | None, signals: Sequence[int], meanwhile: Callable[[], None]
) -> bool:
    """Let the mirror catch up, not for long once `signals` has an entry; whether MLflow now holds
    everything."""
    if mirror is None:
        return False
    tracker = mirror.process
    assert tracker.stdin is not None
    tracker.stdin.close()
    began = time.monotonic()
    if not signals:
        meanwhile()
    while tracker.poll() is None:
        waited = time.monotonic() - began
        if waited > (STOPPED_PATIENCE if signals else TRACKER_PATIENCE) or len(signals) > 1:
            tracker.terminate()
            tracker.wait()
            break
        time.sleep(0.05)
    mirror.relay.join(1.0)
    if tracker.returncode == 0:
        return True
    if not signals:
        say(
            "MLflow did not take everything: run again with --report-only when it is back (move a "
            "database that is damaged away first: a new one is filled from the run directories)"
        )
    return False


def say(text: str) -> None:
    """A line to whoever watches; nobody has to."""
    with contextlib.suppress(BrokenPipeError):
        print(text, file=sys.stderr, flush=True)
