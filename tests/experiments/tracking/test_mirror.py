"""Whole suites in a real MLflow SQLite store: passes, interruptions, the command."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter
from pathlib import Path

import pytest
import recorded_runs as recorded
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from PIL import Image
from store_contents import files, points

from experiments.tracking.mirror import MirrorError, _pause, mirror
from experiments.tracking.reader import list_suites, read_suite
from experiments.tracking.store import open_store
from pix2pix.common.errors import UserError
from pix2pix.common.locks import owning

ROOT = Path(__file__).resolve().parents[3]
KEY = ("patch_size", "procedural", "quick")
SCORES = {"fcn.pixel_accuracy": 0.8, "pixel.l1": 0.1}


def command(out: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "experiments.tracking.mirror", "--out", str(out), *arguments]


def test_a_finished_suite_is_mirrored_whole_and_only_once(tmp_path: Path, store: Path) -> None:
    out = tmp_path / "runs"
    why = {"lpips": "no backbone: put alexnet.pth into the hub cache"}
    recorded.cell(out, "aaa", 1, SCORES, why)
    recorded.reference(out, "ref", {"fcn.pixel_accuracy": 0.9})
    recorded.suite_record(out, [("70x70", 1, "aaa")], reference="ref")
    mirror(out)
    first_points, first_files = points(store), files(store)
    mirror(out)
    assert points(store) == first_points
    assert files(store) == first_files
    assert set(first_points.values()) == {1}

    assert list_suites() == [KEY]
    runs = read_suite(*KEY)
    (run,) = runs.runs
    assert (run.arm, run.seed, run.digest, run.status) == ("70x70", 1, "aaa", "done")
    assert run.scores == SCORES
    assert run.not_measured == why
    assert run.params["generator.depth"] == "4"
    assert run.params["objective.gan"] == "conditional"
    assert run.fingerprint == recorded.FINGERPRINT
    assert run.provenance["commit"] == "0123abc"
    assert run.provenance["versions.torch"] == "2.11.0"
    assert run.cost["peak_memory_mib"] == 300.0
    assert run.cost["seconds"] == 45.0
    curves = run.curves()
    l1 = curves[curves.term == "g_l1"].set_index("step")["value"]
    assert list(l1.index) == list(range(50, 401, 50))
    assert l1[400] == 20 / 400
    # 10 images, 8 kept: numbers 0, 1, 2, 3, 5, 6, 7, 8
    kept = tuple(f"scene_0{i}.png" for i in (0, 1, 2, 3, 5, 6, 7, 8))
    assert run.artifacts("translations") == kept
    assert runs.ground_truth is not None
    assert runs.ground_truth.artifacts("inputs") == kept
    assert runs.ground_truth.artifacts("targets") == kept
    assert runs.ground_truth.seed is None
    histograms = run.json_artifact("histograms.json")
    assert sum(histograms["lab"][0]) == 10 * 20 * 3
    assert run.json_artifact("confusion.json")["confusion"][1][1] == 60
    assert run.artifact("no_such_file.json") is None


def test_only_the_recorded_digest_counts(tmp_path: Path, store: Path) -> None:
    out = tmp_path / "runs"
    recorded.cell(out, "old", 1, {"pixel.l1": 0.5})
    recorded.suite_record(out, [("70x70", 1, "old")], reference=None)
    mirror(out)
    recorded.suite_record(out, [("70x70", 1, "new"), ("70x70", 2, "never")], reference=None)
    mirror(out)
    assert [run.status for run in read_suite(*KEY).runs] == ["missing", "missing"]
    recorded.cell(out, "new", 1, {"pixel.l1": 0.1})
    mirror(out)
    first, second = read_suite(*KEY).runs
    assert (first.digest, first.scores, first.status) == ("new", {"pixel.l1": 0.1}, "done")
    assert second.status == "missing"
    opened = open_store()
    cells = opened.runs(opened.experiment("patch_size"), {"role": "cell"})
    current = {run.data.tags["digest"]: run.data.tags["current"] for run in cells}
    assert current == {"old": "no", "new": "yes"}


def test_one_digest_serves_several_suites(tmp_path: Path, store: Path) -> None:
    out = tmp_path / "runs"
    recorded.cell(out, "aaa", 1, SCORES)
    recorded.suite_record(out, [("70x70", 1, "aaa")], reference=None)
    recorded.suite_record(out, [("L1+cGAN", 1, "aaa")], reference=None, suite="losses")
    mirror(out)
    assert list_suites() == [("losses", *KEY[1:]), KEY]
    assert read_suite("losses", *KEY[1:]).runs[0].scores == SCORES


def suite_runs() -> dict[str, list[str]]:
    """{role: ids of its runs} in the store."""
    opened, found = open_store(), dict[str, list[str]]()
    for run in opened.runs(opened.experiments()["patch_size"], {}):
        found.setdefault(run.data.tags["role"], []).append(run.info.run_id)
    return found


def test_a_run_is_found_again_if_the_answer_to_its_creation_was_lost(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, create, created = tmp_path / "runs", MlflowClient.create_run, []
    recorded.cell(out, "aaa", 1, SCORES)
    recorded.suite_record(out, [("70x70", 1, "aaa")], reference=None)

    def lose_the_answer(*arguments, **options):
        created.append(create(*arguments, **options))
        raise MlflowException("connection reset")

    monkeypatch.setattr(MlflowClient, "create_run", lose_the_answer)
    for _ in ("the suite's run", "the cell's run"):
        with pytest.raises(MlflowException, match="connection reset"):
            mirror(out)
    mirror(out)
    assert len(created) == 2
    assert {role: len(runs) for role, runs in suite_runs().items()} == {"suite": 1, "cell": 1}
    assert read_suite(*KEY).runs[0].scores == SCORES


def test_runs_created_twice_become_one_that_holds_everything(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, create = tmp_path / "runs", MlflowClient.create_run
    recorded.cell(out, "aaa", 1, SCORES)
    recorded.suite_record(out, [("70x70", 1, "aaa")], reference=None)

    def create_twice(*arguments, **options):
        create(*arguments, **options)
        return create(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "create_run", create_twice)
        mirror(out)
    assert {role: len(runs) for role, runs in suite_runs().items()} == {"suite": 2, "cell": 2}
    mirror(out)
    runs = suite_runs()
    assert {role: len(found) for role, found in runs.items()} == {"suite": 1, "cell": 1}
    (cell,) = (open_store().client.get_run(run) for run in runs["cell"])
    assert cell.data.tags["mlflow.parentRunId"] == runs["suite"][0]
    (run,) = read_suite(*KEY).runs
    assert (run.status, run.scores) == ("done", SCORES)
    assert set(points(store).values()) == {1}


DIES = """
import os, runpy, signal, sys
opened = set()
def count(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and "/mlruns/" in arguments[0]:
        if arguments[2] & (os.O_WRONLY | os.O_RDWR):
            opened.add(arguments[0])
            if len(opened) == 40:
                os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(count)
sys.argv[0] = "tracking"
runpy.run_module("experiments.tracking.mirror", run_name="__main__")
"""
"""The mirror, killed as it opens the fortieth of its files."""


def test_killed_in_the_middle_nothing_is_doubled(tmp_path: Path, store: Path) -> None:
    out = tmp_path / "runs"
    cells = [("70x70", seed, f"digest{seed}") for seed in range(1, 7)]
    for _, seed, digest in cells:
        recorded.cell(out, digest, seed, SCORES)
    recorded.suite_record(out, cells, reference=None)
    killed = subprocess.run(
        [sys.executable, "-c", DIES, "--out", str(out)],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert killed.returncode == -signal.SIGKILL
    assert 20 <= len(files(store)) < 6 * 20  # in the middle
    mirror(out)
    counts = points(store)
    assert set(counts.values()) == {1}
    assert Counter(name for _, name, _ in counts)["losses/g_l1"] == 6 * 8
    images = [name for name in files(store) if "/images/" in name]
    assert len(images) == 6 * 4
    assert [run.status for run in read_suite(*KEY).runs] == ["done"] * 6


def test_a_stopped_run_is_killed_until_it_goes_on(tmp_path: Path, store: Path) -> None:
    out = tmp_path / "runs"
    journal = recorded.begin(out / "cells" / "aaa", "aaa", 1)
    recorded.train(journal, 0, 100)
    recorded.suite_record(out, [("70x70", 1, "aaa"), ("70x70", 2, "bbb")], reference=None)

    def statuses() -> dict[str, str]:
        ids = [e.experiment_id for e in MlflowClient().search_experiments()]
        found = MlflowClient().search_runs(ids)
        return {run.data.tags["role"]: run.info.status for run in found}

    running, killed = ({"suite": word, "cell": word} for word in ("RUNNING", "KILLED"))
    mirror(out)
    assert statuses() == running
    with owning(out / "cells" / "aaa" / "owner.lock"):  # on another machine, perhaps
        mirror(out, is_last=True)
        assert statuses() == running
    mirror(out, is_last=True)
    assert statuses() == killed
    recorded.train(journal, 100, 200)
    mirror(out)
    assert statuses() == running
    recorded.train(journal, 200, 400)
    recorded.finish_cell(journal, SCORES, None, 100)
    mirror(out, is_last=True)
    assert statuses() == {"suite": "RUNNING", "cell": "FINISHED"}  # the second has not begun


def test_follow_mirrors_until_standard_input_ends(tmp_path: Path, store: Path) -> None:
    out = tmp_path / "runs"
    journal = recorded.begin(out / "cells" / "aaa", "aaa", 1)
    recorded.train(journal, 0, 100)
    path = recorded.suite_record(out, [("70x70", 1, "aaa")], reference=None)
    process = subprocess.Popen(
        command(out, str(path)),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while not points(store):
        assert process.poll() is None
        time.sleep(0.2)
    assert read_suite(*KEY).runs[0].status == "running"
    process.send_signal(signal.SIGINT)  # Ctrl-C is for the launcher
    recorded.train(journal, 100, 400)
    recorded.finish_cell(journal, SCORES)
    _, messages = process.communicate()  # closes standard input
    assert (process.returncode, messages) == (0, b"")
    assert read_suite(*KEY).runs[0].scores == SCORES


def test_passes_that_cost_more_come_less_often_and_failed_ones_soon() -> None:
    assert _pause(5, failures=0, spent=0.01) == 5
    assert _pause(5, failures=0, spent=0.6) == 30
    assert _pause(5, failures=0, spent=20) == 60
    assert [_pause(5, failures=n, spent=20) for n in (1, 2, 6)] == [0.5, 1, 5]


def test_follow_survives_a_store_that_is_away(tmp_path: Path) -> None:
    out = tmp_path / "runs"
    recorded.failed_cell(out, "aaa", 1)
    recorded.suite_record(out, [("70x70", 1, "aaa")], reference=None)
    (tmp_path / "mlflow.db").write_text("this is no database, it is a text file" * 100)
    done = subprocess.run(
        command(out),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == done.stderr.count("not up to date:") >= 1


PASSES = """
import sys
from pathlib import Path
from experiments.tracking import mirror

def one_pass(is_last):
    with log.open("a") as file:
        file.write("pass\\n")
    if len(log.read_text().split()) <= int(sys.argv[2]):
        raise RuntimeError("away")

log = Path(sys.argv[1])
mirror.FIRST_RETRY = 0.001
sys.exit(mirror.follow(one_pass, 600))
"""
"""Follows with passes of which the first ones fail."""


def passes(log: Path, failing: int, **streams: int) -> subprocess.Popen[str]:
    """PASSES as a process that appends a line per pass to `log`."""
    command = [sys.executable, "-c", PASSES, str(log), str(failing)]
    return subprocess.Popen(command, cwd=ROOT, text=True, **streams)


def test_a_last_pass_follows_the_launchers_death(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = passes(log, 1, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None and process.stderr is not None
    process.stderr.close()  # as a launcher that was killed leaves it
    while not (log.exists() and len(log.read_text().split()) == 2):
        assert process.poll() is None
        time.sleep(0.02)
    process.stdin.close()  # the next pass is due in ten minutes
    assert process.wait() == 0
    assert log.read_text().split() == ["pass"] * 3


@pytest.mark.parametrize(("failing", "status"), [(3, 0), (1000, 1)])
def test_the_last_pass_is_repeated_a_few_times(tmp_path: Path, failing: int, status: int) -> None:
    process = passes(tmp_path / "log", failing, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, messages = process.communicate()
    assert process.returncode == status
    assert len((tmp_path / "log").read_text().split()) < 20
    lines = messages.splitlines()
    assert all("not up to date: away" in line for line in lines)
    assert ["tried again" in line for line in lines] == [True, False][: 1 + status]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def bomb(path: Path) -> None:
    """A PNG file's header that promises 40,000 × 40,000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)


def odd_values(path: Path) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write('{"event": "losses", "time": 1, "step": 450, "values": {"g": {}}}\n')


DAMAGES = {
    "config": ("config.json", lambda path: path.write_text("{")),
    "deep config": ("config.json", lambda path: path.write_text("[" * 100_000)),
    "npz cut": ("per_image.npz", cut),
    "npz empty": ("per_image.npz", lambda path: path.write_bytes(b"")),
    "png cut": ("samples/step-0000200.png", cut),
    "png bomb": ("samples/step-0000200.png", bomb),
    "png is a gif": (
        "samples/step-0000200.png",
        lambda path: Image.new("RGB", (4, 4)).save(path, "GIF"),
    ),
    "journal": ("journal.jsonl", odd_values),
    "scores": ("scores.json", lambda path: path.write_text('{"intervals_over_images": [3]}')),
    "csv": ("per_image.csv", lambda path: path.write_bytes(b"name,a\n\xff\x00,1,2,3\n")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_unreadable_cell_does_not_stop_the_others(
    tmp_path: Path, store: Path, damage: str
) -> None:
    out = tmp_path / "runs"
    broken = recorded.cell(out, "aaa", 1, SCORES)
    name, harm = DAMAGES[damage]
    harm(broken / name)
    recorded.cell(out, "bbb", 2, SCORES)
    recorded.suite_record(out, [("70x70", 1, "aaa"), ("70x70", 2, "bbb")], reference=None)
    with pytest.raises(MirrorError, match="cells/aaa"):
        mirror(out)
    first, second = read_suite(*KEY).runs
    assert (first.finished, second.finished) == (False, True)


def test_bad_suite_records_are_named(tmp_path: Path, store: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text('{"suite": "x", "dataset": "y"}')
    with pytest.raises(UserError, match=r"record\.json: not a suite record: ") as caught:
        mirror(tmp_path, [path])
    assert "arms, cells" in str(caught.value) and "missing" in str(caught.value)
    path.write_text("{")
    with pytest.raises(UserError, match=r"record\.json: not a suite record: "):
        mirror(tmp_path, [path])


def test_the_reader_says_what_there_is(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="nothing; run a suite first"):
        read_suite(*KEY)
    out = tmp_path / "runs"
    recorded.suite_record(out, [("70x70", 1, "aaa")], reference=None)
    mirror(out)
    with pytest.raises(UserError, match=r"recorded: patch_size on procedural \(quick\)"):
        read_suite("patchsize", "procedural", "quick")
    with pytest.raises(UserError, match=r"recorded: patch_size on procedural \(quick\)"):
        read_suite("patch_size", "camvid", "quick")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none.db")
    with pytest.raises(UserError, match=r"none\.db: no MLflow store"):
        list_suites()
    assert not (tmp_path / "none.db").exists()


def test_a_moved_store_still_gives_its_artifacts(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "runs"
    recorded.cell(out, "aaa", 1, SCORES)
    recorded.suite_record(out, [("70x70", 1, "aaa")], reference=None)
    mirror(out)
    (tmp_path / "moved").mkdir()
    for name in ("mlflow.db", "mlruns"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/moved/mlflow.db")
    assert len(read_suite(*KEY).runs[0].artifacts("translations")) == 8
