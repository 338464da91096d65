"""What a scorer's file says of its weights, read without torch and without the weights."""

from __future__ import annotations

import json
import struct
from pathlib import Path

KEY = "scorer"
"""Of the one JSON text in the header, whose values can only be strings."""
LONGEST = 2**20
"""Bytes of a header that is looked at."""


def recorded_sha256(path: Path) -> str | None:
    """The hash of its weights that a scorer's file names; None where there is no such file or it
    names none. Whether it is right, `eval.scorer.file.load_scorer` checks."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, LONGEST)))
        found = json.loads(header["__metadata__"][KEY])["sha256"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError, struct.error):
        return None
    return found if isinstance(found, str) else None
