import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from eval.scorer.file import FORMAT, KEY
from experiments.import_runs import main
from experiments.run.jobs import sheet_checksums
from experiments.run.journal import read_records, write_json
from pix2pix.config import PROTOCOL, CellConfig

MINIATURE = Path(__file__).parents[1] / "reports" / "miniature"
"""A real study, of an earlier protocol."""


@pytest.fixture
def elsewhere(tmp_path):
    """The miniature study as this version names it."""
    folder = tmp_path / "elsewhere"
    shutil.copytree(MINIATURE, folder)
    renamed = {}
    for path in sorted(folder.glob("cells/*/config.json")):
        content = json.loads(path.read_text())
        old = content.pop("digest")
        renamed[old] = recompute(path, content | {"protocol": PROTOCOL})
    for path in folder.glob("[cr]*/*/scores.json"):  # which were shortened for the repository
        change_journal(path.parent, "scores", sha256=sheet_checksums(path.parent))
    for path in folder.glob("suites/*/*.json"):
        text = path.read_text()
        for old, new in renamed.items():
            text = text.replace(old, new)
        path.write_text(text)
    return folder


def recompute(path, content):
    """Write a config.json, and rename its folder to the new digest, which is returned."""
    digest = CellConfig.model_validate_json(json.dumps(content)).digest
    write_json(path, {"digest": digest, **content})
    path.parent.rename(path.parent.with_name(digest))
    return digest


def save_scorer_of(folder, sha256=None):
    """A scorer's file that records the weights by which the reference was scored, or others."""
    (reference,) = folder.glob("references/*")
    fcn = json.loads((reference / "scores.json").read_text())["settings"]["fcn"]
    record = {"format": FORMAT, "sha256": sha256 or fcn["weights_sha256"]}
    path = folder / "scorers" / f"{reference.name}.safetensors"
    save_file({"weight": np.zeros(1, np.float32)}, path, {KEY: json.dumps(record)})


def a_cell(folder):
    return min(folder.glob("cells/*"))


def change_journal(folder, event, **fields):
    """Change the fields of one event in a run's journal."""
    records = read_records(folder / "journal.jsonl")
    for record in records:
        if record["event"] == event:
            record.update(fields)
    (folder / "journal.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))


def refused(folder, out, capsys):
    """The one line with which an import is refused; nothing is copied."""
    before = sorted(out.rglob("*")) if out.exists() else []
    assert main([str(folder), "--out", str(out)]) == 2
    assert before == (sorted(out.rglob("*")) if out.exists() else [])
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "Traceback" not in error
    return error


def test_finished_runs_and_their_suite_are_taken_as_they_are(elsewhere, tmp_path, capsys):
    out, cell = tmp_path / "runs", a_cell(elsewhere)
    (cell / "checkpoint-2.pt").touch()
    save_scorer_of(elsewhere)
    assert main([str(elsewhere), "--out", str(out)]) == 0
    for path in elsewhere.rglob("*"):
        if path.is_file() and path.name != "checkpoint-2.pt" and "suites" not in path.parts:
            assert (out / path.relative_to(elsewhere)).read_bytes() == path.read_bytes()
    assert not list(out.rglob("checkpoint*"))
    assert main([str(elsewhere), "--out", str(out)]) == 0  # again: nothing to do
    assert f"{out / 'cells' / cell.name}: is there already, kept" in capsys.readouterr().out


def test_cells_of_two_machines_stand_in_one_suite(elsewhere, tmp_path):
    other, out = tmp_path / "other", tmp_path / "runs"
    shutil.copytree(elsewhere, other)
    for folder, seed in ((elsewhere, 1), (other, 2)):
        (path,) = folder.glob("suites/*/*.json")
        content = json.loads(path.read_text())
        content["cells"] = [c for c in content["cells"] if c["seed"] == seed]
        write_json(path, content)
        kept = {c["digest"] for c in content["cells"]}
        for cell in folder.glob("cells/*"):
            if cell.name not in kept:
                shutil.rmtree(cell)
        assert main([str(folder), "--out", str(out)]) == 0
    (path,) = out.glob("suites/*/*.json")
    cells = json.loads(path.read_text())["cells"]
    assert {c["seed"] for c in cells} == {1, 2} and len(cells) == 10
    assert {c["digest"] for c in cells} == {p.name for p in out.glob("cells/*")}


def test_what_is_not_finished_is_left_out(elsewhere, tmp_path, capsys):
    cell = a_cell(elsewhere)
    journal = cell / "journal.jsonl"
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:-1]))
    assert main([str(elsewhere), "--out", str(tmp_path / "runs")]) == 0
    assert f"{cell}: not finished, left out" in capsys.readouterr().out
    assert not (tmp_path / "runs" / "cells" / cell.name).exists()


