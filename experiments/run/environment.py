"""The environment of a process that trains."""

from __future__ import annotations

import os
from pathlib import Path


def worker_environment(threads: int) -> dict[str, str]:
    """This process's environment with what a training in another process needs."""
    environment = dict(os.environ)
    environment |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    # glibc gives large blocks back at every step and faults them in again: up to a third of the
    # time (docs/performance.md).
    environment.setdefault("MALLOC_MMAP_THRESHOLD_", str(2**25))
    environment.setdefault("MALLOC_TRIM_THRESHOLD_", str(2**30))
    # Errors of a program that runs unattended for days belong in its log at once.
    environment["PYTHONUNBUFFERED"] = "1"
    environment["PYTHONFAULTHANDLER"] = "1"
    root = str(Path(__file__).resolve().parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(
        p for p in (root, environment.get("PYTHONPATH")) if p
    )
    return environment
