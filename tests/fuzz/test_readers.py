"""The quick part of the fuzzing: a few inputs for every reader, always the same ones.

`make fuzz` tries ten thousand of each (tests/fuzz/run.py).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from campaign import Tally, run
from readers import READERS

INPUTS = int(os.environ.get("FUZZ_INPUTS", "50"))


@pytest.mark.parametrize("name", READERS)
def test_a_reader_says_what_is_wrong_or_reads(name: str, tmp_path: Path) -> None:
    tally = Tally(name)
    run(tally, INPUTS, tmp_path, start=20)
    assert tally.tried >= INPUTS and tally.refused + tally.accepted == tally.tried
    assert tally.distinct > 10
