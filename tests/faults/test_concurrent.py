"""One owner a cell: promise 3 of docs/reliability.md."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time

import pytest
from fault_compare import by_step, differences, facts, mirrored
from fault_study import PATIENCE

from experiments.run.journal import read_records

pytestmark = pytest.mark.slow


def steps_done(study):
    """Training steps of all cells that were really done, also those that were done again."""
    return sum(
        record["event"] == "losses"
        for cell in study.cells().values()
        for record in read_records(cell / "journal.jsonl")
    )


def events(study, event):
    """How often an event stands in the journals of all cells."""
    return sum(
        record["event"] == event
        for cell in study.cells().values()
        for record in read_records(cell / "journal.jsonl")
    )


@pytest.mark.long  # two at once: tests/test_run_ablations.py
@pytest.mark.parametrize("runners", [2, 4])
def test_runners_on_one_folder_train_every_cell_once(study, whole, runners, figures):
    study.workers = 1  # of each: they are to meet one another
    started = [study.start(plan={} if n == 0 else None) for n in range(runners)]
    ended = [one.end(400) for one in started]
    for one in ended:
        # A mirror waits a minute for another's last pass; behind several on a busy machine that
        # is too short, and then the command says so. What was trained is whole all the same.
        waited = re.search(r"not up to date: .*\.lock: held by", one.said)
        assert one.status == (1 if waited else 0), one
        assert "Traceback" not in one.said, one
    if any(one.status for one in ended):
        assert study.run("--report-only").status == 0
    done, alone = steps_done(study), 2 * study.steps
    figures.append(f"{runners} runners on one folder: {done} steps, one alone does {alone}")
    assert done <= 1.05 * alone
    assert events(study, "trained") == 2
    assert differences(whole.facts, facts(study)) == []
    assert differences(whole.mirrored, mirrored(study.folder / "mlflow.db")) == []


@pytest.mark.long
def test_a_dead_owners_cells_are_taken_over(study, whole):
    """One of two runners is killed, workers and all, while it trains; the other does the rest."""
    plan = {"phase": "train", "path": whole.digests["L1+cGAN"], "count": 40, "how": "stop"}
    first = study.start("--checkpoint-every", "0", plan=plan)
    deadline = time.monotonic() + 120 * PATIENCE
    while not study.fired():  # then a worker stands still in the middle of its cell, and owns it
        assert time.monotonic() < deadline and first.process.poll() is None, first.said
        time.sleep(0.02)
    mine = study.processes()
    second = study.start()
    while "jobs are finished" not in second.said:
        assert time.monotonic() < deadline and second.process.poll() is None, second.said
        time.sleep(0.02)
    time.sleep(3)  # its workers are turned down
    for pid in mine:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert first.end().status == -signal.SIGKILL
    ended = second.end(400)
    assert ended.status == 0, ended
    assert differences(whole.facts, facts(study)) == []
    there = mirrored(study.folder / "mlflow.db")
    assert differences(by_step(whole.mirrored), by_step(there)) == []
