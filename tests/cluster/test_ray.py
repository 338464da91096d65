"""The engine Ray on a real cluster of two nodes: the same bits as on one machine, whatever dies."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from hashlib import sha256
from pathlib import Path

import pytest
from cluster_study import LONG, SEEDS, ClusterStudy
from fault_compare import differences
from fault_study import PATIENCE
from ray_cluster import HEAD, OTHER

from experiments.run.journal import read_records

pytestmark = pytest.mark.long
STRIKES = [LONG * 2 * n // 10 for n in (1, 3, 5, 7)]
"""Steps of both trainings together at which a study is struck."""


def on(study, cluster):
    study.engine = ("--engine", "ray", "--address", cluster.address)
    return study


@pytest.fixture
def study(study, ray_nodes):
    return on(study, ray_nodes)


def test_the_same_bits_as_on_this_machine(study, whole):
    ended = study.run()
    assert ended.status == 0, ended
    assert "Ray cluster of 2 node(s), 2 at a time" in ended.said
    assert differences(whole, study.everything()) == []


def wait_until(study, started, steps):
    deadline = time.monotonic() + 240 * PATIENCE
    while study.reached() < steps:
        assert time.monotonic() < deadline and started.process.poll() is None, started.said
        time.sleep(0.2)


def pids_of(study, word):
    """Processes of a study, or of Ray for it, whose command line or title holds a word.

    A node that shares nothing has a folder of its own for the runs, named by the digest of --out.
    """
    out = str(study.out.resolve())
    marks = [text.encode() for text in (out, sha256(out.encode()).hexdigest()[:12])]
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if word not in (entry / "cmdline").read_text():
                continue
            log = os.readlink(entry / "fd" / "2").encode()
            children = (entry / "task" / entry.name / "children").read_text().split()
            logs = [log, *(os.readlink(f"/proc/{pid}/fd/2").encode() for pid in children)]
        except OSError:
            continue
        if any(mark in text for text in logs for mark in marks):
            yield int(entry.name)


def kill_one(study, word):
    """SIGKILL for the first such process; in a pause between two, as soon as there is one."""
    deadline = time.monotonic() + 60 * PATIENCE
    while not (found := list(pids_of(study, word))):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.kill(found[0], signal.SIGKILL)


@pytest.mark.parametrize("victim", ["worker", "ray's worker", "driver"])
def test_what_dies_resumes_exactly(study, whole_long, victim, figures):
    """Four strikes in one study."""
    study.steps = LONG
    command = ("--checkpoint-every", "1")
    started = study.start(*command)
    for steps in STRIKES:
        wait_until(study, started, steps)
        if victim == "worker":
            kill_one(study, "experiments.run.worker")
        elif victim == "ray's worker":
            kill_one(study, "ray::")
        else:
            started.process.kill()
            assert started.end().status == -signal.SIGKILL
            started = study.start(*command)
    check_resumed(study, started.end(600), whole_long, len(STRIKES), figures, victim)


def check_resumed(study, ended, expected, strikes, figures, victim):
    assert ended.status == 0, ended
    assert study.lost_steps() == []
    sessions = sum(map(study.sessions, study.cells()))
    assert sessions >= len(study.cells()) + strikes, "every strike met a training"
    figures.append(f"Ray, {victim}: {strikes} strikes, {sessions} sessions")
    assert differences(expected, study.everything()) == []


def training_on_the_other(ray_nodes, study, started):
    """Wait until the second node trains, and --out has a checkpoint of that since it began."""
    deadline = time.monotonic() + 240 * PATIENCE
    while True:
        assert time.monotonic() < deadline and started.process.poll() is None, started.said
        others = set(ray_nodes.pids_of_other())
        for pid in others.intersection(pids_of(study, "experiments.run.worker")):
            with contextlib.suppress(OSError, ValueError):
                log = Path(os.readlink(f"/proc/{pid}/fd/2"))
                records = read_records(study.out / "cells" / log.parent.name / "journal.jsonl")
                events = [record["event"] for record in records]
                now = events[len(events) - events[::-1].index("start") :]
                if "checkpoint" in now and "trained" not in now:
                    return
        time.sleep(0.2)


@pytest.mark.parametrize("victim", ["node", "network"])
def test_a_node_that_dies_or_is_cut_off(study, ray_nodes, whole_seeds, victim, figures):
    """Four strikes in a study of twelve trainings, each while the second node trains."""
    study.steps = LONG
    started = study.start("--checkpoint-every", "1", *SEEDS)
    for _ in STRIKES:
        training_on_the_other(ray_nodes, study, started)
        if victim == "network":  # no connection is reset: the head only hears no more
            ray_nodes.cut()
        ray_nodes.kill_other()
        if victim == "network":
            ray_nodes.mend()
        ray_nodes.start_other()
    check_resumed(study, started.end(900), whole_seeds, len(STRIKES), figures, victim)


@pytest.fixture
def apart(ray_nodes, store):
    """A study in a folder that the second node does not see."""
    study = on(ClusterStudy(ray_nodes.hidden / "apart", store), ray_nodes)
    study.engine += ("--no-shared-folder",)
    yield study
    study.kill()
    shutil.rmtree(study.folder)


def test_the_same_bits_where_nodes_share_nothing(apart, whole):
    ended = apart.run()
    assert ended.status == 0, ended
    assert differences(whole, apart.everything()) == []


def test_a_node_that_shares_nothing_dies(apart, ray_nodes, whole_seeds, figures):
    """Twice; its run goes on from what it had sent."""
    apart.steps = LONG
    started = apart.start("--checkpoint-every", "1", *SEEDS)
    for _ in range(2):
        training_on_the_other(ray_nodes, apart, started)
        ray_nodes.kill_other()
        ray_nodes.start_other()
    check_resumed(apart, started.end(900), whole_seeds, 2, figures, "node that shares nothing")


def test_ctrl_c_stops_in_order(study, whole_long):
    study.steps = LONG
    started = study.start("--checkpoint-every", "1000")
    study.wait_for(started, "L1+cGAN", "losses")
    started.process.send_signal(signal.SIGINT)
    ended = started.end()
    assert ended.status == 130 and "stopped; run the same command again" in ended.said, ended
    assert study.reached() > 0  # a checkpoint, long before its time
    ended = study.run()
    assert ended.status == 0, ended
    assert differences(whole_long, study.everything()) == []


def test_two_commands_on_one_folder_train_every_run_once(study, ray_nodes, whole):
    here = study.start()
    study.engine = ()
    there = study.start()
    ended = [one.end(600) for one in (here, there)]
    if any(one.status for one in ended):  # one mirror gave up waiting for the other
        assert all("not up to date" in one.said for one in ended if one.status), ended
        assert study.run("--report-only").status == 0
    trained = [
        record
        for cell in study.cells().values()
        for record in read_records(cell / "journal.jsonl")
        if record["event"] == "trained"
    ]
    assert len(trained) == 2
    assert differences(whole, study.everything()) == []


def refused(study, *more):
    ended = study.run(*more)
    assert ended.status == 2 and len(ended.said.strip().splitlines()) == 1, ended
    return ended.said


def test_what_the_cluster_can_never_run_is_refused(study):
    said = refused(study, "--gpus-per-run", "1")
    assert f"({HEAD}) has 1 CPUs and 0 GPUs" in said and f"({OTHER})" in said
    assert "no node can ever take a run with 4 CPU(s)" in refused(study, "--threads", "4")


def test_a_node_with_another_torch_is_named(study, ray_nodes, tmp_path):
    other = tmp_path / "torch-1.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 1.0\n")
    ray_nodes.kill_other()
    ray_nodes.start_other(path=str(tmp_path))
    try:
        said = refused(study)
    finally:
        ray_nodes.kill_other()
        ray_nodes.start_other()
    assert f"({OTHER}): has torch 1.0 instead of" in said


def test_a_node_that_does_not_share_the_folder_is_named(ray_nodes, store):
    study = on(ClusterStudy(ray_nodes.hidden / "study", store), ray_nodes)
    said = refused(study)
    assert f"({OTHER}): cannot see" in said and "all nodes must share it" in said


def test_an_address_where_nobody_answers(study, ray_nodes):
    for address in ("127.0.0.1:1", f"ray://{HEAD}:1"):
        assert f"--address {address}: nobody answers" in refused(study, "--address", address)
    assert "must be auto, HOST" in refused(study, "--address", "nowhere")
