"""What the engine Slurm decides by itself; tests/cluster has it on a real Slurm."""

import signal
from dataclasses import replace

import pytest
from planned_jobs import cell_job

from experiments.run.journal import read_records
from experiments.run.node import installed
from experiments.run.slurm import Task, _arrays, minutes, queued
from pix2pix.common.errors import UserError
from pix2pix.config import TranslationSettings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", 90),
        ("90:30", 91),
        ("1:30:00", 90),
        ("2-12", 3600),
        ("2-12:30", 3630),
        ("1-0:0:1", 1441),
    ],
)
def test_time_limits_are_read_as_sbatch_reads_them(text, expected):
    assert minutes(text) == expected


@pytest.mark.parametrize("text", ["", "4h", "0", "-5", "1:2:3:4", "1:00:00 "])
def test_other_time_limits_are_refused(text):
    with pytest.raises(UserError, match="--time"):
        minutes(text)


@pytest.fixture(autouse=True)
def _signals():
    """A task handles SIGTERM, which must not outlive a test."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def failures(job):
    records = read_records(job.directory / "journal.jsonl")
    return [record["error"] for record in records if record["event"] == "failed"]


def test_a_node_with_another_version_trains_nothing(tmp_path):
    job = cell_job("a", out=tmp_path)
    with pytest.raises(RuntimeError, match=r"^node .* instead of 0\.1"):
        Task(job.to_json(), installed() | {"torch": "0.1"})()
    assert len(failures(job)) == 1 and "instead of 0.1" in failures(job)[0]


def test_a_task_does_its_job_and_a_failure_is_one_for_slurm(tmp_path):
    job = cell_job("a", out=tmp_path)
    with pytest.raises(RuntimeError, match="nothing-of-that-name"):
        Task(job.to_json(), installed())()
    assert len(failures(job)) == 1


def test_a_worker_that_is_killed_has_failed(tmp_path, monkeypatch):
    monkeypatch.setattr("experiments.run.launcher.WORKER", ["-c", "import os; os.kill(0, 9)"])
    job = cell_job("a", out=tmp_path)
    with pytest.raises(RuntimeError, match="killed by signal 9"):
        Task(job.to_json(), installed())()
    assert "killed by signal 9" in failures(job)[0]


def test_time_limits_that_lead_nowhere_end(tmp_path, monkeypatch):
    """Its data set is missing, so no time limit finds the job further than the one before."""
    pytest.importorskip("submitit")
    monkeypatch.setattr("experiments.run.slurm.FRUITLESS", 1)
    job = cell_job("a", out=tmp_path)
    task, rounds = Task(job.to_json(), installed()), 0
    while True:
        with pytest.raises(RuntimeError):
            task()
        again = task.checkpoint()
        rounds += 1
        if again is None:
            break
        task = again.function
    assert rounds == 2  # in the first, the job went from new to failed
    assert failures(job)[-1] == "no step in 1 time limits in a row: raise --time"


def test_runs_that_share_a_training_are_submitted_after_the_one_that_does_it(tmp_path):
    """So that none waits on a node of its own, time limit after time limit."""
    jobs = [cell_job("a"), cell_job("b"), cell_job("c")]
    larger = jobs[0].config.model_copy(update={"translation": TranslationSettings(scale=2)})
    jobs.insert(0, replace(jobs[0], config=larger))
    parts = [[jobs.index(job) for job in part] for part in _arrays(jobs, 2)]
    assert parts == [[0, 2], [3], [1]]


def test_nothing_submitted_asks_no_slurm(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert queued(tmp_path) == {}
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm" / "7.json").write_text('{"7_0": "abc"}')
    assert queued(tmp_path) is None  # there is something, and Slurm does not answer
