"""The process that times a cell's steps in the precisions that a device has.

`python -m experiments.run.calibrate` reads one JSON object from stdin (config, device, threads) and
writes one to stdout: the median seconds of a step by precision. `calibration.py` asks it.
"""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import replace

import torch

from pix2pix.config import CellConfig, Precision
from pix2pix.fast_step import CaptureFailed, execution_of
from pix2pix.precision import lacking
from pix2pix.step_time import time_steps

CONSIDERED: dict[str, tuple[Precision, ...]] = {
    "cuda": ("float32", "tf32"),
    "cpu": ("float32", "bfloat16"),
}
"""bfloat16 on a GPU has to be asked for: TF32 keeps more of the mantissa at half the gain."""


def main() -> int:
    asked = json.load(sys.stdin)
    torch.set_num_threads(asked["threads"])
    device = torch.device(asked["device"])
    if device.type == "cuda":
        torch.cuda.set_device(device)
    config = CellConfig.model_validate_json(json.dumps(asked["config"]))
    precisions = [p for p in CONSIDERED[device.type] if not lacking(p, device)]
    ways = [(precision, execution_of(device, precision)) for precision in precisions]
    many = 50 if device.type == "cuda" else 1
    measured = None
    with contextlib.suppress(CaptureFailed):  # a training goes on without a graph then
        measured = time_steps(config, ways, device, steps_a_turn=many)
    if measured is None:  # not while the error is handled: it holds the first attempt's tensors
        ways = [(precision, replace(execution, graph=False)) for precision, execution in ways]
        measured = time_steps(config, ways, device, steps_a_turn=many)
    print(json.dumps({way.precision: way.median for way in measured}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
