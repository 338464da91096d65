"""What the tests of the engines share: the uninterrupted study on this machine, and the clusters.

`make cluster` runs them; plain pytest leaves out what is `long`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
sys.path.insert(1, str(HERE.parent / "faults"))

from cluster_study import LONG, ClusterStudy
from fault_compare import Facts
from slurm_cluster import SlurmCluster, missing


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    """What the study holds that runs on this machine, not interrupted."""
    return alone(ClusterStudy(tmp_path_factory.mktemp("whole") / "study"))


@pytest.fixture(scope="session")
def whole_long(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    """The same with trainings of LONG steps."""
    study = ClusterStudy(tmp_path_factory.mktemp("whole") / "study")
    study.steps = LONG
    return alone(study)


def alone(study: ClusterStudy) -> Facts:
    ended = study.run()
    assert ended.status == 0, ended
    return study.everything()


@pytest.fixture
def study(tmp_path: Path):
    """A new study, of which nothing outlives the test."""
    study = ClusterStudy(tmp_path / "study")
    yield study
    study.kill()


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory):
    """A Slurm of two nodes."""
    if why := missing():
        pytest.skip(why)
    pytest.importorskip("submitit")
    cluster = SlurmCluster(tmp_path_factory.mktemp("slurm"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
