"""A folder of translations that says what made them, so that it is resumed and never mixed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pix2pix.common.errors import UserError
from pix2pix.common.files import replacing

RECORD = "translation.json"


@dataclass(frozen=True)
class TranslationFolder:
    """NAME.png for each input, and `translation.json`: the settings, each input's sha256."""

    path: Path

    def begin(
        self, settings: dict[str, Any], facts: dict[str, Any], inputs: dict[str, str]
    ) -> list[str]:
        """Take the folder for these translations; returns the names that are still to be made.

        Args:
            settings: all that decides what the images are; a folder of others is refused.
            facts: kept beside them for people (what was recognised).
            inputs: sha256 of each input by name; a translation of other bytes is made again.

        Raises:
            UserError: the folder holds PNG files that this command did not make, or cannot be
                written.
        """
        present = self._present()
        former = self._record()
        if present:
            if former is None:
                raise UserError(
                    f"--out {self.path}: holds PNG files, but no {RECORD} that says what made them;"
                    " give an empty folder"
                )
            changed = [key for key in settings if former["settings"].get(key) != settings[key]]
            if changed:
                raise UserError(
                    f"--out {self.path}: holds translations with another {', '.join(changed)};"
                    " give an empty folder"
                )
            strange = sorted(present - inputs.keys())
            if strange:
                raise UserError(
                    f"--out {self.path}: holds {strange[0]}.png, which no input is named for;"
                    " give an empty folder"
                )
        known = former["inputs"] if former and present else {}
        stale = {name for name in present if known.get(name) != inputs[name]}
        try:
            for name in stale:
                (self.path / f"{name}.png").unlink(missing_ok=True)
            with replacing(self.path / RECORD) as file:
                record = {"settings": settings, **facts, "inputs": inputs}
                file.write((json.dumps(record, indent=1) + "\n").encode())
        except OSError as error:
            raise self._unwritable(error) from None
        return [name for name in inputs if name not in present - stale]

    def write(self, name: str, image: np.ndarray) -> None:
        """(H, W, C) uint8 as NAME.png, whole or not at all; one channel becomes three equal."""
        if image.shape[-1] == 1:
            image = np.repeat(image, 3, axis=-1)
        try:
            with replacing(self.path / f"{name}.png") as file:
                Image.fromarray(image).save(file, format="PNG")
        except OSError as error:
            raise self._unwritable(error) from None

    def _present(self) -> set[str]:
        try:
            return {path.stem for path in self.path.glob("*.png")} if self.path.exists() else set()
        except OSError as error:
            raise self._unwritable(error) from None

    def _record(self) -> dict[str, Any] | None:
        try:
            record = json.loads((self.path / RECORD).read_text())
        except (OSError, ValueError):
            return None
        keys = ("settings", "inputs")
        whole = isinstance(record, dict) and all(isinstance(record.get(k), dict) for k in keys)
        return record if whole else None

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(f"--out {self.path}: cannot be written ({error.strerror or error})")
