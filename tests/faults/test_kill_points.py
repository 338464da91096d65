"""Killed anywhere, continued exactly: promise 1 of docs/reliability.md."""

from __future__ import annotations

import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed

import pytest
from fault_points import POINTS, Point, chain

SEED = int(os.environ.get("FAULTS_SEED", "1"))
CHAIN = 8
"""Points of one study; more save nothing, because every start costs the same."""
AT_ONCE = int(os.environ.get("FAULTS_AT_ONCE", "1"))


def _say_how_far(struck: list[Point], seconds: float, capsys: pytest.CaptureFixture[str]) -> None:
    """A long run's count, at once: hours lie before its end."""
    wrong = [str(point) for point in struck if point.wrong]
    with capsys.disabled():
        print(f"{len(struck)} of {POINTS} points, {len(wrong)} wrong, {seconds / 60:.0f} min")
        print(*wrong, sep="\n", end="\n" * bool(wrong), flush=True)


@pytest.mark.slow
def test_killed_anywhere_and_continued_exactly(whole, store, tmp_path, figures, capsys):
    began, struck, number = time.monotonic(), [], 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while len(struck) < POINTS:
            left = POINTS - len(struck)
            sizes = [CHAIN] * (left // CHAIN) + [left % CHAIN] * (left % CHAIN > 0)
            runs = [
                pool.submit(chain, tmp_path / f"{n}", store, whole, SEED * 10_000 + n, size)
                for n, size in enumerate(sizes, number)
            ]
            number += len(sizes)
            for run in as_completed(runs):
                struck += run.result()
                if POINTS >= 50:
                    _say_how_far(struck, time.monotonic() - began, capsys)
    wrong = [str(point) for point in struck if point.wrong]
    seconds = time.monotonic() - began
    figures.append(
        f"kill points: {len(struck) - len(wrong)} of {len(struck)} continued bit for bit "
        f"(seed {SEED}, {number} studies, {seconds / len(struck):.1f} s a point); "
        f"by phase {dict(Counter(p.phase for p in struck))}, "
        f"by kind {dict(Counter(p.how for p in struck))}"
    )
    assert not wrong, "\n".join(wrong)
