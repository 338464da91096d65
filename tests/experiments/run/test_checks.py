from experiments.plan import make_plan
from experiments.run.launcher import SEEDS_THAT_DECIDE, few_seeds
from experiments.spec import load_suite
from pix2pix.data.registry import load_registry
from reports.analysis.statistics import ALPHA, FEW, smallest_p


def test_seeds_that_decide_nothing_are_told_before_days_of_training():
    entry = load_registry()["cityscapes"]
    told = few_seeds([make_plan(load_suite("losses"), entry, "paper")])
    assert "3 seeds per arm" in told and "--seeds 5" in told
    for seeds in ((1,), (1, 2, 3, 4, 5)):
        assert not few_seeds([make_plan(load_suite("losses"), entry, "paper", seeds=seeds)])


def test_they_are_those_of_the_verdicts():
    assert SEEDS_THAT_DECIDE == FEW
    assert smallest_p(FEW - 1, FEW - 1, True) >= ALPHA
