"""A full disk, a read-only folder, a vanished data root: promise 4 of docs/reliability.md."""

from __future__ import annotations

import shutil

import pytest
from fault_compare import by_step, differences, facts, mirrored, wrong_so_far
from fault_mounts import fill, ordered, small_disk, unchangeable

pytestmark = pytest.mark.slow
MIB = 2**20


def one_line(ended, *words):
    """The lines that name a failure; AssertionError where none does, or for a traceback."""
    assert "Traceback" not in ended.said, ended
    lines = [line for line in ended.said.splitlines() if all(word in line for word in words)]
    assert lines, f"no line with {words}: {ended}"
    return lines


def goes_on(study, whole):
    """The next start ends as if nothing had happened."""
    ended = study.run()
    assert ended.status == 0, ended
    assert differences(whole.facts, facts(study)) == []
    there = mirrored(study.folder / "mlflow.db")
    assert differences(by_step(whole.mirrored), by_step(there)) == []


def at(phase, count, command):
    return {"phase": phase, "count": count, "how": "run", "command": command}


@pytest.mark.long
@pytest.mark.parametrize(
    ("phase", "count", "free"),
    [
        ("checkpoint", 12, MIB),
        ("train", 30, 0),
        ("decode", 8, 4096),
        ("reference", 6, 0),
        ("scorer", 3, 4096),
        ("checkpoint", 1, 0),
        ("generator", 1, 65536),
        ("translate", 4, 0),
        ("score", 2, 0),
    ],
)
def test_a_disk_that_fills_up(study, whole, phase, count, free):
    with small_disk(study.out, 160):
        ended = study.run("--checkpoint-every", "0", plan=at(phase, count, fill("runs", free)))
        assert study.fired(), "the disk was never filled"
        # Before anything is trained it is bad input (2), afterwards a cell that failed (1).
        assert ended.status == (2 if phase == "decode" else 1), ended
        lines = one_line(ended, "disk is full" if phase == "decode" else "No space left on device")
        assert any(str(study.out) in line or "runs" in line for line in lines), "names no file"
        study.wait_until_alone()
        assert wrong_so_far(study, whole.facts, whole.checkpoints) == []
        (study.out / "ballast").unlink()
        goes_on(study, whole)


def test_one_cells_full_disk_stops_no_other(study, whole):
    """Also one that is not full but read-only: of each arm's run directory a disk of its own."""
    sizes = {"L1+cGAN": 2, "GAN": 64}
    cells = {arm: study.out / "cells" / whole.digests[arm] for arm in sizes}
    with small_disk(cells["L1+cGAN"], sizes["L1+cGAN"]):
        ended = study.run()
        assert ended.status == 1, ended
        (line,) = one_line(ended, "FAILED L1+cGAN seed 1", "No space left on device")
        assert str(cells["L1+cGAN"]) in line
        others = {k: v for k, v in facts(study).items() if not k.startswith("L1+cGAN")}
        kept = {k: v for k, v in whole.facts.items() if not k.startswith("L1+cGAN")}
        assert differences(kept, others) == []
        assert ordered("mount", "-o", "remount,size=64m", str(cells["L1+cGAN"])) == ""
        goes_on(study, whole)


@pytest.mark.long
def test_a_folder_that_becomes_read_only(study, whole):
    cell = study.out / "cells" / whole.digests["GAN"]
    plan = at("checkpoint", 8, f"chattr -R +i {cell}") | {"path": cell.name}
    ended = study.run("--checkpoint-every", "0", plan=plan)
    with unchangeable(cell):
        assert ended.status == 1, ended
        one_line(ended, "FAILED GAN seed 1", str(cell), "Operation not permitted")
        assert wrong_so_far(study, whole.facts, whole.checkpoints) == []
        again = study.run()  # told before anything is trained
        assert again.status == 2, again
        assert len(one_line(again, "run_ablations.py:", str(cell))) == 1
    goes_on(study, whole)


def test_an_output_folder_that_is_read_only_from_the_start(study):
    with small_disk(study.out, 1):
        assert ordered("mount", "-o", "remount,ro", str(study.out)) == ""
        ended = study.run()
    assert ended.status == 2, ended
    assert ended.said.strip() == "run_ablations.py: --out runs: cannot be written: " + (
        "Read-only file system"
    )


@pytest.mark.long
def test_data_that_vanish_and_come_back(study, whole):
    data, away = study.folder / "data", study.folder / "away"
    ended = study.run(plan=at("train", 1, "mv data away"))
    assert study.fired()
    # A worker that has listed the files already goes on from the cache. Two work at a time, so the
    # third job begins when the data are gone, and that one fails.
    assert ended.status == 1, ended
    one_line(ended, "FAILED", "data")
    assert wrong_so_far(study, whole.facts, whole.checkpoints) == []
    again = study.run()
    assert again.status == 2, again
    assert len(one_line(again, "run_ablations.py:", str(data))) == 1
    shutil.move(away, data)
    goes_on(study, whole)


@pytest.mark.long
def test_a_file_size_limit_is_told_like_a_full_disk(study, whole):
    """Where no disk can be mounted, this is what fills up."""
    plan = {"phase": "train", "count": 10, "how": "limit", "bytes": MIB}
    ended = study.run("--checkpoint-every", "0", plan=plan)
    assert ended.status == 1, ended
    one_line(ended, "FAILED", "File too large")
    assert wrong_so_far(study, whole.facts, whole.checkpoints) == []
    goes_on(study, whole)
