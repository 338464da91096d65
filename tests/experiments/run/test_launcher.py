import json
import os
import platform
import signal
import subprocess
import sys

import pytest
import torch
from planned_jobs import cell_job

from experiments.run.journal import Journal, write_json
from experiments.run.launcher import (
    Outcome,
    choose_workers,
    launch,
    unusable_gpus,
    usable_cores,
)
from experiments.run.signals import collected_signals
from pix2pix.common.locks import Ownership


def job(out, name, **fields):
    return cell_job(name, name, out, **fields)


def test_workers_default_to_a_gpu_else_a_core_each():
    jobs = [None] * 5
    assert choose_workers(None, 3, jobs) == 3
    assert choose_workers(None, 0, jobs) == min(5, usable_cores())
    assert choose_workers(2, 8, jobs) == 2
    assert choose_workers(9, 0, jobs) == 5


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine's GPU is usable")
def test_a_gpu_that_torch_cannot_use_is_reported(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert not unusable_gpus(tmp_path)
    (tmp_path / "nvidia0").touch()
    assert unusable_gpus(tmp_path).startswith("torch cannot use this machine's GPU")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # turned off on purpose
    assert not unusable_gpus(tmp_path)


def test_every_job_fails_for_itself_and_says_why(tmp_path):
    events = []
    jobs = [job(tmp_path, "a"), job(tmp_path, "b")]
    outcomes = launch(jobs, 2, 0, lambda j, e: events.append((j.digest, e["event"])))
    for one in jobs:
        assert outcomes[one.digest].word == "failed"
        assert "nothing-of-that-name" in outcomes[one.digest].reason
        (record,) = [r for r in Journal(one.directory).records() if r["event"] == "failed"]
        assert "nothing-of-that-name" in record["error"]
        assert (one.digest, "ended") in events


def own(*jobs):
    """The run directories' ownerships, held by this process."""
    held = []
    for one in jobs:
        one.directory.mkdir(parents=True)
        held.append(Ownership(one.directory / "owner.lock"))
        assert held[-1].take()
    return held


def test_others_come_first_while_another_process_owns_a_cell(tmp_path):
    jobs = [job(tmp_path, "a"), job(tmp_path, "b")]
    (lock,) = own(jobs[0])
    order = []

    def watch(one, event):
        order.append((one.title, event["event"], event.get("phase", "")))
        if event["event"] == "ended" and one.title == "b":
            lock.release()

    outcomes = launch(jobs, 1, 0, watch)
    assert order[0] == ("a", "phase", f"owned by process {os.getpid()} on {platform.node()}")
    assert [title for title, event, _ in order if event == "ended"] == ["b", "a"]
    # It was started in the end, and failed because its data set does not exist.
    assert outcomes[jobs[0].digest].word == "failed"


def test_a_worker_that_is_turned_down_gives_its_slot_back(tmp_path):
    """The kernel's lock alone: what a launcher finds out only by trying."""
    jobs = [job(tmp_path, "a"), job(tmp_path, "b")]
    (lock,) = own(jobs[0])
    lock.file.unlink()
    ended = []

    def watch(one, event):
        if event["event"] == "ended":
            ended.append(one.title)
            if one.title == "b":
                lock.release()

    launch(jobs, 1, 0, watch)
    assert ended == ["b", "a"]


def test_what_its_owner_has_done_meanwhile_is_done(tmp_path):
    one = job(tmp_path, "a")
    (lock,) = own(one)

    def watch(_, event):
        if event["event"] == "phase":
            write_json(one.directory / "scores.json", {"settings": {"reference": "r"}})
            Journal(one.directory).append("done", seconds=1.0)
            lock.release()

    assert launch([one], 1, 0, watch) == {one.digest: Outcome("done")}


def test_a_signal_stops_what_runs_and_what_waits(tmp_path):
    jobs = [job(tmp_path, name) for name in ("a", "b", "c")]
    locks = own(*jobs)
    for lock in locks[:2]:
        lock.file.unlink()  # so that two workers are started and turned down, again and again

    def watch(_, event):
        if event["event"] == "phase":
            os.kill(os.getpid(), signal.SIGTERM)

    with collected_signals() as signals:
        outcomes = launch(jobs, 2, 0, watch, signals)
    assert {o.word for o in outcomes.values()} == {"stopped"}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_worker_that_dies_leaves_its_reason_and_its_log(tmp_path, number, monkeypatch):
    """Of any death that a worker cannot record itself, the launcher does."""
    monkeypatch.setattr(
        "experiments.run.launcher.WORKER",
        [
            "-c",
            f"import os, sys; print('on my way', file=sys.stderr); os.kill(os.getpid(), {number})",
        ],
    )
    one, told = job(tmp_path, "a"), []
    outcomes = launch([one], 1, 0, lambda _, event: told.append(event))
    assert f"killed by signal {int(number)}" in outcomes[one.digest].reason
    (record,) = Journal(one.directory).records()
    assert record["event"] == "failed" and record["error"] == outcomes[one.digest].reason
    assert "on my way" in record["log"]
    assert (one.directory / "config.json").exists()
    assert {"event": "failed", "error": outcomes[one.digest].reason} in told


TOO_SMALL = """
import json, os, pathlib, sys, time
sys.stdin.readline()
place = pathlib.Path({place!r})
for held in (place / "0", place / "1"):
    try:
        held.mkdir()
        break
    except FileExistsError:
        pass
else:
    (place / f"failed-{{os.getpid()}}").touch()
    print(json.dumps({{"event": "failed", "error": "no memory", "shortage": True}}), flush=True)
    sys.exit(1)
while len(list(place.glob("failed-*"))) < {failures}:
    time.sleep(0.01)
held.rmdir()
"""
"""A worker on a GPU with memory for two, which works until so many others have failed."""


def on_a_small_gpu(place, monkeypatch, failures):
    place.mkdir()
    script = TOO_SMALL.format(place=str(place), failures=failures)
    monkeypatch.setattr("experiments.run.launcher.WORKER", ["-c", script])


def test_on_a_gpu_with_too_little_memory_fewer_run_and_all_finish(tmp_path, monkeypatch):
    on_a_small_gpu(tmp_path / "gpu", monkeypatch, failures=2)
    jobs, told = [job(tmp_path, name) for name in "abcdef"], []
    outcomes = launch(jobs, 4, 1, lambda _, event: told.append(event))
    assert {outcome.word for outcome in outcomes.values()} == {"done"} and len(outcomes) == 6
    assert len(list((tmp_path / "gpu").iterdir())) == 2  # none failed a second time
    (phase,) = [event["phase"] for event in told if event["event"] == "phase"]
    assert "too small for 4 at a time" in phase
    assert not [event for event in told if event["event"] == "failed"]


def test_a_job_that_gets_no_memory_on_a_gpu_of_its_own_fails(tmp_path, monkeypatch):
    on_a_small_gpu(tmp_path / "gpu", monkeypatch, failures=0)
    for name in "01":
        (tmp_path / "gpu" / name).mkdir()  # held by a program of someone else
    one, told = job(tmp_path, "a"), []
    outcomes = launch([one], 2, 1, lambda _, event: told.append(event["event"]))
    assert outcomes == {one.digest: Outcome("failed", "no memory")}
    assert told == ["failed", "ended"]


def test_a_folder_that_cannot_be_written_fails_its_job_alone(tmp_path):
    blocked, other = job(tmp_path / "x", "a"), job(tmp_path, "b")
    (tmp_path / "x").write_text("a file where a folder should be")
    outcomes = launch([blocked, other], 1, 0, lambda *_: None)
    assert f"{tmp_path}/x" in outcomes[blocked.digest].reason
    assert "\n" not in outcomes[blocked.digest].reason
    assert "nothing-of-that-name" in outcomes[other.digest].reason


@pytest.mark.parametrize("line", ["", "{}", "no json", '{"kind": "cell"}'])
def test_a_worker_says_in_one_line_that_it_got_no_job(line):
    done = subprocess.run(
        [sys.executable, "-m", "experiments.run.worker"],
        input=f"{line}\n",
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    event = json.loads(done.stdout)
    assert event["event"] == "failed" and event["error"].startswith("job: ")
    assert done.stderr == f"failed: {event['error']}\n"
