"""The mirror's process, as its launcher starts and stops it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import recorded_runs as recorded

from experiments.tracking.process import start_mirror, stop_mirror

NOWHERE = "http://127.0.0.1:9"
"""The discard port: nobody listens."""


def test_the_launcher_prints_the_mirrors_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOWHERE)
    recorded.cell(tmp_path, "aaa", 1, {})
    recorded.suite_record(tmp_path, [("70x70", 1, "aaa")], reference=None)
    assert not stop_mirror(start_mirror(tmp_path, []), [])
    # capsys replaces sys.stderr: a line that the other process printed would not be seen.
    lines = capsys.readouterr().err.splitlines()
    assert lines[-2].startswith("mlflow: not up to date: ")
    assert "--report-only" in lines[-1]


def test_a_stopped_study_waits_for_the_mirror_only_briefly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mirror = start_mirror(tmp_path, [])
    assert mirror is not None
    stop_mirror(mirror, [signal.SIGTERM])
    assert mirror.process.returncode is not None
    assert "--report-only" not in capsys.readouterr().err
