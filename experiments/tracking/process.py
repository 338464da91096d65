"""The mirror's process: started, waited for, and run on its own. Never imports mlflow."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.plan import Plan
from experiments.record import read_suite_record, record_path, suite_records
from experiments.run.signals import collected_signals
from pix2pix.common.errors import UserError

TRACKER_PATIENCE = 300.0
"""Seconds that the mirror gets to catch up after the last cell."""
STOPPED_PATIENCE = 3.0
"""The same when the study was asked to stop: the next start catches up."""


@dataclass(frozen=True)
class Ending:
    """How a study ended: the command's exit status, and whether MLflow holds all of it."""

    status: int
    tracked: bool
    seconds: float = 0.0


@dataclass(frozen=True)
class Mirror:
    """The mirror's process, and the thread that passes its messages on."""

    process: subprocess.Popen[str]
    relay: threading.Thread


def mirror_only(out: Path, plans: Sequence[Plan]) -> Ending:
    """Mirror the run directories of these suites; trains nothing.

    Raises UserError if one of the suites was never run into `out`.
    """
    paths = [record_path(out, p.suite.name, p.entry.name, p.variant) for p in plans]
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise UserError(f"--report-only: nothing was run yet: {missing[0]} does not exist")
    return _mirror(out, paths)


def mirror_everything(out: Path) -> tuple[Ending, list[tuple[str, str, str]]]:
    """Mirror every suite that was ever run into `out`, also into a new store; trains nothing.

    Returns the suites too, as (suite, data set, variant). Raises UserError if there is none or if
    the record of one cannot be read.
    """
    paths = suite_records(out)
    if not paths:
        raise UserError(f"--report-only: nothing was run yet: {out / 'suites'} holds no suite")
    records = [read_suite_record(path) for path in paths]
    return _mirror(out, paths), [(r["suite"], r["dataset"], r["profile"]) for r in records]


def _mirror(out: Path, paths: list[Path]) -> Ending:
    """Mirror the suites of these records, until all is done or a signal comes."""
    with collected_signals() as signals:
        tracked = stop_mirror(start_mirror(out, paths), signals)
    if signals:
        return Ending(128 + signals[0], False)
    return Ending(0 if tracked else 1, tracked)


def start_mirror(out: Path, records: list[Path]) -> Mirror | None:
    """Start the only process that writes to MLflow; None if MLflow is not installed.

    Its messages are printed by this process, because a line from another process would break a
    live table.
    """
    if importlib.util.find_spec("mlflow") is None:
        say("MLflow is not installed: nothing is tracked; the run directories hold everything")
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


def _pass_on(process: subprocess.Popen[str]) -> None:
    """Print what the mirror writes to standard error."""
    assert process.stderr is not None
    for line in process.stderr:
        say(line.rstrip("\n"))


def stop_mirror(mirror: Mirror | None, signals: Sequence[int]) -> bool:
    """Let the mirror catch up, only briefly once `signals` has an entry; returns whether MLflow
    now holds everything."""
    if mirror is None:
        return False
    process = mirror.process
    assert process.stdin is not None
    process.stdin.close()
    began = time.monotonic()
    while process.poll() is None:
        waited = time.monotonic() - began
        if waited > (STOPPED_PATIENCE if signals else TRACKER_PATIENCE) or len(signals) > 1:
            process.terminate()
            process.wait()
            break
        time.sleep(0.05)
    mirror.relay.join(1.0)
    if process.returncode == 0:
        return True
    if not signals:
        say(
            "MLflow is not up to date: run again with --report-only when it is back (if its "
            "database is damaged, move it away: a new one is filled from the run directories)"
        )
    return False


def say(text: str) -> None:
    """Print a line to standard error, if anybody still reads it."""
    with contextlib.suppress(BrokenPipeError):
        print(text, file=sys.stderr, flush=True)
