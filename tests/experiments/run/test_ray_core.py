"""What the engine Ray decides by itself; tests/cluster has it on a real cluster."""

import pytest
from planned_jobs import cell_job

from experiments.run.journal import read_records
from experiments.run.launcher import Outcome
from experiments.run.node import answer, installed
from experiments.run.ray_core import Ray, _check_answers, do_job
from pix2pix.common.errors import UserError


def test_a_job_needs_room_for_its_threads_and_its_part_of_a_gpu(tmp_path):
    node = {"Resources": {"CPU": 8.0, "GPU": 1.0}}
    assert Ray(tmp_path, threads=3, gpus=0)._slots(node) == 2
    assert Ray(tmp_path, threads=1, gpus=0.25)._slots(node) == 4
    assert Ray(tmp_path, threads=1, gpus=2)._slots(node) == 0
    assert Ray(tmp_path, threads=9, gpus=0)._slots(node) == 0


@pytest.mark.parametrize("address", ["host", "host:x", "http://host:1", ":6379"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(UserError, match="must be auto, HOST:6379 or ray://HOST:10001"):
        _check_answers(address)


def test_an_address_where_nobody_listens_is_refused_at_once():
    with pytest.raises(UserError, match="nobody answers"):
        _check_answers("127.0.0.1:1")


def test_a_node_with_another_version_trains_nothing(tmp_path):
    job = cell_job("a", out=tmp_path)
    ended = do_job(job.to_json(), installed() | {"torch": "0.1"}, ())
    assert ended is not None and ended.word == "failed" and "instead of 0.1" in ended.reason
    (record,) = read_records(job.directory / "journal.jsonl")
    assert record["error"] == ended.reason


def test_a_worker_that_is_killed_may_be_begun_again(tmp_path, monkeypatch):
    monkeypatch.setattr("experiments.run.launcher.WORKER", ["-c", "import os; os.kill(0, 9)"])
    job = cell_job("a", out=tmp_path)
    ended = do_job(job.to_json(), installed(), ())
    assert ended == Outcome("failed", ended.reason, killed=True)
    assert not read_records(job.directory / "journal.jsonl")  # it has not failed yet


def test_a_folder_that_is_not_shared_is_named(tmp_path):
    token = tmp_path / "token"
    token.write_text("x")
    assert answer(str(token), "x", "n1", [str(tmp_path)]) == ""
    assert (tmp_path / "token.n1").read_text() == "x"
    assert "has another folder of the name" in answer(str(token), "y", "n1", [])
    assert "cannot see" in answer(str(tmp_path / "none" / "token"), "x", "n1", [])
    assert "cannot read /nowhere" in answer(str(token), "x", "n1", ["/nowhere"])
