"""The mirror's process, seen from the launcher that started it."""

import signal

import recorded_runs as recorded

from experiments.tracking.process import start_mirror, stop_mirror

NOWHERE = "http://127.0.0.1:9"
"""The discard port: nobody listens."""


def test_what_the_mirror_says_is_said_by_the_launcher(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOWHERE)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    recorded.cell(tmp_path, "aaa", 1, {})
    recorded.suite_record(tmp_path, [("70x70", 1, "aaa")], reference=None)
    mirror, running = start_mirror(tmp_path, []), []
    assert not stop_mirror(mirror, [], lambda: running.append(mirror.process.returncode is None))
    assert running == [True], "nothing is done while the mirror works"
    # capsys replaces sys.stderr: a line of the process itself would not be seen.
    lines = capsys.readouterr().err.splitlines()
    assert lines[-2].startswith("mlflow: not up to date: ")
    assert lines[-1].startswith("MLflow did not take everything")


def test_asked_to_stop_nothing_more_is_begun(tmp_path):
    mirror, begun = start_mirror(tmp_path, []), []
    stop_mirror(mirror, [signal.SIGTERM], lambda: begun.append(True))
    assert mirror.process.returncode is not None and not begun
