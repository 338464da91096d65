import os
import signal
import sys
import threading
import time

import pytest

from experiments.jobs import DataSource, Job
from experiments.journal import Journal
from experiments.launch import choose_workers, launch, usable_cores


def job(out, digest, **changes):
    values = {
        "kind": "cell",
        "digest": digest,
        "title": digest,
        "out": str(out),
        "data": DataSource("nothing-of-that-name", None, str(out), str(out / "cache")),
        "config": {"size": [32, 32], "direction": "labels->photo", "fingerprint": "f"},
        "reference": "r",
        "scorer": None,
    }
    return Job(**{**values, **changes})


def test_workers_default_to_a_gpu_else_a_core_each():
    jobs = [None] * 5
    assert choose_workers(None, 3, jobs) == 3
    assert choose_workers(None, 0, jobs) == min(5, usable_cores())
    assert choose_workers(2, 8, jobs) == 2
    assert choose_workers(9, 0, jobs) == 5


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


def test_a_cell_that_another_process_owns_is_waited_for(tmp_path):
    from filelock import FileLock

    one = job(tmp_path, "a")
    one.directory.mkdir(parents=True)
    lock = FileLock(one.directory / "owner.lock")
    lock.acquire()
    waiting = threading.Event()

    def watch(_, event):
        if "owns this cell" in event.get("phase", ""):
            waiting.set()
            lock.release()

    outcomes = launch([one], 1, 0, watch)
    assert waiting.is_set()
    assert outcomes["a"].word == "failed"  # its turn came, and its data set does not exist


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_signal_stops_what_runs_and_what_waits(tmp_path):
    from filelock import FileLock

    jobs = [job(tmp_path, name) for name in ("a", "b", "c")]
    for one in jobs:
        one.directory.mkdir(parents=True)
    locks = [FileLock(one.directory / "owner.lock") for one in jobs]
    for lock in locks:
        lock.acquire()  # so that every worker waits until it is told to stop

    def watch(_, event):
        if event["event"] == "phase":
            os.kill(os.getpid(), signal.SIGTERM)

    began = time.monotonic()
    outcomes = launch(jobs, 2, 0, watch)
    assert {o.word for o in outcomes.values()} == {"stopped"}
    assert time.monotonic() - began < 20
