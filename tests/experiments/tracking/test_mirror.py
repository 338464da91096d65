"""The mirror and its reader, against a real MLflow SQLite store."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter
from pathlib import Path

import pytest
import recorded_runs as recorded
from PIL import Image

from experiments.run.journal import Journal, write_json
from experiments.tracking import mirror as tracking
from experiments.tracking.address import DEFAULT_URI, tracking_uri, ui_command
from experiments.tracking.artifacts import evenly_spaced, stage_scores
from experiments.tracking.mirror import MirrorError, main, mirror
from experiments.tracking.reader import list_suites, read_suite
from experiments.tracking.store import StoreError, database_path, open_store, writing
from experiments.tracking.text import flatten
from pix2pix.common.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
KEY = ("patch_size", "procedural", "quick")
SCORES = {"fcn.pixel_accuracy": 0.8, "pixel.l1": 0.1}


def points(store: Path) -> Counter:
    """How often each (run, metric, step) is in the store."""
    client = open_store(f"sqlite:///{store}").client
    opened = open_store(f"sqlite:///{store}")
    counts: Counter = Counter()
    for experiment in opened.experiments().values():
        for run in opened.runs(experiment, {}):
            for name in run.data.metrics:
                for point in client.get_metric_history(run.info.run_id, name):
                    counts[run.info.run_name, name, point.step] += 1
    return counts


def files(store: Path) -> list[str]:
    """Every artifact, relative to the store."""
    return sorted(str(p.relative_to(store.parent)) for p in store.parent.glob("mlruns/**/*.*"))


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


def test_intervals_over_images_go_with_the_newest_scores(tmp_path: Path, store: Path) -> None:
    out = tmp_path / "runs"
    cells = [recorded.cell(out, digest, 1, SCORES) for digest in ("old", "new")]
    recorded.suite_record(out, [("1x1", 1, "old"), ("70x70", 1, "new")], reference=None)
    file = cells[1] / "scores.json"
    sheet = json.loads(file.read_text())
    name = next(iter(SCORES))
    write_json(file, sheet | {"intervals_over_images": {name: [0.25, 0.75]}})
    mirror(out)
    old, new = read_suite(*KEY).runs
    assert old.image_intervals == {}
    assert new.image_intervals == {name: (0.25, 0.75)}

    journal = Journal(cells[1])
    recorded.score(journal, SCORES)  # scored again, without intervals
    journal.append("done", seconds=1.0)
    mirror(out)
    assert read_suite(*KEY).runs[1].image_intervals == {}


def test_images_may_be_named_like_a_missing_value(tmp_path: Path) -> None:
    run, folder = tmp_path / "run", tmp_path / "staged"
    run.mkdir()
    folder.mkdir()
    names = ["NA", "null", "007", "nan"]
    lines = ["name,pixel.l1,fcn.pixel_accuracy", *(f"{name},0.5," for name in names)]
    (run / "per_image.csv").write_text("\n".join(lines) + "\n")
    stage_scores(run, folder)
    table = json.loads((folder / "per_image.json").read_text())
    assert table["data"] == [[name, 0.5, None] for name in names]


def test_what_the_web_interface_needs(tmp_path: Path, store: Path) -> None:
    out = tmp_path / "runs"
    recorded.cell(out, "aaa", 1, SCORES)
    recorded.suite_record(
        out, [("70x70", 1, "aaa")], reference=None, claims=["70x70 > 1x1 on lpips"]
    )
    mirror(out)
    opened = open_store()
    experiment = opened.experiment("patch_size")
    (parent,) = opened.runs(experiment, {"role": "suite"})
    (child,) = opened.runs(experiment, {"role": "cell"})
    assert parent.info.run_name == "procedural-quick"
    assert child.info.run_name == "70x70 seed 1"
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    note = parent.data.tags["mlflow.note.content"]
    assert "receptive field" in note
    assert "| 70x70 | `discriminator.patch` = 70 |" in note
    assert parent.info.status == child.info.status == "FINISHED"
    for run in (parent, child):
        (data_set,) = run.inputs.dataset_inputs
        assert data_set.dataset.digest == recorded.FINGERPRINT[:16]
        assert json.loads(data_set.dataset.profile)["test"] == 10

    # Our names of images by step have the form of MLflow's own, which its image grid parses.
    folder = store.parent / "mlruns" / "patch_size" / child.info.run_id / "artifacts" / "images"
    ours = sorted(path.name for path in folder.iterdir())
    assert len(ours) == 4  # steps 200 and 400, whole and small
    picture = Image.open(folder / next(name for name in ours if name.endswith(".png")))
    assert picture.size == (4 * recorded.SIDE, 3 * recorded.SIDE)
    opened.client.log_image(child.info.run_id, picture, key="samples", step=7, timestamp=8)
    theirs = {path.name for path in folder.iterdir()} - set(ours)

    def shape(name: str) -> list[str]:
        parts = name.replace(".png", "+.png").split("+")
        return [p for i, p in enumerate(parts) if i not in (2, 4, 5)] + [str(len(parts[5]))]

    assert {tuple(shape(name)) for name in theirs} == {tuple(shape(name)) for name in ours}

    # A dot in a column's name leaves MLflow's table view empty.
    table = json.loads((folder.parent / "per_image.json").read_text(encoding="utf-8"))
    assert table["columns"] == ["name", "fcn/pixel_accuracy", "pixel/l1"]
    assert table["data"][0] == ["scene_00", 0.8, 0.1]


def test_a_resumed_cell_has_each_step_once(tmp_path: Path, store: Path) -> None:
    out = tmp_path / "runs"
    journal = recorded.begin(out / "cells" / "aaa", "aaa", 1)
    recorded.train(journal, 0, 350)  # checkpoint at 200, killed after 350
    recorded.suite_record(out, [("70x70", 1, "aaa")], reference=None)
    mirror(out)
    assert read_suite(*KEY).runs[0].status == "running"
    with open(journal.path, "ab") as file:
        file.write(b'{"event": "losses", "step": 400, "val')  # torn by the kill
    mirror(out)
    journal.append("start", provenance=recorded.PROVENANCE, step=200)
    recorded.train(journal, 200, 400)
    recorded.finish_cell(journal, SCORES)
    mirror(out)
    counts = points(store)
    steps = [step for (_, name, step) in counts if name == "losses/g_l1"]
    assert sorted(steps) == list(range(50, 401, 50))
    assert set(counts.values()) == {1}
    assert len([name for name in files(store) if "/images/" in name]) == 4
    (run,) = read_suite(*KEY).runs
    assert run.status == "done"
    assert run.scores == SCORES


def test_a_rebuild_after_a_kill_before_the_first_checkpoint(
    tmp_path: Path, store: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first sample stands twice in the journal, at two times; in MLflow once."""
    out = tmp_path / "runs"
    journal = recorded.begin(out / "cells" / "aaa", "aaa", 1)
    recorded.suite_record(out, [("70x70", 1, "aaa")], reference=None)

    def first_sample() -> None:
        file = "samples/step-0000000.png"
        recorded.paint(journal.directory / file, (9, 9, 9))
        journal.append("sample", step=0, file=file)

    first_sample()
    mirror(out)
    with contextlib.closing(sqlite3.connect(store)) as database, database:
        # As if the pass had been cut off between the upload and the tag that stands for it.
        database.execute("DELETE FROM tags WHERE key IN ('mirrored.sample', 'mirrored.journal')")
    time.sleep(0.01)
    journal.append("start", provenance=recorded.PROVENANCE, step=0)
    first_sample()
    recorded.train(journal, 0, 400)
    recorded.finish_cell(journal, SCORES)

    def grids(database: Path) -> list[str]:
        return [name for name in files(database) if "/images/" in name and name.endswith(".png")]

    mirror(out)
    assert len(grids(store)) == 3  # steps 0, 200, 400
    rebuilt = tmp_path / "rebuilt" / "mlflow.db"
    rebuilt.parent.mkdir()
    shutil.copyfile(empty_store, rebuilt)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{rebuilt}")
    mirror(out)
    assert len(grids(rebuilt)) == 3


