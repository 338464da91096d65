from types import SimpleNamespace

import pytest

from eval.statistics import ALPHA, FEW, smallest_p
from experiments.checks import advice, check_disk, few_seeds
from experiments.plan import SEEDS_THAT_DECIDE, make_plan
from experiments.spec import load_suite
from experiments.study import Options, make_study, plan_jobs
from pix2pix.common.errors import UserError
from pix2pix.data.registry import load_registry


def test_seeds_that_decide_nothing_are_told_before_days_of_training():
    entry = load_registry()["cityscapes"]
    told = few_seeds([make_plan(load_suite("losses"), entry, "paper")])
    assert "3 seeds per arm" in told and "--seeds 5" in told
    for seeds in ((1,), (1, 2, 3, 4, 5)):
        assert not few_seeds([make_plan(load_suite("losses"), entry, "paper", seeds=seeds)])


def test_they_are_those_of_the_verdicts():
    assert SEEDS_THAT_DECIDE == FEW
    assert smallest_p(FEW - 1, FEW - 1, True) >= ALPHA


def test_cells_that_are_only_to_be_scored_need_no_room_for_checkpoints(tmp_path, monkeypatch):
    study = make_study(Options(("patch_size",), profile="smoke", out=tmp_path))
    jobs = plan_jobs(study, study.plans[0], "0" * 64)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(UserError, match=r"4 cells need about"):
        check_disk(tmp_path, jobs, 1)
    for job in jobs:
        job.directory.mkdir(parents=True)
        (job.directory / "generator.pt").touch()
    check_disk(tmp_path, jobs, 1)


def test_a_study_none_of_whose_claims_can_be_judged_says_so_beforehand(tmp_path):
    """Pairs of photos have no FCN-score, which every claim of `losses` is about."""
    registry = load_registry()
    (told,) = [
        t for t in advice([make_plan(load_suite("losses"), registry["folder"], "quick")]) if t
    ]
    assert told.startswith("suite losses: none of its claims can be judged on folder (A->B)")
    assert not any(advice([make_plan(load_suite("losses"), registry["procedural"], "quick")]))
    assert not any(advice([make_plan(load_suite("pixel_loss"), registry["folder"], "quick")]))
    # What two photos that do not belong together lack is no labels.
    (told,) = [
        t
        for t in advice([make_plan(load_suite(_lpips(tmp_path)), registry["unpaired"], "quick")])
        if t
    ]
    assert told.endswith("they are on lpips scores, which need pairs")


def _lpips(folder):
    """A suite of cyclegan alone with a claim on LPIPS."""
    path = folder / "mine.yaml"
    path.write_text(
        "title: x\nbase: {method: cyclegan, objective.gan: unconditional, objective.l1: 0}\n"
        "arms: {a: {}, b: {cycle.pool: 0}}\nclaims: [a > b on lpips]\n"
    )
    return str(path)
