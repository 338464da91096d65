"""Files that `torch.save` wrote, by anyone: tensors and plain values, never any code."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from pix2pix.common.errors import Unreadable, UserError
from pix2pix.common.memory import out_of_memory


def unpickled(path: Path) -> Any:
    """What the file holds, on the CPU.

    UserError for a file that is damaged, Refused for one that asks for more than tensors and plain
    values or would take more memory than it has bytes (nothing of such a file is run), Unreadable
    where the disk or the memory, not the file, is what fails.
    """
    try:
        _check_parts(path)
        with warnings.catch_warnings(action="ignore"):  # torch's, about the pickle's dialect
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise Unreadable(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception as error:  # the unpickler may raise anything on damaged bytes
        if out_of_memory(error):
            raise Unreadable(f"{path}: cannot be read (not enough memory)") from None
        kind = Refused if isinstance(error, _Bomb | pickle.UnpicklingError) else UserError
        raise kind(f"{path}: not a readable checkpoint ({_refusal(error)})") from None


class Refused(UserError):
    """A file that holds other things than tensors and plain values."""


def _check_parts(path: Path) -> None:
    """torch.save compresses nothing, so a part that is larger than its bytes is a bomb."""
    if not zipfile.is_zipfile(path):  # torch's older format, which is a stream of its own
        return
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
    for part in parts:
        if part.compress_type != zipfile.ZIP_STORED or part.file_size != part.compress_size:
            raise _Bomb(f"its part {part.filename[:60]!a} is compressed")
    if sum(part.file_size for part in parts) > path.stat().st_size:
        raise _Bomb("its parts are larger than the file")


class _Bomb(Exception):
    """A small file that would take much memory."""


def _refusal(error: Exception) -> str:
    """Why a file was not read, without torch's advice to read it unsafely."""
    if isinstance(error, _Bomb):
        return str(error)
    asked = re.search(r"GLOBAL (\S+) (?:was not an allowed|whose module)", str(error))
    if asked:
        return f"it asks for {asked[1][:80]!a}, which no weights need; nothing of it was run"
    if isinstance(error, pickle.UnpicklingError):
        return "it holds other things than tensors and plain values; nothing of it was run"
    if isinstance(error, RuntimeError):
        return str(error).partition("\n")[0].partition(". ")[0][:120]
    return "damaged, or not a file of weights"