@pytest.mark.parametrize(
    "name", ["../../secret.png", "{out}/secret.png", "samples/../../../secret.png", "secret.png"]
)
def test_a_sample_lies_in_its_folder(tmp_path: Path, store: Path, name: str) -> None:
    out = tmp_path / "runs"
    journal = recorded.begin(out / "cells" / "aaa", "aaa", 1)
    for folder in (out, journal.directory):
        recorded.paint(folder / "secret.png", (1, 2, 3))
    (journal.directory / "samples").mkdir()
    journal.append("sample", step=0, file=name.format(out=out.resolve()))
    recorded.suite_record(out, [("70x70", 1, "aaa")], reference=None)
    mirror(out)
    assert not [file for file in files(store) if "/images/" in file]


def test_a_server_that_keeps_doubled_runs_is_not_asked_for_ever(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, passes = tmp_path / "runs", []
    recorded.suite_record(out, [("70x70", 1, "aaa")], reference=None)

    def one_more(*_: object) -> tuple[dict, int]:
        passes.append(1)
        return {}, 1

    monkeypatch.setattr(tracking, "one_of_each", one_more)
    mirror(out)
    assert len(passes) < 20


def test_a_step_twice_in_one_sitting_is_logged_once(tmp_path: Path, store: Path) -> None:
    out = tmp_path / "runs"
    journal = recorded.begin(out / "cells" / "aaa", "aaa", 1)
    for step, value in ((50, 1.0), (100, 2.0), (100, 3.0)):
        journal.append("losses", step=step, values={"g_l1": value}, seconds_per_step=0.1)
    recorded.suite_record(out, [("70x70", 1, "aaa")], reference=None)
    mirror(out)
    mirror(out)
    assert set(points(store).values()) == {1}
    curves = read_suite(*KEY).runs[0].curves()
    assert curves[curves.term == "g_l1"].value.tolist() == [1.0, 3.0]


def test_every_sessions_commit_and_device_is_told(tmp_path: Path, store: Path) -> None:
    out = tmp_path / "runs"
    journal = recorded.begin(out / "cells" / "aaa", "aaa", 1)
    recorded.suite_record(out, [("70x70", 1, "aaa")], reference=None)
    mirror(out)
    other = recorded.PROVENANCE | {"commit": "fedc987", "device": "cuda:0"}
    for provenance in (other, other, recorded.PROVENANCE):
        journal.append("start", provenance=provenance, step=0)
    recorded.train(journal, 0, 400)
    recorded.finish_cell(journal, SCORES)
    mirror(out)
    (run,) = read_suite(*KEY).runs
    assert run.provenance["commit"] == "0123abc, fedc987"
    assert run.provenance["device"] == "cpu, cuda:0"
    assert run.provenance["versions.torch"] == "2.11.0"
    assert "scores_commit" not in run.provenance


def test_scores_of_a_later_commit_say_so(tmp_path: Path, store: Path) -> None:
    out = tmp_path / "runs"
    journal = Journal(recorded.cell(out, "aaa", 1, SCORES))
    recorded.suite_record(out, [("70x70", 1, "aaa")], reference=None)
    for commit, told in (("fedc987", "fedc987"), ("0123abc", None)):
        provenance = recorded.PROVENANCE | {"commit": commit}
        journal.append("scores", values=SCORES, not_measured={}, provenance=provenance)
        journal.append("done", seconds=50.0)
        mirror(out)
        (run,) = read_suite(*KEY).runs
        assert run.provenance["commit"] == "0123abc"
        assert run.provenance.get("scores_commit") == told


def test_scores_against_another_reference_are_not_the_suites(tmp_path: Path, store: Path) -> None:
    out = tmp_path / "runs"
    directory = recorded.cell(out, "aaa", 1, SCORES)  # scored against "ref"
    recorded.suite_record(out, [("70x70", 1, "aaa")], reference="other")
    mirror(out)
    (run,) = read_suite(*KEY).runs
    assert (run.status, run.scores) == ("running", {})
    assert run.remark == "scored against another reference"
    assert len(run.curves()) > 0
    journal = Journal(directory)
    journal.append("start", provenance=recorded.PROVENANCE, step=400)
    recorded.score(journal, {"fcn.pixel_accuracy": 0.3})
    recorded.write_sheet(directory, {"fcn.pixel_accuracy": 0.3}, {}, reference="other")
    journal.append("done", seconds=50.0)
    mirror(out)
    (run,) = read_suite(*KEY).runs
    assert (run.status, run.scores, run.remark) == ("done", {"fcn.pixel_accuracy": 0.3}, None)

    # The suite of the first reference now meets scores of the second, and keeps its own.
    recorded.suite_record(out, [("70x70", 1, "aaa")], reference="ref", suite="losses")
    losses = ("losses", *KEY[1:])
    mirror(out)
    assert read_suite(*losses).runs[0].status == "running"
    journal.append("start", provenance=recorded.PROVENANCE, step=400)
    recorded.score(journal, SCORES)
    journal.append("done", seconds=60.0)
    mirror(out)
    assert read_suite(*losses).runs[0].scores == SCORES
    (run,) = read_suite(*KEY).runs
    assert (run.status, run.scores) == ("done", {"fcn.pixel_accuracy": 0.3})


def test_a_kill_between_the_sheet_and_the_journal(tmp_path: Path, store: Path) -> None:
    out = tmp_path / "runs"
    directory = recorded.cell(out, "aaa", 1, SCORES)
    recorded.suite_record(out, [("70x70", 1, "aaa")], reference="ref")
    journal = Journal(directory)
    journal.append("start", provenance=recorded.PROVENANCE, step=400)
    recorded.write_sheet(directory, {"pixel.l1": 0.7}, {"fcn.pixel_accuracy": "no labels"})
    mirror(out)
    (run,) = read_suite(*KEY).runs
    assert (run.status, run.scores) == ("running", {})
    journal.append("start", provenance=recorded.PROVENANCE, step=400)
    journal.append("done", seconds=50.0)  # the sheet was there already
    mirror(out)
    (run,) = read_suite(*KEY).runs
    assert (run.status, run.scores) == ("done", {"pixel.l1": 0.7})
    assert run.not_measured == {"fcn.pixel_accuracy": "no labels"}


def test_a_score_that_is_no_longer_measured_is_gone(tmp_path: Path, store: Path) -> None:
    out = tmp_path / "runs"
    directory = recorded.cell(out, "aaa", 1, SCORES)
    recorded.suite_record(out, [("70x70", 1, "aaa")], reference=None)
    mirror(out)
    journal = Journal(directory)
    recorded.score(journal, {"pixel.l1": 0.1}, {"fcn.pixel_accuracy": "the data set has no labels"})
    journal.append("done", seconds=50.0)
    mirror(out)
    assert read_suite(*KEY).runs[0].scores == {"pixel.l1": 0.1}


def test_a_failed_cell_says_why_and_recovers(tmp_path: Path, store: Path) -> None:
    out = tmp_path / "runs"
    directory = recorded.failed_cell(out, "aaa", 1)
    recorded.suite_record(out, [("70x70", 1, "aaa")], reference=None)
    mirror(out)
    (run,) = read_suite(*KEY).runs
    assert (run.status, run.error) == ("failed", "step 101: g_l1 is not a number")
    log = run.artifact("failure.log")
    assert log is not None
    assert log.read_text(encoding="utf-8") == "line 1\nline 2\n"
    journal = Journal(directory)
    journal.append("start", provenance=recorded.PROVENANCE, step=0)
    mirror(out)
    assert read_suite(*KEY).runs[0].status == "running"
    recorded.train(journal, 0, 400)
    recorded.finish_cell(journal, SCORES)
    mirror(out)
    (run,) = read_suite(*KEY).runs
    assert (run.status, run.error) == ("done", None)


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


def test_scores_done_again_replace_the_old_ones(tmp_path: Path, store: Path) -> None:
    out = tmp_path / "runs"
    directory = recorded.cell(out, "aaa", 1, SCORES, {"lpips": "no backbone"})
    recorded.suite_record(out, [("70x70", 1, "aaa")], reference=None)
    mirror(out)
    journal = Journal(directory)
    recorded.score(journal, SCORES | {"pixel.l1": 0.2, "lpips": 0.3})
    journal.append("done", seconds=50.0)
    mirror(out)
    (run,) = read_suite(*KEY).runs
    assert run.scores == SCORES | {"pixel.l1": 0.2, "lpips": 0.3}
    assert run.not_measured == {}
    table = run.artifact("per_image.csv")
    assert table is not None
    assert table.read_text(encoding="utf-8").splitlines()[1] == "scene_00,0.8,0.2,0.3"


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


def test_follow_mirrors_until_standard_input_ends(tmp_path: Path, store: Path) -> None:
    out = tmp_path / "runs"
    journal = recorded.begin(out / "cells" / "aaa", "aaa", 1)
    recorded.train(journal, 0, 100)
    path = recorded.suite_record(out, [("70x70", 1, "aaa")], reference=None)
    process = subprocess.Popen(
        command(out, "--suite-record", str(path), "--follow"),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 600
    while not points(store) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert read_suite(*KEY).runs[0].status == "running"
    process.send_signal(signal.SIGINT)  # Ctrl-C is for the launcher
    recorded.train(journal, 100, 400)
    recorded.finish_cell(journal, SCORES)
    _, said = process.communicate(timeout=600)  # closes standard input
    assert (process.returncode, said) == (0, b"")
    assert read_suite(*KEY).runs[0].scores == SCORES


def test_follow_survives_a_store_that_is_away(tmp_path: Path) -> None:
    out = tmp_path / "runs"
    recorded.failed_cell(out, "aaa", 1)
    recorded.suite_record(out, [("70x70", 1, "aaa")], reference=None)
    (tmp_path / "mlflow.db").write_text("this is no database, it is a text file" * 100)
    done = subprocess.run(
        command(out, "--follow"),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == done.stderr.count("not up to date:") >= 1


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
    assert [run.status for run in read_suite(*KEY).runs] == ["running", "done"]


def test_bad_suite_records_are_named(
    tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "record.json"
    path.write_text('{"suite": "x", "dataset": "y"}')
    assert main(["--out", str(tmp_path), "--suite-record", str(path)]) == 2
    message = capsys.readouterr().err
    assert "record.json: not a suite record: " in message and "arms, cells" in message
    path.write_text("{")
    assert main(["--out", str(tmp_path), "--suite-record", str(path)]) == 2


def test_the_reader_says_what_there_is(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="holds no suite"):
        read_suite(*KEY)
    out = tmp_path / "runs"
    recorded.suite_record(out, [("70x70", 1, "aaa")], reference=None)
    mirror(out)
    with pytest.raises(UserError, match="did you mean patch_size"):
        read_suite("patchsize", "procedural", "quick")
    with pytest.raises(UserError, match=r"recorded: procedural \(quick\)"):
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


def test_the_check_initialises_a_new_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/deep/mlflow.db")
    assert main(["--check"]) == 0
    assert list_suites() == []
    assert main(["--check"]) == 0


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("foo://bar", "foo://bar: cannot be opened"),
        ("postgresql://me:secret@localhost/x", "postgresql://me:***@localhost/x: cannot be opened"),
        ("sqlite://", "names no file"),
        ("sqlite:///{folder}/text.db", "text.db: cannot be opened"),
        ("sqlite:///{folder}/text.db/mlflow.db", "text.db"),
    ],
)
def test_the_check_says_in_a_line_what_is_wrong(
    uri: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "text.db").write_text("this is no database, it is a text file" * 100)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(folder=tmp_path))
    assert main(["--check"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: MLFLOW_TRACKING_URI: ")
    assert error.count("\n") == 1
    assert said in error
    assert "secret" not in error


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
    code = "import sys, experiments.tracking.address; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_params_are_flat_text() -> None:
    nested = {"generator": {"depth": 7}, "discriminator": None, "size": [4, 8], "name": "x"}
    assert flatten(nested) == {
        "generator.depth": "7",
        "discriminator": "none",
        "size": "[4, 8]",
        "name": "x",
    }


def test_evenly_spaced_items() -> None:
    assert evenly_spaced(list(range(5)), 8) == [0, 1, 2, 3, 4]
    assert evenly_spaced(list(range(100)), 4) == [0, 25, 50, 75]
