"""An empty MLflow store, made once a session and copied: its migrations take seconds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from experiments.tracking_store import open_store

    database = tmp_path_factory.mktemp("store") / "mlflow.db"
    store = open_store(f"sqlite:///{database}", create=True)
    store.experiments()
    return database


@pytest.fixture
def store(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of the test's own; MLFLOW_TRACKING_URI names it. The path of its database."""
    database = tmp_path / "mlflow.db"
    shutil.copyfile(empty_store, database)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    return database
