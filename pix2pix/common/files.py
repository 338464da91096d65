"""Files that are either whole or absent: written beside, flushed to the disk, renamed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that takes the place of `path` when the block ends without an error.

    The file and its folder are flushed to the disk, so that a power failure too leaves the old
    content or the new. OSError names `path`, also where the disk is full.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with naming(path):
            make_folder(path.parent)
            with open(beside, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
            flush_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is either whole or absent; OSError names `path`."""
    with replacing(path) as file:
        file.write(content)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; each new one survives a power failure."""
    above = folder.parent
    if folder.is_dir():
        return
    if above != folder:
        make_folder(above)
    folder.mkdir(exist_ok=True)
    with contextlib.suppress(PermissionError):  # a folder that may be entered but not listed
        flush_folder(above)


def flush_file(path: Path) -> None:
    """Flush a file that another has written. OSError where it cannot be put on the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def flush_folder(folder: Path) -> None:
    """Flush a folder's entries, so that a rename in it survives a power failure."""
    number = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network folders cannot
            os.fsync(number)
    finally:
        os.close(number)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Gives an OSError of the block the file's name: a full disk does not say whose it was."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise type(error)(error.errno, os.strerror(error.errno), str(path)) from error


def set_aside(path: Path, ending: str = "damaged") -> Path:
    """Rename a file that cannot be used to NAME.`ending`, in the place of an earlier one."""
    aside = path.with_name(f"{path.name}.{ending}")
    os.replace(path, aside)
    return aside


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


def file_sha256(path: Path) -> str:
    """The sha256 of a file, in hex; OSError where it cannot be read."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
