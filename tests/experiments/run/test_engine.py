import pytest

from experiments.run.engine import ClusterOptions, check_options
from pix2pix.common.errors import UserError


@pytest.mark.parametrize(
    ("engine", "options", "message"),
    [
        ("local", {"wait": True}, "--wait: is for --engine slurm"),
        ("local", {"address": "auto"}, "--address: is for --engine ray"),
        ("local", {"gpus_per_run": 1.0}, "--gpus-per-run: is for --engine ray or slurm"),
        ("ray", {"gpus_per_run": 2}, "a run uses one GPU, or, on Ray, a part of one"),
        ("slurm", {"gpus_per_run": 0.5}, "--gpus-per-run 0.5: a run uses one GPU"),
        ("slurm", {"sbatch": (("gres", "gpu:1"),)}, "--sbatch gres=gpu:1: runs train on the CPU"),
        ("slurm", {"gpus_per_run": float("nan")}, "--gpus-per-run nan: must be at least 0"),
        ("slurm", {"array_parallelism": 0}, "--array-parallelism 0: must be at least 1"),
    ],
)
def test_options_that_an_engine_does_not_take_are_named(engine, options, message):
    with pytest.raises(UserError, match=message):
        check_options(engine, ClusterOptions(**options))


def test_an_engine_takes_its_own_options():
    check_options("local", ClusterOptions())
    check_options("slurm", ClusterOptions(gpus_per_run=1, partition="gpu", time="1:00:00"))
    check_options("slurm", ClusterOptions(gpus_per_run=1, sbatch=(("gpus-per-node", "a100:1"),)))
