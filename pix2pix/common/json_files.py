"""JSON read as data from anywhere: of a bounded size, without NaN, never a crash of the parser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MAX_BYTES = 64_000_000
"""The records of the largest study stay far below."""


def read_json(path: Path) -> Any:
    """The content of a JSON file; OSError, or ValueError for whatever is wrong with it."""
    with open(path, "rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"has more than {MAX_BYTES:,} bytes")
    return parse_json(content)


def parse_json(text: str | bytes) -> Any:
    """A JSON text as Python values; ValueError also for NaN, for lone surrogates in UTF-8 and for
    what is nested too deeply."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def _no_number(text: str) -> Any:
    raise ValueError(f"holds {text}, which is no number")
