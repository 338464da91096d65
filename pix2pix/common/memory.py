"""How much memory a process holds, and what is said where there is none left."""

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
NO_ENGINE = re.compile("unable to find an engine")
"""cuDNN: none of its ways to compute something has its workspace, or its libraries do not fit."""


def peak_memory_mib(device: torch.device) -> float:
    """The most memory held so far: of the GPU's allocator there, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    with contextlib.suppress(OSError, StopIteration, ValueError):
        # Linux counts the launcher's memory into ru_maxrss of what it starts; this is our own.
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 2**10
    # Elsewhere: macOS counts in bytes, others in KiB.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: Python's, or the RuntimeError of torch's CPU
    allocator, which has no type of its own."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and NO_MEMORY.search(str(error)) is not None
    )


def shortage(error: BaseException, device: torch.device) -> str:
    """In one line how much a training held, how much more it asked for, and what to do."""
    said = str(error)
    asked = re.search(r"Tried to allocate ([\d.]+ \w+)", said)
    tried = re.search(r"tried to allocate (\d+) bytes", said)
    more = asked[1] if asked else f"{int(tried[1]) / 2**20:,.1f} MiB" if tried else "an unknown sum"
    room = re.search(r"total capacity of ([\d.]+ \w+) of which ([\d.]+ \w+) is free", said)
    free = f"; {room[2]} of {room[1]} were free" if room else ""
    on_gpu = isinstance(error, torch.OutOfMemoryError) or re.search("CUDA|CUBLAS|CUDNN", said)
    where, held = "memory", peak_memory_mib(torch.device("cpu"))
    if on_gpu:
        where = "the GPU's memory"
        if device.type == "cuda":  # with what the allocator keeps, which nobody else has then
            held = torch.cuda.max_memory_reserved(device) / 2**20
    return (
        f"{where} ran out: it had held up to {held:,.0f} MiB and asked for {more} more{free}; "
        "try fewer --workers, a smaller training.batch or size"
    )


def no_engine(error: BaseException) -> str | None:
    """What cuDNN's finding no way to compute something may mean; None for other errors."""
    if not isinstance(error, RuntimeError) or NO_ENGINE.search(str(error)) is None:
        return None
    return (
        f"cuDNN: {str(error).splitlines()[0]}: too little of the GPU's memory is free, or this "
        f"cuDNN does not fit torch {torch.__version__}"
    )
