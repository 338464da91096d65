"""Recorded runs and stores, shared with the tests of `experiments`."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent / "experiments"))

from recorded_runs import empty_store, store  # noqa: E402

__all__ = ["empty_store", "store"]
