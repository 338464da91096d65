"""Passes that repeat while a suite runs."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PASSES = """
import sys
from pathlib import Path
from experiments.tracking.follow import follow

def one_pass():
    if first.exists():
        Path(sys.argv[2]).touch()
        return
    first.touch()
    raise RuntimeError("away")

first = Path(sys.argv[1])
sys.exit(follow(one_pass, 600))
"""


def test_a_last_pass_is_done_where_nobody_listens_any_more(tmp_path: Path) -> None:
    first, later = tmp_path / "first", tmp_path / "later"
    process = subprocess.Popen(
        [sys.executable, "-c", PASSES, str(first), str(later)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdin is not None and process.stderr is not None
    process.stderr.close()  # as a launcher that was killed leaves it
    began = time.monotonic()
    while not first.exists() and time.monotonic() - began < 60:
        time.sleep(0.02)
    process.stdin.close()
    process.wait(timeout=60)
    assert later.exists()
