"""The engine Slurm on a real Slurm: the same bits as on one machine, whatever happens."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from cluster_study import LONG, ClusterStudy
from fault_compare import differences

from experiments.run.journal import last, read_records

pytestmark = pytest.mark.long


@pytest.fixture
def study(study, slurm):
    study.engine = ("--engine", "slurm", "--time", "10", "--wait")
    study.environment |= slurm.environment
    yield study
    slurm("scancel", "--user", "root")


def test_the_same_bits_as_on_this_machine(study, whole):
    ended = study.run()
    assert ended.status == 0, ended
    assert differences(whole, study.everything()) == []


def test_without_waiting_it_runs_alone_and_is_collected(study, slurm, store, tmp_path):
    """Its five jobs are more than this Slurm's arrays take: there are two, one after the other."""
    local = ClusterStudy(tmp_path / "local", store)
    assert local.run("--seeds", "2").status == 0
    study.engine = (*study.engine[:-1], "--seeds", "2")
    for _ in range(2):  # the second time everything is queued already
        ended = study.run()
        assert ended.status == 0 and "--report-only" in ended.said, ended
    assert "5 of them are in Slurm's queue already" in ended.said
    tasks = slurm("squeue", "-h", "--array", "--format=%i").split()
    assert len({task.partition("_")[0] for task in tasks}) == 2 and len(tasks) == 5, tasks
    deadline = time.monotonic() + 300
    while slurm("squeue", "-h"):
        assert time.monotonic() < deadline
        time.sleep(1)
    ended = study.run("--report-only")
    assert ended.status == 0, ended
    assert differences(local.everything(), study.everything()) == []


def test_requeued_and_out_of_time_it_resumes(study, slurm, whole_long):
    """One training is requeued by hand, as preemption does, the others exceed a minute."""
    study.steps = LONG
    started = study.start("--time", "1", "--checkpoint-every", "1")
    study.wait_for(started, "GAN", "checkpoint")
    tasks = [line.split() for line in slurm("squeue", "-h", "--format=%i %T").splitlines()]
    (task,) = [task for task, state in tasks if state == "RUNNING"][-1:]
    slurm("scontrol", "requeue", task)
    ended = started.end(900)
    assert ended.status == 0, ended
    assert study.sessions("GAN") > 1 and study.sessions("L1+cGAN") > 1, ended
    assert differences(whole_long, study.everything()) == []


def test_ctrl_c_stops_in_order_and_the_same_command_resumes(study, slurm, whole_long):
    study.steps = LONG
    started = study.start("--checkpoint-every", "1000")
    study.wait_for(started, "L1+cGAN", "losses")
    started.process.send_signal(signal.SIGINT)
    ended = started.end()
    assert ended.status == 130 and "stopped; run the same command again" in ended.said, ended
    assert slurm("squeue", "-h") == ""
    assert last(read_records(study.cells()["L1+cGAN"] / "journal.jsonl"), "checkpoint")
    ended = study.run()
    assert ended.status == 0, ended
    assert differences(whole_long, study.everything()) == []


@pytest.mark.parametrize("victim", ["worker", "_submit"])
def test_what_is_killed_is_seen_and_resumes(study, whole_long, victim):
    study.steps = LONG
    started = study.start("--checkpoint-every", "1")
    study.wait_for(started, "L1+cGAN", "checkpoint")
    digest = study.cells()["L1+cGAN"].name
    for pid in study.processes():
        words = Path(f"/proc/{pid}/cmdline").read_text()
        if f"{victim}\0" in f"{words}\0" and owns(pid, digest):
            os.kill(pid, signal.SIGKILL)
    ended = started.end()
    assert ended.status == 1 and "FAILED L1+cGAN" in ended.said, ended
    ended = study.run()
    assert ended.status == 0, ended
    assert study.sessions("L1+cGAN") == 2
    assert differences(whole_long, study.everything()) == []


def owns(pid: int, digest: str) -> bool:
    """Whether a process, or a child of it, writes the log of a run."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    links = [f"/proc/{p}/fd/2" for p in (pid, *map(int, children))]
    return any(digest in os.readlink(link) for link in links)


def test_a_node_that_does_not_see_the_folder_is_named(slurm, store):
    study = ClusterStudy(slurm.hidden / "study", store)
    study.engine = ("--engine", "slurm", "--time", "10", "--wait", "--sbatch", "nodelist=n2")
    study.environment |= slurm.environment
    ended = study.run()
    assert ended.status == 1 and "does the node see" in ended.said, ended
    assert "on n2" in ended.said


def test_a_partition_that_is_not_there_is_named_before_anything_is_read(study):
    ended = study.run("--partition", "gpu")
    assert ended.status == 2, ended
    assert "--partition=gpu" in ended.said and "partitions here: debug" in ended.said
    assert "preparing" not in ended.said
