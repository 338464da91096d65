"""Files of torch.save read as data: no code runs, and no small file takes much memory."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch


def load_tensors(path: Path) -> Any:
    """Tensors (on the CPU) and plain values of a file that torch.save wrote.

    Only torch's restricted unpickler reads it, which knows tensors and plain values and calls
    nothing that a file names. ValueError with one line for a file that is damaged, of torch's old
    format before zip, compressed, or that would call something; OSError where it cannot be read.
    """
    with open(path, "rb") as file:
        if file.read(4) != b"PK\x03\x04":
            raise ValueError("is not a file of torch.save")
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                # torch.save compresses nothing, so that what is compressed is a bomb.
                if member.compress_type != zipfile.ZIP_STORED or (
                    member.file_size != member.compress_size
                ):
                    raise ValueError(f"its part {member.filename[:60]!r} is compressed")
            if sum(member.file_size for member in archive.infolist()) > path.stat().st_size:
                raise ValueError("its parts are larger than the file")
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # zipfile, torch and the unpickler raise anything on damaged bytes
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise ValueError(reason[:160] or type(error).__name__) from None


def fitting(network: torch.nn.Module, weights: Any) -> str | None:
    """Why weights do not fit a network (which may lie on the meta device); None where they do.

    Compared before a network is built in memory: a file may name any width.
    """
    if not isinstance(weights, dict):
        return "holds no weights"
    wanted = network.state_dict()
    wrong = sorted(map(str, weights.keys() ^ wanted.keys()))
    if wrong:
        return f"{len(wrong)} tensors are missing or unknown ({wrong[0][:60]}, …)"
    for name, tensor in wanted.items():
        given = weights[name]
        if not isinstance(given, torch.Tensor) or given.shape != tensor.shape:
            return f"{name} does not have the shape {tuple(tensor.shape)}"
        if given.dtype != tensor.dtype or not given.is_contiguous():
            return f"{name} is not a plain {str(tensor.dtype).removeprefix('torch.')} tensor"
    return None
