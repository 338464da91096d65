"""`--set training.precision=auto`: the precision is chosen by timing steps, once for a folder.

What was measured and chosen lies in `calibrations/` of the run directories, so that the same
command chooses the same again, on every machine: a precision is part of what a cell is. Never
imports torch itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from experiments.plan import Plan
from experiments.run.environment import worker_environment
from experiments.run.journal import write_json
from experiments.run.provenance import device_name
from pix2pix.common.errors import UserError
from pix2pix.common.files import read_json
from pix2pix.common.locks import owning
from pix2pix.config import CellConfig, DiscriminatorSettings, ObjectiveSettings, digest

KEY = "training.precision"
WORTH = 1.1
"""How many times faster a lower precision must be than float32 to be chosen."""
PATIENCE = 600.0
"""Seconds after which a calibration is given up."""
AT_ONCE = 4
"""Cells that are timed at once at most."""


@dataclass(frozen=True)
class Calibration:
    """What was chosen, and by which measurement."""

    precision: str
    seconds_per_step: dict[str, float]
    """By precision."""
    device: str

    @property
    def text(self) -> str:
        """'bfloat16 chosen: float32 0.512 s, bfloat16 0.369 s a step (AMD EPYC)'."""
        told = (f"{name} {seconds:.4g} s" for name, seconds in self.seconds_per_step.items())
        return f"{self.precision} chosen: {', '.join(told)} a step ({self.device})"


def choose(seconds_per_step: dict[str, float]) -> str:
    """The fastest precision, where it is worth leaving float32 for."""
    fastest = min(seconds_per_step, key=lambda name: seconds_per_step[name])
    worth = seconds_per_step["float32"] >= WORTH * seconds_per_step[fastest]
    return fastest if worth else "float32"


def subject(plans: Sequence[Plan]) -> CellConfig:
    """The cell that is timed: U-Net and 70×70 discriminator of the size and width of the plans, so
    that every suite of a profile asks the same question."""
    configs = [cell.config for plan in plans for cell in plan.cells("")]
    of = max(configs, key=lambda config: config.generator.width)
    generator = of.generator.model_copy(update={"architecture": "unet"})
    training = of.training.model_copy(
        update={"precision": "float32", "batch": min(c.training.batch for c in configs)}
    )
    changes = {
        "generator": generator,
        "discriminator": DiscriminatorSettings(width=of.generator.width),
        "objective": ObjectiveSettings(),
        "training": training,
    }
    return of.model_copy(update=changes)


def calibrated(config: CellConfig, out: Path) -> Calibration | None:
    """What was chosen earlier for such a cell; None where nothing was."""
    path = _path(config, out)
    try:
        kept = read_json(path)
        seconds = {str(name): float(value) for name, value in kept["seconds_per_step"].items()}
        if kept["precision"] not in seconds:
            raise ValueError("its precision was not measured")
        return Calibration(kept["precision"], seconds, str(kept["device"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a calibration ({error}); delete it") from None


def calibrate(
    config: CellConfig, out: Path, device: str, threads: int = 1, cells: int = 1
) -> Calibration:
    """What was chosen earlier, or else by timing steps now, of so many cells at once as will run.

    UserError where that fails, or where it was chosen on another kind of device: one folder's
    cells would else be of two precisions.
    """
    path = _path(config, out)
    path.parent.mkdir(parents=True, exist_ok=True)
    here = device_name(device)
    with owning(path.with_name(f".{path.name}.lock")):  # two that start at once measure once
        found = calibrated(config, out)
        if found is None:
            seconds = _timed(config, device, threads, min(cells, AT_ONCE))
            found = Calibration(choose(seconds), seconds, here)
            kept = {"precision": found.precision, "seconds_per_step": seconds, "device": here}
            write_json(path, kept | {"measured_on": _subject(config)})
    if found.device != here:
        raise UserError(
            f"--set {KEY}=auto: {found.precision} was chosen in this --out on {found.device}, and "
            f"this is {here}: say {KEY}={found.precision} for the same, or use another --out"
        )
    return found


def _timed(config: CellConfig, device: str, threads: int, cells: int) -> dict[str, float]:
    """Seconds of a step by precision, the mean of the cells."""
    asked = {"config": config.model_dump(mode="json"), "device": device, "threads": threads}
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "experiments.run.calibrate"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=worker_environment(threads),
        )
        for _ in range(cells)
    ]
    try:
        for one in running:
            assert one.stdin is not None
            one.stdin.write(json.dumps(asked))
            one.stdin.close()
            one.stdin = None  # communicate() would close it again
        ended = [one.communicate(timeout=PATIENCE) for one in running]
    except subprocess.TimeoutExpired:
        raise UserError(f"--set {KEY}=auto: no step ended in {PATIENCE:.0f} s; give one") from None
    finally:
        for one in running:
            one.kill()
    for one, (_, err) in zip(running, ended, strict=True):
        if one.returncode:
            said = (err.strip().splitlines() or ["no reason given"])[-1]
            raise UserError(f"--set {KEY}=auto: the steps could not be timed ({said}); give one")
    seconds = [json.loads(out.splitlines()[-1]) for out, _ in ended]
    return {name: fmean(one[name] for one in seconds) for name in seconds[0]}


def _path(config: CellConfig, out: Path) -> Path:
    return out / "calibrations" / f"{digest(_subject(config))}.json"


def _subject(config: CellConfig) -> dict[str, Any]:
    """What a choice is for."""
    whole = config.model_dump(mode="json")
    named = {name: whole[name] for name in ("size", "generator", "discriminator")}
    return named | {"batch": config.training.batch}
