"""`--set training.precision=auto`: the precision is chosen by timing steps, once for a device.

What was measured and chosen lies in `calibrations/` of the run directories, so that the same
command chooses the same again: a precision is part of what a cell is. Never imports torch itself.
"""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.environment import worker_environment
from experiments.jobs import step_gflop
from experiments.journal import write_json
from experiments.plan import Plan
from experiments.provenance import device_name
from pix2pix.config import CellConfig, digest
from pix2pix.errors import UserError
from pix2pix.json_files import read_json

KEY = "training.precision"
WORTH = 1.1
"""How many times faster a lower precision must be than float32 to be chosen."""
PATIENCE = 600.0
"""Seconds after which a calibration is given up."""


@dataclass(frozen=True)
class Calibration:
    """What was chosen, and by which measurement."""

    precision: str
    seconds_per_step: dict[str, float]
    """Medians, by precision."""

    @property
    def text(self) -> str:
        """'bfloat16 chosen: float32 0.512 s, bfloat16 0.369 s a step'."""
        told = (f"{name} {seconds:.4g} s" for name, seconds in self.seconds_per_step.items())
        return f"{self.precision} chosen: {', '.join(told)} a step"


def choose(seconds_per_step: dict[str, float]) -> str:
    """The fastest precision, where it is worth leaving float32 for."""
    fastest = min(seconds_per_step, key=lambda name: seconds_per_step[name])
    worth = seconds_per_step["float32"] >= WORTH * seconds_per_step[fastest]
    return fastest if worth else "float32"


def subject(plans: Sequence[Plan]) -> CellConfig:
    """The cell that a calibration times: the one with the most work a step, in float32."""
    configs = [cell.config for plan in plans for cell in plan.cells("")]
    heaviest = max(configs, key=step_gflop)
    training = heaviest.training.model_copy(update={"precision": "float32"})
    return heaviest.model_copy(update={"training": training})


def calibrated(config: CellConfig, out: Path, device: str, threads: int) -> Calibration | None:
    """What was chosen earlier for such a cell on such a device; None where nothing was."""
    path = out / "calibrations" / f"{_key(config, device, threads)}.json"
    try:
        kept = read_json(path)
        seconds = {str(name): float(value) for name, value in kept["seconds_per_step"].items()}
        if kept["precision"] not in seconds:
            raise ValueError("its precision was not measured")
        return Calibration(kept["precision"], seconds)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a calibration ({error}); delete it") from None


def calibrate(config: CellConfig, out: Path, device: str, threads: int) -> Calibration:
    """Time steps now, and keep what was chosen. UserError where that fails."""
    asked = {"config": config.model_dump(mode="json"), "device": device, "threads": threads}
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "experiments.calibrate"],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            env=worker_environment(threads),
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"--set {KEY}=auto: no step ended in {PATIENCE:.0f} s; give one") from None
    lines = ended.stdout.splitlines()
    if ended.returncode or not lines:
        said = (ended.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UserError(f"--set {KEY}=auto: the steps could not be timed ({said}); give one")
    seconds = json.loads(lines[-1])
    found = Calibration(choose(seconds), seconds)
    what = _subject(config, device, threads)
    kept = {"precision": found.precision, "seconds_per_step": seconds, "measured_on": what}
    folder = out / "calibrations"
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"{digest(what)}.json", kept)
    return found


def _key(config: CellConfig, device: str, threads: int) -> str:
    return digest(_subject(config, device, threads))


def _subject(config: CellConfig, device: str, threads: int) -> dict[str, Any]:
    """All that the time of a step depends on."""
    whole = config.model_dump(mode="json")
    return {
        **{name: whole[name] for name in ("size", "generator", "discriminator", "objective")},
        "batch": config.training.batch,
        "device": device_name(device),
        "threads": threads if device == "cpu" else None,
        "torch": importlib.metadata.version("torch"),
    }
