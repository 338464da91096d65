"""The MLflow store: where it is, how it is opened, how a suite's runs are found in it again.

It and `tracking_run` are the only modules that import mlflow; before that, telemetry goes off.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # read at the import
os.environ["MLFLOW_ENABLE_ASYNC_LOGGING"] = "false"  # "written" has to mean written
# A server that is away is asked again at the next pass, not for minutes within one.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
# Reading a store that was moved or is remote shows no bar for every image.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# MLflow tells of every migration, and logs a traceback of what it raises as well.
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")
logging.getLogger("alembic").setLevel(logging.ERROR)

from mlflow.entities import Run, ViewType  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402
from mlflow.tracking import MlflowClient  # noqa: E402
from requests import RequestException  # noqa: E402
from sqlalchemy.engine import make_url  # noqa: E402
from sqlalchemy.exc import ArgumentError, SQLAlchemyError  # noqa: E402

from experiments.tracking.address import VARIABLE, tracking_uri, without_password  # noqa: E402
from pix2pix.common.errors import UserError  # noqa: E402
from pix2pix.common.locks import owning  # noqa: E402

LOCK_SECONDS = 60.0
GROUND_TRUTH = "ground truth"
"""The arm of the real photos' own scores."""
SCORER = "scorer"
"""The `arm` tag of the training of the in-suite FCN-8s."""


class StoreError(UserError):
    """The store is away, locked, or none that this MLflow reads: one line says which."""


MLFLOW_ERRORS = (MlflowException, SQLAlchemyError, RequestException)
"""What MLflow raises where the store is away, locked, or of another version."""


class StoreBusy(StoreError):
    """Another process is writing into the store and did not finish in time."""


@contextmanager
def store_errors() -> Iterator[None]:
    """Whatever MLflow raises within, as StoreError."""
    try:
        yield
    except MLFLOW_ERRORS as error:
        raise StoreError(f"MLflow: {first_line(error)}") from error


def database_path(uri: str) -> Path | None:
    """The file behind an SQLite address; None for every other kind of store."""
    if not uri.startswith("sqlite"):
        return None
    try:
        database = make_url(uri).database
    except ArgumentError as error:
        raise UserError(f"{VARIABLE}: not an address of a store: {uri}") from error
    if not database or database == ":memory:":
        raise UserError(f"{VARIABLE}: names no file: {uri}")
    return Path(database).absolute()


@dataclass(frozen=True)
class Store:
    """An open MLflow store. `artifacts` is the local artifact folder of an SQLite store."""

    client: MlflowClient
    uri: str
    artifacts: Path | None

    def experiment(self, suite: str, create: bool = False) -> str | None:
        """The id of a suite's experiment; None where there is none and none is made."""
        found = self.client.get_experiment_by_name(suite)
        if found is None:
            if not create:
                return None
            location = str(self.artifacts / suite) if self.artifacts else None
            try:
                return self.client.create_experiment(suite, artifact_location=location)
            except MlflowException as error:
                # The server had made it and its answer was lost, so that the client asked again.
                found = self.client.get_experiment_by_name(suite)
                if error.error_code != "RESOURCE_ALREADY_EXISTS" or found is None:
                    raise
        if found.lifecycle_stage != "active":
            if not create:
                return None
            self.client.restore_experiment(found.experiment_id)
        return found.experiment_id

    def experiments(self) -> dict[str, str]:
        """{name: id} of every experiment that is not deleted."""
        names: dict[str, str] = {}
        token = None
        while True:
            page = self.client.search_experiments(ViewType.ACTIVE_ONLY, page_token=token)
            names |= {experiment.name: experiment.experiment_id for experiment in page}
            token = page.token
            if not token:
                return names

    def runs(self, experiment_id: str, tags: dict[str, str]) -> Iterator[Run]:
        """The runs of an experiment that carry all of these tags, newest first."""
        token = None
        while True:
            page = self.client.search_runs([experiment_id], max_results=1000, page_token=token)
            for run in page:
                if all(run.data.tags.get(key) == value for key, value in tags.items()):
                    yield run
            token = page.token
            if not token:
                return


def open_store(uri: str | None = None, create: bool = False) -> Store:
    """Open the store; with `create`, make and initialise an SQLite file that is not there.

    Raises UserError where there is no store to read, StoreError where it cannot be opened.
    """
    uri = uri or tracking_uri()
    database = database_path(uri)
    if database is not None:
        if create:
            database.parent.mkdir(parents=True, exist_ok=True)
        elif not database.exists():
            raise UserError(f"{database}: no MLflow store there; run a suite first")
    shown = without_password(uri)
    try:
        client = MlflowClient(uri)
    except Exception as error:  # MLflow's, SQLAlchemy's, Alembic's, or a driver not installed
        if "out-of-date database schema" in str(error):
            raise StoreError(
                f"{shown}: written by another version of MLflow; copy it, then run "
                f"`mlflow db upgrade {shown}`, or use that version"
            ) from error
        raise StoreError(f"{shown}: cannot be opened: {first_line(error)}") from error
    return Store(client, uri, database.parent / "mlruns" if database else None)


def check_store() -> None:
    """Open the store, initialise it where it is new, and ask it something.

    Raises StoreError, UserError or OSError where a suite could not be mirrored into it.
    """
    uri = tracking_uri()
    with writing(uri):
        store = open_store(uri, create=True)
        with store_errors():
            store.experiments()
    database = database_path(uri)
    if database is not None and not os.access(database, os.W_OK):
        raise StoreError(f"{database}: is read-only")


def writing(uri: str) -> AbstractContextManager[object]:
    """Holds an SQLite store's lock file, so that one process at a time writes and initialises.

    Entering raises StoreBusy when another process holds it for longer than LOCK_SECONDS.
    """
    database = database_path(uri)
    if database is None:
        return nullcontext()
    database.parent.mkdir(parents=True, exist_ok=True)
    return alone(database.with_name(f"{database.name}.lock"))


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Own what a lock file stands for; StoreBusy where another does for longer than LOCK_SECONDS.

    In a folder that cannot be written nobody runs a suite, so its mirrors need no lock.
    """
    began = time.monotonic()

    def turned_down(owner: object) -> None:
        if time.monotonic() - began > LOCK_SECONDS:
            raise StoreBusy(f"{lock}: held by {owner or 'another process'}")

    if not os.access(lock.parent, os.W_OK):
        yield
        return
    with owning(lock, turned_down):
        yield


def first_line(error: BaseException) -> str:
    """An exception as one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
