"""Files that are whole or absent, also after a power failure; JSON without surprises."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that replaces `path` when the block ends without an error.

    It is written beside `path`, flushed to the disk and renamed. Raises OSError with the name of
    `path`, also if the disk is full; then the old content stays and nothing is left beside it.
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
    """Replace a file by `content` at once; OSError names `path`."""
    with replacing(path) as file:
        file.write(content)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add the file's name to an OSError of the block; a full disk does not name the file."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise type(error)(error.errno, os.strerror(error.errno), str(path)) from error


def home_path(text: str) -> Path:
    """A path of the command line, in which `~` or `~NAME` at the beginning is a home folder.

    A shell does the same, but not behind `--option=`. ArgumentTypeError if there is no such user.
    """
    path = os.path.expanduser(text)
    if text.startswith("~") and path == text:
        raise argparse.ArgumentTypeError(f"{text}: no such home folder (a file ~x here: ./~x)")
    return Path(path)


def image_size(text: str) -> tuple[int, int]:
    """(H, W) of `HEIGHTxWIDTH` or one side in pixels, on the command line; ArgumentTypeError."""
    found = re.fullmatch(r"([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?", text, re.ASCII)
    if not found:
        raise argparse.ArgumentTypeError(f"must be HEIGHTxWIDTH in pixels, or one side ({text!r})")
    return int(found[1]), int(found[2] or found[1])


def whole_from(least: int) -> Callable[[str], int]:
    """Reads a whole number from `least` on the command line; it raises ArgumentTypeError."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and least <= int(text) < 2**63):
            raise argparse.ArgumentTypeError(f"must be a whole number from {least} (got {text!r})")
        return int(text)

    return parse


def make_folder(folder: Path) -> None:
    """Create a folder and its parents; each new one survives a power failure."""
    if folder.is_dir():
        return
    if folder.parent != folder:
        make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    with contextlib.suppress(PermissionError):  # a parent that may be entered but not listed
        flush_folder(folder.parent)


def flush_file(path: Path) -> None:
    """Flush a file that was written by other code; OSError if the disk cannot take it."""
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


def set_aside(path: Path, ending: str = "damaged") -> Path:
    """Rename an unusable file to NAME.`ending`, replacing an earlier one; returns the new path."""
    aside = path.with_name(f"{path.name}.{ending}")
    os.replace(path, aside)
    return aside


def read_json(path: Path) -> Any:
    """The content of a JSON file; OSError if it cannot be read, ValueError if it is not JSON."""
    return parse_json(path.read_bytes())


def parse_json(text: str | bytes) -> Any:
    """A JSON text as Python values; ValueError also for NaN, bytes that are not UTF-8, and values
    that are nested too deeply."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def file_sha256(path: Path) -> str:
    """The sha256 of a file, in hex; OSError if it cannot be read."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"contains {text}, which is not a number")
