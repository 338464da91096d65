"""What the tests of the engines share: the uninterrupted study on this machine, and the clusters.

`make cluster` runs them; plain pytest leaves out what is `long`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parent.parent / "faults"))

import ray_cluster
import slurm_cluster
from cluster_study import LONG, SEEDS, ClusterStudy
from fault_compare import Facts

from experiments.tracking.store import open_store


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with nothing in it: one that is killed while it is made is of no use."""
    database = tmp_path_factory.mktemp("store") / "mlflow.db"
    open_store(f"sqlite:///{database}", create=True).experiments()
    return database


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, store: Path) -> Facts:
    """What the study holds that runs on this machine, not interrupted."""
    return alone(ClusterStudy(tmp_path_factory.mktemp("whole") / "study", store))


@pytest.fixture(scope="session")
def whole_long(tmp_path_factory: pytest.TempPathFactory, store: Path) -> Facts:
    """The same with trainings of LONG steps."""
    study = ClusterStudy(tmp_path_factory.mktemp("whole") / "study", store)
    study.steps = LONG
    return alone(study)


@pytest.fixture(scope="session")
def whole_seeds(tmp_path_factory: pytest.TempPathFactory, store: Path) -> Facts:
    """The same with six seeds."""
    study = ClusterStudy(tmp_path_factory.mktemp("whole") / "study", store)
    study.steps = LONG
    return alone(study, *SEEDS)


def alone(study: ClusterStudy, *more: str) -> Facts:
    ended = study.run(*more, seconds=900)
    assert ended.status == 0, ended
    return study.everything()


@pytest.fixture
def study(tmp_path: Path, store: Path):
    """A new study, of which nothing outlives the test."""
    study = ClusterStudy(tmp_path / "study", store)
    yield study
    study.kill()


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory):
    """A Slurm of two nodes."""
    if why := slurm_cluster.missing():
        pytest.skip(why)
    pytest.importorskip("submitit")
    cluster = slurm_cluster.SlurmCluster(tmp_path_factory.mktemp("slurm"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def ray_nodes():
    """A Ray cluster of two nodes with a CPU each. Its sockets' names must be short."""
    pytest.importorskip("ray")
    if why := ray_cluster.missing():
        pytest.skip(why)
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        cluster = ray_cluster.RayCluster(Path(folder))
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()
