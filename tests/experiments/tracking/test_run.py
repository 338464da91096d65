"""One run in MLflow and the run directory behind it, in a real SQLite store."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import time
from pathlib import Path

import pytest
import recorded_runs as recorded
from PIL import Image
from store_contents import files, points

from experiments.run.journal import Journal, write_json
from experiments.tracking.mirror import mirror
from experiments.tracking.reader import read_suite
from experiments.tracking.run import evenly_spaced, flatten, stage_scores
from experiments.tracking.store import open_store

KEY = ("patch_size", "procedural", "quick")
SCORES = {"fcn.pixel_accuracy": 0.8, "pixel.l1": 0.1}


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
    stage_scores(run, folder, None)
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
    """The journal holds its first sample twice, with two times; MLflow holds it once."""
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


def test_a_step_twice_in_one_session_is_logged_once(tmp_path: Path, store: Path) -> None:
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


def test_the_commit_and_device_of_every_session_is_recorded(tmp_path: Path, store: Path) -> None:
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


def test_a_failed_cell_records_why_and_recovers(tmp_path: Path, store: Path) -> None:
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
