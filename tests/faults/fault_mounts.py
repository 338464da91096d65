"""Small disks of our own: full, read-only, gone. Skips, saying why, where none can be made."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def ordered(*words: str) -> str:
    """Run a command; what it complained of, empty where it went well."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    except OSError as error:
        return str(error)
    return "" if done.returncode == 0 else done.stderr.strip() or f"status {done.returncode}"


@contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[Path]:
    """A disk (tmpfs) of so many MiB mounted on `folder` for the time of the block."""
    folder.mkdir(parents=True, exist_ok=True)
    refused = ordered("mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "none", str(folder))
    if refused:
        pytest.skip(f"no tmpfs can be mounted here: {refused}")
    try:
        yield folder
    finally:
        ordered("umount", "--lazy", str(folder))


def fill(folder: str, free: int) -> str:
    """A shell command that takes all of a disk's space but `free` bytes."""
    left = f"$(df --output=avail -B1 {folder} | tail -1)"
    # Whoever writes meanwhile makes the number too large, and then nothing is taken.
    take = f"fallocate -l $(({left} - {free})) {folder}/ballast"
    return f"for attempt in $(seq 50); do {take} && break; done"


@contextmanager
def unchangeable(*folders: Path) -> Iterator[None]:
    """Folders in which nothing can be written, not even by root, until the block ends."""
    try:
        for folder in folders:
            refused = ordered("chattr", "-R", "+i", str(folder))
            if refused:
                pytest.skip(f"no folder can be made read-only for root here: {refused}")
        yield
    finally:
        with contextlib.suppress(OSError):
            for folder in folders:
                ordered("chattr", "-R", "-i", str(folder))
