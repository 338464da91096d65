"""The fence itself: what it stops, so that a campaign without a finding means something."""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import fence as fences
import pytest
from campaign import complain
from fence import Breach, fence
from stored import CANARY, payloads


def test_what_is_written_within_the_folders_is_allowed(tmp_path: Path) -> None:
    with fence(tmp_path / "mine"):
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "file").write_text("x")
        shutil.rmtree(tmp_path / "mine")


@pytest.mark.parametrize(
    "act",
    [
        lambda place: (place / "file").write_text("x"),
        lambda place: (place / "folder").mkdir(),
        lambda place: os.symlink("/etc", place / "link"),
        lambda place: shutil.rmtree(place / "there"),
        lambda place: os.system("true"),
        lambda place: subprocess.run([sys.executable, "-c", ""]),
    ],
    ids=["write", "mkdir", "symlink", "remove", "system", "process"],
)
def test_what_is_done_elsewhere_is_a_breach(tmp_path: Path, act) -> None:
    (tmp_path / "there" / "deep").mkdir(parents=True)
    with pytest.raises(Breach), fence(tmp_path / "mine"):
        act(tmp_path)


def test_a_breach_that_a_reader_swallows_is_still_one(tmp_path: Path) -> None:
    with pytest.raises(Breach, match="outside"), fence(), contextlib.suppress(BaseException):
        (tmp_path / "file").write_text("x")


def test_a_hang_is_a_breach(monkeypatch) -> None:
    monkeypatch.setattr(fences, "SECONDS", 0.2)
    with pytest.raises(Breach, match="more than"), fence():
        while True:
            pass


def test_waiting_for_what_never_comes_is_a_breach(monkeypatch) -> None:
    monkeypatch.setattr(fences, "WAITING", 0.2)
    with pytest.raises(Breach, match="more than"), fence():
        threading.Event().wait(600)


def test_waiting_alone_is_none(monkeypatch) -> None:
    """A machine that is busy with something else makes no reading too slow."""
    monkeypatch.setattr(fences, "SECONDS", 0.2)
    with fence():
        time.sleep(0.5)


def test_memory_has_a_bound() -> None:
    with pytest.raises(MemoryError), fence():
        bytearray(fences.MEMORY + (64 << 20))
    assert len(bytearray(fences.MEMORY // 8)) > 0


def test_the_payloads_do_run_where_a_pickle_is_trusted(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran = 0
    for payload in payloads():
        if any(word in payload for word in (b"system", b"exec", b"eval", b"getoutput")):
            try:
                pickle.loads(payload)
            except Exception:
                continue
            ran += (tmp_path / CANARY).exists()
            (tmp_path / CANARY).unlink(missing_ok=True)
    assert ran >= 6


@pytest.mark.parametrize(
    "message", ["file.yaml\x1b[31m: x", "no name: x", "file.yaml: x\n", "file.yaml" * 200]
)
def test_messages_that_are_of_no_use(message: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        complain(message, tmp_path / "file.yaml")
