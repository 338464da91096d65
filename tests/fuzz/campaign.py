"""Many inputs for one reader, and what came of them."""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fence import Breach, fence, forget_peak, peak_memory
from hypothesis import HealthCheck, Phase, given, seed, settings
from readers import READERS
from stored import CANARY

from pix2pix.common.errors import CONTROL, NotMeasured, TrainingError, UserError

DOCUMENTED = (UserError, NotMeasured, TrainingError)
IMPORTED_LATE = (
    *("experiments.run.jobs", "experiments.run.journal", "experiments.plan"),
    *("pix2pix.data.cache", "pix2pix.data.decode", "pix2pix.data.download"),
)
"""What the readers import on their first input; that time is not the input's."""
LONGEST = 1000
"""Characters of a line of an error; a terminal's worth."""


@dataclass
class Tally:
    """What a campaign found about one reader."""

    reader: str
    tried: int = 0
    distinct: int = 0
    refused: int = 0
    """With a documented error."""
    accepted: int = 0
    slowest: float = 0.0
    """Seconds."""
    peak_mib: float = 0.0
    """Resident memory at its highest, of the whole process."""
    base_mib: float = 0.0
    """The same before the first input."""
    slow_input: str = ""
    """How the slowest input began."""
    newest: bytes = b""
    """The last input; after a finding, the one that led to it."""


def run(tally: Tally, inputs: int, folder: Path, start: int) -> None:
    """Give the tally's reader so many inputs, seeded by `start`.

    Raises whatever a reader raised that is not documented, AssertionError for a message that is
    of no use, and Breach: for the smallest such input that hypothesis found.
    """
    for module in IMPORTED_LATE:
        importlib.import_module(module)
    campaign = _campaign(tally.reader, inputs, folder, tally)
    with _standing_in(folder):
        try:
            seed(start)(campaign)()
        finally:
            tally.peak_mib = peak_memory() / 2**20


def _campaign(name: str, inputs: int, folder: Path, tally: Tally):
    reader = READERS[name]
    made_in = folder / "made"
    made_in.mkdir(parents=True, exist_ok=True)
    strategy = reader.inputs(made_in)
    beside = reader.beside()
    place = folder / "work" / "cells" / "0123"
    place.mkdir(parents=True)
    seen: set[bytes] = set()

    @settings(
        max_examples=inputs,
        database=None,
        deadline=None,
        derandomize=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(strategy)
    def campaign(content: bytes) -> None:
        for left in list(place.iterdir()):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        for file, held in beside.items():
            (place / file).write_bytes(held)
        path = place / reader.file
        path.write_bytes(content)
        if reader.lay:
            reader.lay(path)
        if not tally.tried:
            forget_peak()
            tally.base_mib = peak_memory() / 2**20
        tally.tried += 1
        began = time.perf_counter()
        tally.newest = content
        try:
            with fence(*(place / one for one in reader.writes), network=reader.network):
                reader.read(path)
            tally.accepted += 1
        except DOCUMENTED as error:
            tally.refused += 1
            complain(str(error), path if reader.names_file else None)
        took = time.perf_counter() - began
        if took > tally.slowest:
            tally.slowest, tally.slow_input = took, repr(content[:300])
        _nothing_else(place, folder, {reader.file, *beside, *reader.writes})
        digest = hashlib.sha256(content).digest()
        tally.distinct += digest not in seen
        seen.add(digest)

    return campaign


def complain(message: str, path: Path | None) -> None:
    """AssertionError where a message is not what a user can act on: lines that name the file."""
    lines = message.split("\n")
    for line in lines:
        assert line.strip(), f"an empty line: {message!r}"
        assert not CONTROL.search(line), f"control characters: {line!r}"
        assert len(line) <= LONGEST, f"{len(line)} characters: {line[:200]!r}"
        assert "Traceback" not in line, message
        assert path is None or path.name in line, f"does not name {path.name}: {line!r}"


def _nothing_else(place: Path, folder: Path, expected: set[str]) -> None:
    """Breach where a file lies that the reader had no business to write."""
    strange = {one.name for one in place.iterdir()} - expected
    strange |= {one.name for one in folder.iterdir()} - {"made", "work"}
    strange |= {one.name for one in (folder / "work").rglob(CANARY)}
    if strange:
        raise Breach(f"wrote {', '.join(sorted(strange))}")


@contextmanager
def _standing_in(folder: Path) -> Iterator[None]:
    """The working folder is one where a payload's file would be seen."""
    before = Path.cwd()
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
