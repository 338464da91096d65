"""The step with its networks compiled by torch.compile, inside the captured graph.

    python benchmarks/gpu/compiled.py RESULT.json

Compiling takes a minute or more. DRY=1: tiny, on the CPU.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import probe
import torch

from pix2pix.fast_step import Execution, make_step
from pix2pix.model import build


def main() -> int:
    results = probe.Results(Path(sys.argv[1]))
    torch.backends.cudnn.benchmark = True
    torch._dynamo.config.recompile_limit = 64  # type: ignore[attr-defined]
    for precision, last in ((probe.TF32, True), ("bfloat16", True), (probe.TF32, False)):
        execution = Execution(graph=probe.GRAPH, channels_last=last)
        name = f"{precision}, {execution.engine}"
        with results.trying("compiled", name):
            config = probe.config(precision)
            model: Any = build(config, (3, 3), probe.DEVICE, execution.memory_format)
            backend = "aot_eager" if probe.DRY else "inductor"
            model.generator.compile(dynamic=False, backend=backend)
            model.discriminator.compile(dynamic=False, backend=backend)
            x, y = probe.batch(0)
            began = time.perf_counter()
            step = make_step(model, execution, (x, y))
            step(x, y)
            probe.wait(probe.DEVICE)
            seconds = time.perf_counter() - began
            found = probe.timed(lambda step=step, x=x, y=y: step(x, y))
            results.put("compiled", name, found | {"seconds_to_compile": seconds})
    return 0


if __name__ == "__main__":
    sys.exit(main())
