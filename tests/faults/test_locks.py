"""The lock with real processes that die: nobody meets another inside, nobody waits for the dead."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from fault_study import PATIENCE, ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

INSIDE = """
import os, random, sys, time
from pathlib import Path
from pix2pix.common.locks import owning
folder, seed, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
rng = random.Random(seed)
for number in range(rounds):
    with owning(folder / "cell.lock", poll=0.01):
        inside = folder / "inside"
        try:
            there = int(inside.read_text() or "0")
        except (FileNotFoundError, ValueError):
            there = 0
        if there and there != os.getpid() and Path(f"/proc/{there}").exists():
            # A killed process gives its lock back before it counts as dead, but after the kernel
            # has marked it as ending (PF_EXITING); in a crowd that takes a while.
            try:
                fields = Path(f"/proc/{there}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                fields = ["X"] * 7
            if fields[0] not in "ZX" and not int(fields[6]) & 4:
                (folder / f"met-{os.getpid()}").write_text(f"{there}")
        inside.write_text(str(os.getpid()))
        time.sleep(rng.uniform(0, 0.02))
        inside.write_text("0")
    with open(folder / "rounds", "a") as file:
        file.write(".")
    time.sleep(rng.uniform(0, 0.01))
"""


@pytest.mark.slow
@given(seed=st.integers(0, 2**20), crowd=st.integers(2, 4), dying=st.integers(0, 2))
@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_two_are_never_inside_and_the_dead_are_not_waited_for(tmp_path_factory, seed, crowd, dying):
    folder, rng, rounds = tmp_path_factory.mktemp("lock"), random.Random(seed), 12
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", INSIDE, str(folder), str(seed + n), str(rounds)],
            env=environment,
            cwd=ROOT,
        )
        for n in range(crowd)
    ]
    try:
        deadline = time.monotonic() + 60 * PATIENCE
        while not (folder / "rounds").exists():
            assert time.monotonic() < deadline and processes[-1].poll() in (None, 0)
            time.sleep(0.01)
        killed = processes[: min(dying, crowd - 1)]
        for process in killed:
            time.sleep(rng.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
        statuses = [process.wait(60 * PATIENCE) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert not list(folder.glob("met-*")), "two owners met"
    assert statuses[len(killed) :] == [0] * (crowd - len(killed))
    assert len((folder / "rounds").read_text()) >= rounds * (crowd - len(killed))
