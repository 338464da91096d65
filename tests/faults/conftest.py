"""What the fault tests share: their modules, one uninterrupted study, their figures."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fault_study import ROOT, Study

sys.path.insert(0, str(ROOT))  # another checkout's code, where FAULTS_ROOT says so

from fault_points import POINTS, Whole, uninterrupted


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is `long`, but for `make faults`."""
    if POINTS < 50:
        long = [item for item in items if item.get_closest_marker("long")]
        items[:] = [item for item in items if item not in long]
        config.hook.pytest_deselected(items=long)


def cpu_seconds() -> float:
    """CPU time of this process and of all that it waited for."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in spent)


@pytest.fixture(scope="session", autouse=True)
def _cost(figures: list[str]):
    """What the fault tests cost, in seconds that do not depend on what else the machine does."""
    spent: list[float] = []
    yield spent
    figures.append(f"CPU time of the fault tests: {sum(spent):.0f} s")


@pytest.fixture(autouse=True)
def _cost_of_one(request: pytest.FixtureRequest, figures: list[str], _cost: list[float]):
    began = cpu_seconds()
    yield
    _cost.append(cpu_seconds() - began)
    if POINTS >= 50 and _cost[-1] > 1:
        figures.append(f"{_cost[-1]:.0f} s of CPU time: {request.node.name}")


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with nothing in it."""
    folder = tmp_path_factory.mktemp("store")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    command = [sys.executable, "-m", "experiments.tracking.mirror", "--out", "none"]
    environment["PYTHONPATH"] = str(ROOT)
    subprocess.run(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, check=True)
    return folder / "mlflow.db"


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, store: Path) -> Whole:
    """The uninterrupted study."""
    return uninterrupted(Study(tmp_path_factory.mktemp("whole") / "study", store))


@pytest.fixture
def study(tmp_path: Path, store: Path):
    """A new study, of which nothing outlives the test."""
    study = Study(tmp_path / "study", store)
    yield study
    study.kill()
