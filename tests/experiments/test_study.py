from pathlib import Path
from types import SimpleNamespace

import pytest

from experiments.plan import SEEDS_THAT_DECIDE, make_plan
from experiments.spec import load_suite
from experiments.study import (
    Options,
    _check_disk,
    _priority,
    advice,
    few_seeds,
    make_study,
    plan_jobs,
)
from pix2pix.common.errors import UserError
from pix2pix.data.registry import load_registry
from reports.analysis.statistics import ALPHA, FEW, smallest_p


def test_long_cells_of_a_seed_come_first_and_seeds_in_priority():
    study = make_study(Options(("patch_size",), profile="smoke", seeds=(1, 2), out=Path("none")))
    jobs = plan_jobs(study, study.plans[0], "0" * 64)
    titles = [job.title for job in sorted(reversed(jobs), key=_priority)]
    assert titles[0] == "ground truth"
    assert [title.rpartition(" ")[2] for title in titles[1:]] == ["1"] * 4 + ["2"] * 4
    assert titles[1].startswith("70x70") and titles[4].startswith("1x1")


def test_seeds_that_decide_nothing_are_told_before_days_of_training():
    entry = load_registry()["cityscapes"]
    told = few_seeds([make_plan(load_suite("losses"), entry, "paper")])
    assert "3 seeds per arm" in told and "--seeds 5" in told
    for seeds in ((1,), (1, 2, 3, 4, 5)):
        assert not few_seeds([make_plan(load_suite("losses"), entry, "paper", seeds=seeds)])


def test_they_are_those_of_the_verdicts():
    assert SEEDS_THAT_DECIDE == FEW
    assert smallest_p(FEW - 1, FEW - 1, True) >= ALPHA


def test_all_suites_are_those_whose_networks_are_here(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    names = [plan.suite.name for plan in make_study(Options(("all",))).plans]
    assert "losses" in names and "perceptual" not in names
    assert "suite perceptual skipped: objective.perceptual" in capsys.readouterr().err
    assert make_study(Options(("perceptual",))).plans, "refused where it would be trained"


def test_cells_that_are_only_to_be_scored_need_no_room_for_checkpoints(tmp_path, monkeypatch):
    study = make_study(Options(("patch_size",), profile="smoke", out=tmp_path))
    jobs = plan_jobs(study, study.plans[0], "0" * 64)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(UserError, match=r"4 cells need about"):
        _check_disk(tmp_path, jobs, 1)
    for job in jobs:
        job.directory.mkdir(parents=True)
        (job.directory / "generator.pt").touch()
    _check_disk(tmp_path, jobs, 1)


def test_a_study_none_of_whose_claims_can_be_judged_says_so_beforehand():
    """Pairs of photos have no FCN-score, which every claim of `losses` is about."""
    registry = load_registry()
    (told,) = [
        t for t in advice([make_plan(load_suite("losses"), registry["folder"], "quick")]) if t
    ]
    assert told.startswith("suite losses: none of its claims can be judged on folder (A->B)")
    assert not any(advice([make_plan(load_suite("losses"), registry["procedural"], "quick")]))
    assert not any(advice([make_plan(load_suite("pixel_loss"), registry["folder"], "quick")]))
