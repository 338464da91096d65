from pathlib import Path

from experiments.study import Options, _priority, make_study, plan_jobs


def test_long_cells_of_a_seed_come_first_and_seeds_in_priority():
    study = make_study(Options(("patch_size",), profile="smoke", seeds=(1, 2), out=Path("none")))
    jobs = plan_jobs(study, study.plans[0], "0" * 64)
    titles = [job.title for job in sorted(reversed(jobs), key=_priority)]
    assert titles[0] == "ground truth"
    assert [title.rpartition(" ")[2] for title in titles[1:]] == ["1"] * 4 + ["2"] * 4
    assert titles[1].startswith("70x70") and titles[4].startswith("1x1")
