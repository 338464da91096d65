import pytest

from experiments import study as dry_run
from experiments.plan import make_plan
from experiments.run.launcher import usable_cores
from experiments.spec import load_suite
from pix2pix.data.registry import find_entry, load_registry


@pytest.fixture
def cells():
    entry = find_entry(load_registry(None), "procedural")
    plan = make_plan(load_suite("losses"), entry, "quick")
    return [(config, 3000) for config in plan.configs()]


def test_time_left_is_of_the_processors_that_would_train(cells, monkeypatch):
    monkeypatch.setattr(dry_run, "gpu_count", lambda: 0)
    told = dry_run._time_left(cells, [], None)
    at_once = min(usable_cores(), len(cells))
    assert f"on {at_once} worker{'s' * (at_once > 1)} of this CPU" in told and "± half" in told
    assert "on 3 workers of this CPU" in dry_run._time_left(cells, [], 3)


def test_a_gpus_pace_is_not_guessed_from_a_cpus(cells, monkeypatch):
    monkeypatch.setattr(dry_run, "gpu_count", lambda: 1)
    told = dry_run._time_left(cells, [], None)
    assert told == "the time is unknown until a cell has trained on a GPU here"
    measured = dry_run._time_left(cells, [0.01], None)
    assert "on 1 worker (at the pace measured here)" in measured


def test_uncounted_pairs_leave_the_time_unknown(cells):
    assert "until the training pairs are counted" in dry_run._time_left(
        [*cells[1:], (cells[0][0], None)], [], 1
    )
