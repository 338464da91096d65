"""What is refused before a training, and what is only mentioned."""

from __future__ import annotations

import contextlib
import http.server
import threading
from pathlib import Path

import pytest
import recorded_runs as recorded
from mlflow.tracking import MlflowClient

from experiments.tracking.check import check_store
from experiments.tracking.mirror import mirror
from experiments.tracking.store import StoreError
from pix2pix.common.errors import UserError

SUITES = ("losses", "patch_size")


@contextlib.contextmanager
def web_server():
    """A web server that is not MLflow's."""
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("foo://bar", "foo://bar: cannot be opened: "),
        ("mlruns", "mlruns: cannot be opened: "),
        ("postgresql://me:secret@localhost/x", "//me:***@localhost/x: cannot be opened: No module"),
        ("http://", "names no server"),
        ("sqlite://", "names no file"),
        ("sqlite:///{folder}", "is a folder: name a file"),
        ("sqlite:///{folder}/text.db", "text.db: file is not a database: move it away"),
        ("sqlite:///{folder}/text.db/x.db", "text.db: MLflow's store cannot be written: Not a d"),
        ("sqlite:////proc/self/x.db", "/proc/self: MLflow's store cannot be written"),
    ],
)
def test_an_address_that_cannot_work_is_refused(
    uri: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text.db").write_text("this is no database, it is a text file" * 100)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(folder=tmp_path))
    with pytest.raises(UserError) as caught:
        check_store(SUITES)
    message = str(caught.value)
    assert reason in message and "\n" not in message and "secret" not in message


def test_a_server_of_something_else_is_refused_and_one_that_is_away_is_mentioned(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with web_server() as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with pytest.raises(UserError, match=f"MLFLOW_TRACKING_URI: {uri}: "):
            check_store(SUITES)
    check_store(SUITES)
    line = capsys.readouterr().err.splitlines()[-1]  # above it the web server's own
    assert line.startswith("MLflow does not answer: ") and uri in line and "--report-only" in line


def test_a_new_and_an_empty_database_are_fine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/new folder/mlflow.db")
    check_store(SUITES)
    assert not list(tmp_path.iterdir()), "nothing is made"
    (tmp_path / "new folder").mkdir()
    (tmp_path / "new folder/mlflow.db").touch()
    check_store(SUITES)


def test_somebody_elses_experiment_is_not_written_into(tmp_path: Path, store: Path) -> None:
    recorded.cell(tmp_path, "aaa", 1, {})
    recorded.suite_record(tmp_path, [("70x70", 1, "aaa")], reference=None)
    client = MlflowClient()
    theirs = client.create_experiment("patch_size")
    check_store(SUITES)  # without runs: made for this suite, perhaps
    client.create_run(theirs)
    with pytest.raises(UserError, match="experiment patch_size holds runs of something else"):
        check_store(SUITES)
    check_store(("losses",))
    with pytest.raises(StoreError, match="experiment patch_size holds runs of something else"):
        mirror(tmp_path)
    assert len(client.search_runs([theirs])) == 1

    client.rename_experiment(theirs, "my patch_size")
    mirror(tmp_path)
    check_store(SUITES)  # ours
    assert len(client.search_runs([theirs])) == 1
