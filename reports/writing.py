"""Puts a report's text files into its folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from experiments.tracking.reader import first_line
from pix2pix.common.errors import UserError
from pix2pix.common.files import replacing
from pix2pix.common.locks import owning


def alone(out: Path) -> AbstractContextManager[None]:
    """Nobody else writes or attaches reports below `out` for the time of the block: launchers that
    share a folder end at the same time. OSError where the folder cannot be written."""
    return owning(out / ".reports.lock")


def write_files(folder: Path, files: Mapping[str, str | None]) -> Path:
    """Write {name: text} as UTF-8 into `folder` and return it; a file without text now goes.

    UserError where it cannot be written.
    """
    with writing(folder):
        for name, text in files.items():
            if text is None:
                (folder / name).unlink(missing_ok=True)
            else:
                with replacing(folder / name) as file:
                    file.write(text.encode())
    return folder


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """What keeps a file within from being written, as UserError."""
    try:
        yield
    except OSError as error:
        why = error.strerror or first_line(error)
        raise UserError(f"{error.filename or folder}: cannot be written: {why}") from error
