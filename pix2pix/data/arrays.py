"""Folders of arrays, each written whole or not at all, whichever process comes first."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from pix2pix.common.errors import UserError
from pix2pix.common.files import flush_folder
from pix2pix.common.locks import owning

AHEAD = 64
"""Images that are made before the first of them is used: a bound on the memory."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_Meta = TypeVar("_Meta", bound=BaseModel)


def made_whole(
    place: Path, made: Callable[[], _Meta | None], write: Callable[[Path], _Meta]
) -> _Meta:
    """The content of a folder, which is written whole by whichever process comes first.

    UserError if it cannot be written."""
    beside = place.with_name(f".{place.name}.part")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with owning(place.with_name(f".{place.name}.lock")):
            meta = made()
            if meta is None:
                # Under the lock: what is here now was left by a process that died.
                shutil.rmtree(beside, ignore_errors=True)
                shutil.rmtree(place, ignore_errors=True)
                try:
                    beside.mkdir()
                    meta = write(beside)
                    flush_folder(beside)
                    os.replace(beside, place)
                    flush_folder(place.parent)
                finally:
                    shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise UserError(f"{place.parent}: the decoded images cannot be written: {reason}") from None
    return meta


def file_name(split: str, role: str | None) -> str:
    """The name of the file with a split's images of a role, or, for None, its class positions."""
    return f"{split}-{role}.npy" if role else f"classes-{split}.npy"


def in_threads(function: Callable[[_Item], _Result], items: Sequence[_Item]) -> Iterator[_Result]:
    """`map` in threads (decoding releases Python's lock), at most AHEAD results ahead."""
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 16)) as pool:
        for start in range(0, len(items), AHEAD):
            yield from pool.map(function, items[start : start + AHEAD])