def test_another_protocol_is_refused(tmp_path, capsys):
    error = refused(MINIATURE, tmp_path / "runs", capsys)
    assert f"protocol 1, and this version has {PROTOCOL}" in error


def test_other_data_under_the_same_name_are_refused(elsewhere, tmp_path, capsys):
    out = tmp_path / "runs"
    (path,) = elsewhere.glob("suites/*/*.json")
    content = json.loads(path.read_text()) | {"fingerprint": "f" * 64, "suite": "other"}
    write_json(out / "suites" / "other" / path.name, content)
    error = refused(elsewhere, out, capsys)
    assert "data set miniature with the fingerprint 1552ef9072b3" in error
    assert "has ffffffffffff" in error


@pytest.mark.parametrize(
    ("versions", "problem"),
    [({"torch": "1.13.1+cu117"}, "torch 1.13, and this project has"), ({}, "KeyError('torch')")],
)
def test_other_versions_are_refused(elsewhere, tmp_path, capsys, versions, problem):
    change_journal(a_cell(elsewhere), "start", provenance={"versions": versions})
    assert problem in refused(elsewhere, tmp_path / "runs", capsys)


def test_settings_that_this_version_does_not_know_are_refused(elsewhere, tmp_path, capsys):
    path = a_cell(elsewhere) / "config.json"
    content = json.loads(path.read_text())
    content["training"]["momentum"] = 0.9
    write_json(path, content)
    error = refused(elsewhere, tmp_path / "runs", capsys)
    assert "settings of another version" in error and "momentum" in error


def test_changed_settings_and_changed_scores_are_refused(elsewhere, tmp_path, capsys):
    path = a_cell(elsewhere) / "config.json"
    before = path.read_bytes()
    write_json(path, json.loads(before) | {"seed": 7})
    assert "they were changed" in refused(elsewhere, tmp_path / "runs", capsys)
    path.write_bytes(before)
    scores = path.with_name("scores.json")
    scores.write_text(scores.read_text().replace("0.", "1.", 1))
    error = refused(elsewhere, tmp_path / "runs", capsys)
    assert "not those that its journal recorded" in error


def test_scores_of_another_scorer_are_refused(elsewhere, tmp_path, capsys):
    out = tmp_path / "runs"
    assert main([str(elsewhere), "--out", str(out)]) == 0
    shutil.rmtree(out / "cells")
    (reference,) = out.glob("references/*")
    content = json.loads((reference / "scores.json").read_text())
    content["settings"]["fcn"]["weights_sha256"] = "0" * 64
    write_json(reference / "scores.json", content)
    change_journal(reference, "scores", sha256=sheet_checksums(reference))
    assert "its scorer has other weights" in refused(elsewhere, out, capsys)
    shutil.rmtree(elsewhere / "references")
    shutil.rmtree(out)
    assert "neither imported nor in" in refused(elsewhere, out, capsys)


def test_a_scorers_file_that_is_not_the_runs_is_refused(elsewhere, tmp_path, capsys):
    save_scorer_of(elsewhere, "0" * 64)
    assert "not the scorer of" in refused(elsewhere, tmp_path / "runs", capsys)


def test_a_folder_without_runs_is_refused(tmp_path, capsys):
    assert "no run directories" in refused(tmp_path, tmp_path / "runs", capsys)
