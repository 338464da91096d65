import pytest
import torch
from planned_jobs import cell_job

from experiments.run import runner, worker
from experiments.run.journal import read_records
from experiments.run.signals import Stop


def no_room(*_):
    torch.empty(2**46, dtype=torch.uint8)  # 64 TiB


@pytest.mark.parametrize("kind", ["cpu"] + ["cuda:0"] * torch.cuda.is_available())
def test_a_cell_that_gets_no_memory_says_how_much_it_asked_for(tmp_path, monkeypatch, kind):
    job = cell_job("any", out=tmp_path, device=kind)
    job.directory.mkdir(parents=True)
    monkeypatch.setattr(runner, "run", no_room)
    told = []
    assert worker._attempt(job, told.append, Stop()) == worker.FAILED
    (event,) = told
    assert "memory ran out: it had held up to" in event["error"]
    assert "asked for 67,108,864.0 MiB more" in event["error"]
    last = read_records(job.directory / "journal.jsonl")[-1]
    assert (last["event"], last["error"]) == ("failed", event["error"])
