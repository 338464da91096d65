"""Puts a report's text files into its folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from experiments.tracking_reader import first_line
from pix2pix.errors import UserError

TEXT = {"encoding": "utf-8", "newline": "\n"}
"""The same bytes on every machine, whatever its locale."""


def write_files(folder: Path, files: Mapping[str, str | None]) -> Path:
    """Write {name: text} into `folder` and return it; a file without text now goes.

    UserError where it cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            if text is None:
                (folder / name).unlink(missing_ok=True)
            else:
                (folder / name).write_text(text, **TEXT)
    return folder


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """What keeps a file within from being written, as UserError."""
    try:
        yield
    except OSError as error:
        why = error.strerror or first_line(error)
        raise UserError(f"{error.filename or folder}: cannot be written: {why}") from error
