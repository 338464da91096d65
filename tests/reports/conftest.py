"""Recorded runs and stores, shared with the tests of `experiments`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from experiments.tracking.mirror import mirror

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent / "experiments"))

from recorded_runs import empty_store, store  # noqa: E402

__all__ = ["empty_store", "store"]


@pytest.fixture(scope="session")
def miniature(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> str:
    """The address of a store that holds the miniature study."""
    folder = tmp_path_factory.mktemp("miniature")
    shutil.copytree(HERE / "miniature", folder / "runs")
    shutil.copyfile(empty_store, folder / "mlflow.db")
    address = f"sqlite:///{folder / 'mlflow.db'}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", address)
        mirror(folder / "runs")
    return address
