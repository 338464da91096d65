"""Files of torch.save read as data: no code runs, and no small file takes much memory."""

from __future__ import annotations

import warnings
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
        check_parts(path)
        with warnings.catch_warnings():  # of what it may not support; then it raises
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # zipfile, torch and the unpickler raise anything on damaged bytes
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise ValueError(reason[:160] or type(error).__name__) from None


def check_parts(path: Path) -> None:
    """ValueError where a zip file's parts would take more memory than the file has bytes:
    torch.save compresses nothing, so that what is compressed is a bomb."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    for member in members:
        stored = member.compress_type == zipfile.ZIP_STORED
        if not stored or member.file_size != member.compress_size:
            raise ValueError(f"its part {member.filename[:60]!r} is compressed")
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise ValueError("its parts are larger than the file")
