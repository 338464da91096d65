"""Makes `recorded_runs` importable here and gives its stores to the tests."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from recorded_runs import empty_store, store

__all__ = ["empty_store", "store"]
