"""Files that `torch.save` wrote, by anyone: tensors and plain values, never any code."""

from __future__ import annotations

import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import torch

from pix2pix.errors import UserError


def unpickled(path: Path) -> Any:
    """What the file holds, on the CPU.

    UserError for a file that cannot be read, is damaged, or asks for more than tensors and plain
    values: nothing of such a file is run.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # torch's, about the pickle's dialect
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception as error:  # the unpickler may raise anything on damaged bytes
        raise UserError(f"{path}: not a readable checkpoint ({_refusal(error)})") from None


def _refusal(error: Exception) -> str:
    """Why a file was not read, without torch's advice to read it unsafely."""
    asked = re.search(r"GLOBAL (\S+) (?:was not an allowed|whose module)", str(error))
    if asked:
        return f"it asks for {asked[1][:80]!a}, which no weights need; nothing of it was run"
    if isinstance(error, pickle.UnpicklingError):
        return "it holds other things than tensors and plain values; nothing of it was run"
    if isinstance(error, RuntimeError):
        return str(error).partition("\n")[0].partition(". ")[0][:120]
    return "damaged, or not a file of weights"
