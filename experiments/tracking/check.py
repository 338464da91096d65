"""Whether MLflow can take what a study is about to make: asked before anything is trained.

Imports mlflow, which takes seconds, only for a store that is no SQLite file.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sqlite3
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, urlsplit

from experiments.tracking.process import (
    VARIABLE,
    database_path,
    not_ours,
    say,
    tracking_uri,
    without_password,
)
from pix2pix.common.errors import UserError

FOREIGN = """\
select name from experiments e where name in ({})
and exists (select 1 from runs r where r.experiment_id = e.experiment_id)
and not exists (select 1 from runs r join tags t on t.run_uuid = r.run_uuid
    where r.experiment_id = e.experiment_id and t.key = 'role' and t.value = 'suite')"""
"""Experiments that have runs, but none of a suite's own; as `Store.experiment` finds them."""


def check_store(suites: Sequence[str]) -> None:
    """UserError for an MLflow address that can never work, and for an experiment that has the name
    of a suite but is somebody else's. A server that does not answer now is only mentioned: MLflow
    is filled when it is back."""
    if importlib.util.find_spec("mlflow") is None:
        return
    uri = tracking_uri()
    database = database_path(uri)
    if database is None:
        _check_elsewhere(uri, suites)
    elif database.exists():
        _check_database(database, suites)
    else:
        _check_folder(next(folder for folder in database.parents if folder.exists()))


def _check_folder(folder: Path) -> None:
    """UserError if nothing can be written into the folder of a store."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"{folder}: MLflow's store cannot be written: {error.strerror}; set {VARIABLE} to "
            "another place, such as sqlite:////home/me/mlflow.db"
        ) from None


def _check_database(database: Path, suites: Sequence[str]) -> None:
    """UserError if an SQLite file is none, cannot be written or has somebody else's experiment."""
    _check_folder(database.parent)
    if database.is_dir():
        raise UserError(f"{VARIABLE}: {database} is a folder: name a file, such as mlflow.db in it")
    if not os.access(database, os.W_OK):
        raise UserError(
            f"{database}: cannot be written by you: share it with a group (each user: umask 002; "
            f"its owner: chgrp GROUP, chmod g+w), or set {VARIABLE} to another store"
        )
    foreign: list[tuple[str]] = []
    try:
        address = f"file:{quote(str(database))}?mode=ro"
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=1)) as connection:
            query = FOREIGN.format(",".join("?" * len(suites)))
            foreign = connection.execute(query, list(suites)).fetchall()
    except sqlite3.OperationalError:
        pass  # locked, which the mirror waits for, or still empty
    except sqlite3.DatabaseError as error:
        raise UserError(
            f"{database}: {error}: move it away (a new one is filled from the run directories), or "
            f"set {VARIABLE} to another store"
        ) from None
    for (name,) in foreign:
        raise UserError(not_ours(name))


def _check_elsewhere(uri: str, suites: Sequence[str]) -> None:
    """The same for any other store, by asking it."""
    shown = without_password(uri)
    if uri.startswith(("http:", "https:")) and not urlsplit(uri).hostname:
        raise UserError(f"{VARIABLE}: {shown} names no server, such as http://localhost:5000")
    from experiments.tracking.store import MLFLOW_ERRORS, StoreError, first_line, open_store

    try:
        store = open_store(uri)
        for suite in suites:
            if found := store.client.get_experiment_by_name(suite):
                store.check_ours(found)
    except (StoreError, *MLFLOW_ERRORS) as error:
        problem = first_line(error)
        if shown not in problem:
            problem = f"{shown}: {problem}"
        if not _may_pass(error):
            raise UserError(f"{VARIABLE}: {problem}") from None
        say(
            f"MLflow does not answer: {problem}. Training begins all the same; if the address is "
            f"wrong, mend {VARIABLE} and use --report-only afterwards"
        )


def _may_pass(error: BaseException | None) -> bool:
    """Whether a store that failed may work later: no connection, or the server's own trouble."""
    from mlflow.exceptions import RestException
    from requests import RequestException
    from sqlalchemy.exc import OperationalError

    while error is not None:
        if isinstance(error, RequestException | OperationalError):
            return True
        if isinstance(error, RestException) and error.get_http_status_code() >= 500:
            return True
        error = error.__cause__ or error.__context__
    return False
