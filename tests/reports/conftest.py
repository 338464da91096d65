"""Recorded runs and stores, shared with the tests of `experiments`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "experiments")]

from recorded_runs import empty_store, store

__all__ = ["empty_store", "store"]
