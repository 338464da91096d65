"""A user's folder with a suite so small that a start takes seconds, and what is done to it.

The real command line runs in it as a process of its own, watched by `hook/sitecustomize.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from streets import DATASET, draw_streets

HERE = Path(__file__).parent
ROOT = Path(os.environ.get("FAULTS_ROOT") or HERE.parent.parent).resolve()
"""The code that is put to the test; another checkout's with FAULTS_ROOT (and PYTHONPATH)."""
PATIENCE = float(os.environ.get("FAULTS_PATIENCE", "4"))
"""Factor on every time limit: a machine of two cores may be busy with something else."""
STEPS = 20
CYCLEGAN = """
    method: cyclegan
    generator.architecture: resnet
    generator.blocks: 1"""
SUITE = f"""\
title: What stops a study?
arms:
  L1+cGAN: {{discriminator.patch: 16}}
  GAN:{CYCLEGAN if int(os.environ.get("FAULTS_POINTS", "5")) >= 16 else ""}
    objective.gan: unconditional
    objective.l1: 0
    discriminator.patch: 16
scores: [fcn, color, pixel]
claims: [L1+cGAN > GAN on pixel.ssim]
"""
"""The second arm is CycleGAN where there is time for it, as in `make faults`."""


class Study:
    """A folder in which `run_ablations.py` is started, struck and started again."""

    def __init__(self, folder: Path, store: Path | None = None) -> None:
        """`store`: an empty MLflow database to begin with, which saves its slow first opening."""
        self.folder = folder.resolve()
        self.control = self.folder / "control"
        self.control.mkdir(parents=True)
        draw_streets(self.folder / "data")
        (self.folder / "mine.yaml").write_text(SUITE)
        (self.folder / "sets.yaml").write_text(DATASET)
        if store is not None:
            shutil.copyfile(store, self.folder / "mlflow.db")
        self.out = self.folder / "runs"
        self.steps = STEPS
        self.workers = 2
        self.environment: dict[str, str] = {}
        self.starts = 0

    def command(self, *more: str) -> list[str]:
        """The command line; `more` stands last, so that it wins."""
        return [
            *(sys.executable, str(ROOT / "run_ablations.py"), "--suite", "mine.yaml"),
            *("--profile", "smoke", "--dataset", "streets", "--datasets", "sets.yaml"),
            *("--data-root", "data", "--set", "size=32", "--set", f"training.steps={self.steps}"),
            *("--workers", str(self.workers), *more),
        ]

    def start(self, *more: str, plan: dict[str, Any] | None = None) -> Started:
        """Start the command with a plan for the hook; several may run at once without one."""
        if plan is not None or not (self.control / "plan.json").exists():
            for name in ("count", "fired.json"):
                (self.control / name).unlink(missing_ok=True)
            (self.control / "plan.json").write_text(json.dumps(plan or {}))
        self.starts += 1
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "FAULTS_"))}
        environment = kept | {
            "FAULTS_FOLDER": str(self.folder),
            "PYTHONPATH": str(HERE / "hook"),
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",  # on a GPU bits are not promised
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "https_proxy": "http://127.0.0.1:9",  # nothing is downloaded
            **self.environment,
        }
        said = self.control / f"said-{self.starts}.txt"
        with open(said, "wb") as file:
            process = subprocess.Popen(
                self.command(*more),
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=file,
                start_new_session=True,
            )
        return Started(process, said)

    def run(self, *more: str, plan: dict[str, Any] | None = None, seconds: float = 240) -> Ended:
        """Start the command and wait for its end."""
        return self.start(*more, plan=plan or {}).end(seconds)

    def fired(self) -> dict[str, Any] | None:
        """When, where and by whom the plan was carried out; None where it was not."""
        try:
            return json.loads((self.control / "fired.json").read_text())
        except (OSError, ValueError):
            return None

    def events(self) -> list[tuple[str, str, str, str]]:
        """(role, phase, event, path) of everything seen since `forget_events`."""
        lines = (self.control / "events.log").read_text().splitlines()
        return [(*line.split(" ", 2)[:2], *split_event(line)) for line in lines]

    def forget_events(self) -> None:
        (self.control / "events.log").unlink(missing_ok=True)

    def processes(self) -> dict[int, str]:
        """{process id: role} of this study's processes that still run."""
        mark, found = f"FAULTS_FOLDER={self.folder}".encode(), []
        for entry in Path("/proc").glob("[0-9]*"):  # also one that has not reached the hook yet
            try:
                environ = (entry / "environ").read_bytes()
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if mark in environ.split(b"\0") and state != "Z":
                found.append(int(entry.name))
        try:
            lines = (self.control / "pids").read_text().splitlines()
        except OSError:
            lines = []
        roles = {int(pid): role for pid, role in map(str.split, lines)}
        return {pid: roles.get(pid, "starting") for pid in found}

    def kill(self) -> None:
        """SIGKILL for all that still runs, until nothing does."""
        deadline = time.monotonic() + 30 * PATIENCE
        while running := self.processes():
            assert time.monotonic() < deadline, f"cannot be killed: {running}"
            for pid in running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)

    def wait_until_alone(self, seconds: float = 120) -> None:
        """Until no process of the study runs; AssertionError names those that outlive it."""
        deadline = time.monotonic() + seconds * PATIENCE
        while self.processes():
            assert time.monotonic() < deadline, f"still running: {self.processes()}"
            time.sleep(0.05)

    def cells(self) -> dict[str, Path]:
        """The arm's name, with the seed unless it is 1, to its run directory."""
        (record,) = (self.out / "suites" / "mine").glob("*.json")
        cells = json.loads(record.read_text())["cells"]
        seeds = {c["digest"]: f" seed {c['seed']}" * (c["seed"] > 1) for c in cells}
        return {c["arm"] + seeds[c["digest"]]: self.out / "cells" / c["digest"] for c in cells}

    def directories(self) -> dict[str, Path]:
        """The cells, and the real photos' own run directory as `ground truth`."""
        (record,) = (self.out / "suites" / "mine").glob("*.json")
        reference = json.loads(record.read_text())["reference"]
        return self.cells() | {"ground truth": self.out / "references" / reference}


def split_event(line: str) -> tuple[str, str]:
    """(event, path) of a line of events.log; an event's name may hold a space, a path may too."""
    rest = line.split(" ", 2)[2]
    for event in ("before fsync", "after fsync"):
        if rest.startswith(event):
            return event, rest[len(event) + 1 :]
    event, _, path = rest.partition(" ")
    return event, path


class Ended:
    """How a start ended: its exit status, what it said, how long it took."""

    def __init__(self, status: int, said: str, seconds: float) -> None:
        self.status, self.said, self.seconds = status, said, seconds

    def __str__(self) -> str:
        return f"status {self.status}:\n{self.said[-3000:]}"


class Started:
    """A start of the command line that runs."""

    def __init__(self, process: subprocess.Popen, said: Path) -> None:
        self.process, self._said, self._began = process, said, time.monotonic()

    @property
    def said(self) -> str:
        return self._said.read_text(errors="replace")

    def end(self, seconds: float = 240) -> Ended:
        """Wait for the end; AssertionError with what was said where it does not come."""
        try:
            status = self.process.wait(seconds * PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"no end within {seconds} s: {self.said[-3000:]}") from None
        return Ended(status, self.said, time.monotonic() - self._began)
