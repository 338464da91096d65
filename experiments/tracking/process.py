"""The mirror's process, started and waited for, and where the MLflow store is. Never imports
mlflow, which takes seconds."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.plan import Plan, SuiteKey
from experiments.record import read_suite_record, record_path, suite_records
from experiments.run.launcher import python_path
from experiments.run.signals import collected_signals
from pix2pix.common.errors import UserError

VARIABLE = "MLFLOW_TRACKING_URI"
DEFAULT_URI = "sqlite:///mlflow.db"
PASSWORD = re.compile(r"(?<=://)([^:/@]*):[^/]*@")
TRACKER_PATIENCE = 300.0
"""Seconds that the mirror gets to catch up after the last cell."""
STOPPED_PATIENCE = 3.0
"""The same when the study was asked to stop: the next start catches up."""


@dataclass(frozen=True)
class Ending:
    """How a study ended: the command's exit status, and whether MLflow holds all of it."""

    status: int
    tracked: bool


@dataclass(frozen=True)
class Mirror:
    """The mirror's process, and the thread that passes its messages on."""

    process: subprocess.Popen[str]
    relay: threading.Thread


def mirror_only(out: Path, plans: Sequence[Plan] = ()) -> tuple[Ending, list[SuiteKey]]:
    """Mirror the run directories of these suites (without `plans`, of all that were ever run into
    `out`), also into a new store; trains nothing.

    Returns the keys of the suites too. Raises UserError if one was never run into `out` or if its
    record cannot be read.
    """
    paths = [record_path(out, *plan.key) for plan in plans] or suite_records(out)
    missing = [path for path in paths or [out / "suites"] if not path.is_file()]
    if missing:
        raise UserError(f"--report-only: nothing was run yet: {missing[0]} holds no suite")
    keys = [read_suite_record(path).key for path in paths]
    database = database_path(tracking_uri())
    held = [database, database.parent] if database is not None and database.exists() else []
    if not all(os.access(path, os.W_OK) for path in held):
        say(f"{database}: cannot be written by you: the reports show what it holds already")
        return Ending(0, True), keys
    with collected_signals() as signals:
        tracked = stop_mirror(start_mirror(out, paths), signals)
    if signals:
        return Ending(128 + signals[0], False), keys
    return Ending(0 if tracked else 1, tracked), keys


def start_mirror(out: Path, records: list[Path]) -> Mirror | None:
    """Start the only process that writes to MLflow; None if MLflow is not installed.

    Its messages are printed by this process, because a line from another process would break the
    bars.
    """
    if importlib.util.find_spec("mlflow") is None:
        say("MLflow is not installed: nothing is tracked; the run directories hold everything")
        return None
    command = [sys.executable, "-m", "experiments.tracking.mirror", "--out", str(out)]
    process = subprocess.Popen(
        [*command, *map(str, records)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | python_path(),
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
    with contextlib.suppress(OSError):  # a closed terminal is no broken pipe
        print(text, file=sys.stderr, flush=True)


def tracking_uri() -> str:
    """`MLFLOW_TRACKING_URI`, or an SQLite file in the current directory if it is not set."""
    return os.environ.get(VARIABLE, "").strip() or DEFAULT_URI


def database_path(uri: str) -> Path | None:
    """The file behind an SQLite address; None for every other kind of store.

    Raises UserError for an address that SQLAlchemy cannot read or that names no file.
    """
    if not uri.startswith("sqlite"):
        return None
    from sqlalchemy.engine import make_url  # comes with MLflow
    from sqlalchemy.exc import SQLAlchemyError

    try:
        database = make_url(uri).database
    except SQLAlchemyError as error:
        raise UserError(f"{VARIABLE}: not the address of a store: {uri}") from error
    if not database or database == ":memory:":
        raise UserError(f"{VARIABLE}: names no file: {uri}")
    return Path(database).absolute()


def not_ours(experiment: str) -> str:
    """What is said about somebody else's experiment that has the name of a suite."""
    return (
        f"MLflow's experiment {experiment} holds runs of something else: rename it there, run a "
        f"copy of the suite's .yaml file with another name, or set {VARIABLE} to another store"
    )


def ui_command(uri: str, program: str = "mlflow") -> str:
    """The shell command that browses the store; for a server, `open URI`.

    `program` is how the shell finds MLflow's command. A password is never printed.
    """
    if uri.startswith(("http://", "https://")):
        return f"open {without_password(uri)}"
    address = f'"${VARIABLE}"' if uri != without_password(uri) else shlex.quote(uri)
    return f"{program} ui --backend-store-uri {address}"


def without_password(uri: str) -> str:
    """An address with its password hidden: `postgresql://me:***@host/db`."""
    return PASSWORD.sub(r"\1:***@", uri)
