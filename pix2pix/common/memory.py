"""How much memory a process has used, and one clear line if there is not enough."""

from __future__ import annotations

import contextlib
import re
import resource
import sys
from pathlib import Path

import torch

NO_MEMORY = re.compile(
    "DefaultCPUAllocator|can't allocate memory|not enough memory|out of memory|ALLOC_FAILED"
)
"""What torch's errors say if memory ran out."""
NO_ENGINE = re.compile("unable to find an engine")
"""cuDNN's error if no algorithm has enough workspace, or its libraries do not fit together."""


def peak_memory_mib(device: torch.device) -> float:
    """The most memory used so far, in MiB: of the GPU by torch, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    with contextlib.suppress(OSError):
        # On Linux, ru_maxrss includes the memory of the process that started this one.
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        if peak := re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE):
            return int(peak[1]) / 2**10
    unit = 2**20 if sys.platform == "darwin" else 2**10  # macOS counts bytes, others KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out. On the CPU, torch raises a plain RuntimeError then."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and NO_MEMORY.search(str(error)) is not None
    )


def shortage(error: BaseException, device: torch.device) -> str:
    """One line about an error of `out_of_memory`: how much memory was used and how much more was
    requested, and what to change."""
    text = str(error)
    asked = re.search(r"[Tt]ried to allocate ([\d.]+) (\w+)", text)
    more = "more" if asked is None else f"{asked[1]} {asked[2]} more"
    if asked and asked[2] == "bytes":
        more = f"{int(asked[1]) / 2**20:,.1f} MiB more"
    if found := re.search(r"total capacity of ([\d.]+ \w+) of which ([\d.]+ \w+) is free", text):
        more += f"; {found[2]} of {found[1]} were free"
    where, held = "memory", peak_memory_mib(torch.device("cpu"))
    if isinstance(error, torch.OutOfMemoryError) or re.search("CUDA|CUBLAS|CUDNN", text):
        where = "the GPU's memory"
        if device.type == "cuda":  # with what torch's allocator keeps for later
            held = torch.cuda.max_memory_reserved(device) / 2**20
    return (
        f"{where} ran out: it had held up to {held:,.0f} MiB and asked for {more}; "
        "try fewer --workers, a smaller training.batch or size"
    )


def no_engine(error: BaseException) -> str | None:
    """One line about cuDNN finding no algorithm, which may be due to memory; None for other
    errors."""
    if not isinstance(error, RuntimeError) or NO_ENGINE.search(str(error)) is None:
        return None
    return (
        f"cuDNN: {str(error).splitlines()[0]}: not enough of the GPU's memory is free, or this "
        f"cuDNN does not fit torch {torch.__version__}"
    )
