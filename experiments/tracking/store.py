"""The MLflow store: how it is opened, locked, and asked for a suite's runs."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from mlflow.entities import Experiment, Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.tracking import SEARCH_MAX_RESULTS_THRESHOLD as ALL
from mlflow.tracking import MlflowClient
from requests import RequestException
from sqlalchemy.exc import SQLAlchemyError

from experiments.tracking.process import database_path, not_ours, tracking_uri, without_password
from pix2pix.common.errors import UserError
from pix2pix.common.locks import owning

LOCK_SECONDS = 60.0
SCORER = "scorer"
"""The `arm` tag of the run that holds the training of the in-suite FCN-8s."""
MLFLOW_ERRORS = (MlflowException, SQLAlchemyError, sqlite3.Error, RequestException)
"""What MLflow raises when the store is away, locked, or of another version."""


class StoreError(UserError):
    """The store is away, locked, or not readable by this MLflow; the message is one line."""


@contextmanager
def store_errors() -> Iterator[None]:
    """Raise MLflow's errors as StoreError."""
    try:
        yield
    except MLFLOW_ERRORS as error:
        raise StoreError(f"MLflow: {first_line(error)}") from error


@dataclass(frozen=True)
class Store:
    """An open MLflow store. `artifacts` is the local artifact folder of an SQLite store."""

    client: MlflowClient
    artifacts: Path | None

    def experiment(self, suite: str, create: bool = False) -> str | None:
        """The id of a suite's experiment. If there is none: None, or with `create` a new one.

        StoreError with `create` if the experiment of this name is somebody else's.
        """
        found = self.client.get_experiment_by_name(suite)
        if found is not None and create:
            self.check_ours(found)
        if found is None and create:
            location = _address(self.artifacts / suite) if self.artifacts else None
            return self.client.create_experiment(suite, artifact_location=location)
        if found is None or (found.lifecycle_stage != "active" and not create):
            return None
        if found.lifecycle_stage != "active":
            self.client.restore_experiment(found.experiment_id)
        return found.experiment_id

    def check_ours(self, experiment: Experiment) -> None:
        """StoreError if an experiment holds runs, but none of a suite's own."""
        where, search = [experiment.experiment_id], self.client.search_runs
        ours = search(where, "tags.role = 'suite'", ViewType.ALL, max_results=1)
        if not ours and search(where, "", ViewType.ALL, max_results=1):
            raise StoreError(not_ours(experiment.name))

    def experiments(self) -> dict[str, str]:
        """{name: id} of every experiment that is not deleted."""
        found = self.client.search_experiments(ViewType.ACTIVE_ONLY, max_results=ALL)
        return {experiment.name: experiment.experiment_id for experiment in found}

    def runs(self, experiment_id: str, tags: dict[str, str]) -> list[Run]:
        """The runs of an experiment that carry all of these tags, newest first."""
        query = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        return list(self.client.search_runs([experiment_id], query, max_results=ALL))


def open_store(uri: str | None = None, create: bool = False) -> Store:
    """Open the store; with `create`, make and initialise an SQLite file that does not exist.

    With `create`, a store that was moved or copied gets its artifacts beside it again. Raises
    UserError if there is no store to read, StoreError if it cannot be opened.
    """
    uri = uri or tracking_uri()
    database = database_path(uri)
    if database is not None:
        if create:
            database.parent.mkdir(parents=True, exist_ok=True)
        elif not database.exists():
            raise UserError(f"{database}: no MLflow store there; run a suite first")
    shown, address = without_password(uri), uri
    if database is not None and "?" not in f"{uri}{database.absolute()}":
        # Of a relative address MLflow keeps the store of the folder that was current first.
        address = f"sqlite:///{database.absolute()}"
    try:
        client = MlflowClient(address)
    except Exception as error:  # of MLflow, SQLAlchemy, Alembic, or a driver not installed
        if "out-of-date database schema" in str(error):
            raise StoreError(
                f"{shown}: written by another version of MLflow; copy it, then run "
                f"`mlflow db upgrade {shown}`, or use that version"
            ) from error
        raise StoreError(f"{shown}: cannot be opened: {first_line(error)}") from error
    artifacts = database.parent / "mlruns" if database else None
    if create and database is not None and artifacts is not None:
        with contextlib.closing(sqlite3.connect(database)) as connection, connection:
            _move_artifacts(connection, artifacts)
    return Store(client, artifacts)


def _address(folder: Path) -> str:
    """A folder as MLflow takes it, which decodes `%20` and the like in it."""
    return str(folder).replace("%", "%25")


def _move_artifacts(connection: sqlite3.Connection, artifacts: Path) -> None:
    """Let our experiments of an SQLite store, and their runs, keep their files below `artifacts`.

    MLflow holds absolute paths and has no call that changes them, so a project that was moved or
    copied would write to its old place.
    """
    held = connection.execute("select experiment_id, name, artifact_location from experiments")
    for number, name, old in held.fetchall():
        new = _address(artifacts / name)
        if old == new or not str(old).endswith(f"/{artifacts.name}/{name}"):
            continue
        connection.execute(
            "update experiments set artifact_location = ? where experiment_id = ?", (new, number)
        )
        connection.execute(
            "update runs set artifact_uri = ? || substr(artifact_uri, ?) "
            "where experiment_id = ? and substr(artifact_uri, 1, ?) = ?",
            (new, len(old) + 1, number, len(old) + 1, f"{old}/"),
        )


def writing(uri: str) -> AbstractContextManager[object]:
    """Hold the lock file of an SQLite store, so that one process at a time writes into it.

    Entering raises StoreError if another process holds the lock for more than LOCK_SECONDS.
    """
    database = database_path(uri)
    if database is None:
        return nullcontext()
    database.parent.mkdir(parents=True, exist_ok=True)
    return alone(database.with_name(f"{database.name}.lock"))


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold a lock file; StoreError if another process holds it for more than LOCK_SECONDS.

    A folder, or a lock, that we cannot write needs no lock: we run no suite there.
    """
    began = time.monotonic()

    def give_up(owner: object) -> None:
        if time.monotonic() - began > LOCK_SECONDS:
            raise StoreError(f"{lock}: held by {owner or 'another process'}")

    if not os.access(lock.parent, os.W_OK) or (lock.exists() and not os.access(lock, os.W_OK)):
        yield
        return
    with owning(lock, give_up):
        yield


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, or the exception's name if it has none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
