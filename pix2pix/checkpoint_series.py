"""The checkpoints of one training: the two newest are kept, a damaged one is passed over."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pix2pix.atomic import set_aside
from pix2pix.checkpoint import OutdatedCheckpoint, load, save
from pix2pix.errors import UserError

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
        """The files, newest first."""
        found = {
            int(match[1]): path
            for path in self.directory.glob("checkpoint-*.pt")
            if (match := NAME.fullmatch(path.name))
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
        `*.old`) and `told` of: (its new path, why).
        """
        for path in self.paths():
            try:
                content = load(path)
                if content.get(DIGEST) != self.digest:
                    raise UserError(f"{path}: a checkpoint of another cell")
            except UserError as error:
                ending = "old" if isinstance(error, OutdatedCheckpoint) else "damaged"
                why = str(error).removeprefix(f"{path}: ")
                aside = path
                # A folder that cannot be renamed in cannot be trained in either; training says so.
                with contextlib.suppress(OSError):
                    aside = set_aside(path, ending)
                told(aside, why)
            else:
                return content
        return None
