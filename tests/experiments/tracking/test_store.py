"""The store: its address, its lock, and how it is opened."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import recorded_runs as recorded
from mlflow.tracking import MlflowClient
from store_contents import files

from experiments.tracking.mirror import mirror
from experiments.tracking.process import DEFAULT_URI, database_path, tracking_uri, ui_command
from experiments.tracking.reader import list_suites
from experiments.tracking.store import StoreError, open_store, writing
from pix2pix.common.errors import UserError

ROOT = Path(__file__).resolve().parents[3]


def test_one_process_at_a_time_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.tracking.store.LOCK_SECONDS", 0.1)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with writing(uri), pytest.raises(Exception, match=r"held by process \d+ on "), writing(uri):
        pass
    with writing(uri):
        pass


def test_addresses_of_stores() -> None:
    assert database_path("sqlite:////a/b.db") == Path("/a/b.db")
    assert database_path("sqlite:///b.db") == Path.cwd() / "b.db"
    assert database_path("http://localhost:5000") is None
    with pytest.raises(UserError, match="names no file"):
        database_path("sqlite://")
    with pytest.raises(UserError, match="_TRACKING_URI: not the address of a store: sqlite:x"):
        database_path("sqlite:x")


def test_a_new_store_is_made_with_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/deep/mlflow.db")
    for _ in range(2):
        open_store(create=True)
        assert list_suites() == []


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("foo://bar", "foo://bar: cannot be opened"),
        ("postgresql://me:secret@localhost/x", "postgresql://me:***@localhost/x: cannot be opened"),
        ("sqlite://", "names no file"),
        ("sqlite:///{folder}/text.db", "text.db: cannot be opened"),
    ],
)
def test_what_is_wrong_with_an_address_is_one_line(uri: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is no database, it is a text file" * 100)
    with pytest.raises(UserError) as caught:
        open_store(uri.format(folder=tmp_path), create=True)
    message = str(caught.value)
    assert reason in message and "\n" not in message and "secret" not in message


def test_a_store_of_another_version_is_named(store: Path) -> None:
    with contextlib.closing(sqlite3.connect(store)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'fffffffffff'")
    with pytest.raises(StoreError, match="written by another version of MLflow"):
        list_suites()


def test_where_the_store_is_and_how_to_look_into_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert tracking_uri() == DEFAULT_URI == "sqlite:///mlflow.db"
    assert ui_command(tracking_uri()) == "mlflow ui --backend-store-uri sqlite:///mlflow.db"
    assert ui_command("sqlite:////my runs/m.db", ".venv/bin/mlflow") == (
        ".venv/bin/mlflow ui --backend-store-uri 'sqlite:////my runs/m.db'"
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@runs.example.org")
    assert ui_command(tracking_uri()) == "open https://me:***@runs.example.org"
    assert ui_command("postgresql://me:secret@host/runs") == (
        'mlflow ui --backend-store-uri "$MLFLOW_TRACKING_URI"'
    )


def test_asking_for_the_address_does_not_import_mlflow() -> None:
    code = "import sys, experiments.tracking.process; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_a_project_that_was_moved_keeps_its_artifacts_beside_its_store(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = tmp_path / "old", tmp_path / "moved, with a space"
    old.mkdir()
    store = store.rename(old / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}")
    out = old / "runs"
    recorded.cell(out, "aaa", 1, {"pixel.l1": 0.1})
    recorded.suite_record(out, [("70x70", 1, "aaa")], reference=None)
    mirror(out)
    before = files(store)
    old.rename(new)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{new}/mlflow.db")
    recorded.cell(new / "runs", "bbb", 2, {"pixel.l1": 0.2})
    recorded.suite_record(new / "runs", [("70x70", 1, "aaa"), ("70x70", 2, "bbb")], reference=None)
    command = [sys.executable, "-m", "experiments.tracking.mirror", "--out", str(new / "runs")]
    # A new process, as after a move: MLflow keeps the places of artifacts in memory.
    subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, check=True)
    assert not old.exists(), "the old place is not made again"
    assert before and set(before) < set(files(new / "mlflow.db"))
    client = MlflowClient()
    runs = client.search_runs([client.get_experiment_by_name("patch_size").experiment_id])
    assert len(runs) == 3
    for run in runs:
        assert run.info.artifact_uri == f"{new}/mlruns/patch_size/{run.info.run_id}/artifacts"
        assert client.list_artifacts(run.info.run_id)
