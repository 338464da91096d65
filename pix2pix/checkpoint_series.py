"""The checkpoints of one training: the two newest are kept, a damaged one is passed over."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pix2pix.checkpoint import ForeignCheckpoint, OutdatedCheckpoint, load, save
from pix2pix.common.errors import Unreadable, UserError
from pix2pix.common.files import set_aside

KEPT = 2
NAME = re.compile(r"checkpoint-(\d{7,})\.pt")
EARLIER = "checkpoint.pt"
"""The one checkpoint of the version before this one."""
DIGEST = "digest"


class CheckpointSeries:
    """`checkpoint-STEP.pt` files in a run directory, those of one cell alone."""

    def __init__(self, directory: Path, digest: str) -> None:
        self.directory = directory
        self.digest = digest

    def paths(self) -> list[Path]:
        """The files, newest first. OSError where the folder cannot be listed: a training must
        not begin anew because it does not see its checkpoints."""
        try:
            names = os.listdir(self.directory)  # Path.glob finds nothing where it may not look
        except FileNotFoundError:
            return []
        found = {
            int(match[1]): self.directory / name
            for name in names
            if (match := NAME.fullmatch(name))
        }
        earlier = self.directory / EARLIER
        ordered = [path for _, path in sorted(found.items(), reverse=True)]
        return ordered + ([earlier] if earlier.exists() else [])

    def write(self, step: int, content: dict[str, Any]) -> None:
        """Write a checkpoint; once it is safe, all but the two newest go. OSError as `save`."""
        path = self.directory / f"checkpoint-{step:07d}.pt"
        save(path, {**content, DIGEST: self.digest, "step": step})
        self.keep(KEPT)

    def keep(self, count: int) -> None:
        """Delete all but the newest `count`."""
        for path in self.paths()[count:]:
            path.unlink(missing_ok=True)

    def newest(self, told: Callable[[Path, str], None]) -> dict[str, Any] | None:
        """The newest checkpoint that is whole, as it was written; None where none is.

        One that is damaged, of another cell or of an earlier version is renamed (`*.damaged`,
        `*.foreign`, `*.old`) and `told` of: (its new path, why). Unreadable or OSError, with every
        file left where it is, where the disk or the memory fails.
        """
        for path in self.paths():
            try:
                content = load(path)
                if content.get(DIGEST) != self.digest:
                    raise ForeignCheckpoint(f"{path}: a checkpoint of another cell")
            except Unreadable:
                raise
            except UserError as error:
                ending = _ending(error)
                why = str(error).removeprefix(f"{path}: ")
                aside = path
                # A folder that cannot be renamed in cannot be trained in either; training says so.
                with contextlib.suppress(OSError):
                    aside = set_aside(path, ending)
                told(aside, why)
            else:
                return content
        return None


def _ending(error: UserError) -> str:
    """What a file that is set aside is called: only damaged bytes are damage."""
    if isinstance(error, OutdatedCheckpoint):
        return "old"
    return "foreign" if isinstance(error, ForeignCheckpoint) else "damaged"
