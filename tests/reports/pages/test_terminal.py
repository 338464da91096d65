"""What the first command prints at its end."""

from __future__ import annotations

from suites import PIXEL, arms, suite

from reports.pages.content import gather
from reports.pages.terminal import needs_more_seeds, terminal_page

CLAIM = f"70x70 > 1x1 on {PIXEL}"


def test_one_seed_is_said_once_to_decide_nothing():
    report = gather(suite(*arms({"70x70": [0.8], "1x1": [0.7]}), claims=[CLAIM]))
    text = terminal_page(report)
    assert text.count("One seed per arm decides nothing") == 1 and "undecided" not in text
    assert "| 70x70 " in text and "70x70 > 1x1 on FCN per-pixel acc.  +0.100" in text
    assert needs_more_seeds(report)


def test_with_five_seeds_each_claim_is_one_line_with_its_verdict_and_interval():
    high, low = [0.80, 0.81, 0.82, 0.83, 0.84], [0.70, 0.71, 0.73, 0.72, 0.74]
    report = gather(suite(*arms({"70x70": high, "1x1": low}), claims=[CLAIM]))
    (line,) = [line for line in terminal_page(report).splitlines() if " > " in line]
    assert line.startswith("reproduced") and " to +" in line and line.endswith("n = 5")
    assert not needs_more_seeds(report)


def test_a_failed_cell_is_named():
    runs = arms({"70x70": [0.8, 0.8], "1x1": [0.7]})
    failed = arms({"1x1": [0.7]}, first_seed=2)[0]
    failed = type(failed)(failed.arm, failed.seed, failed.digest, status="failed", scores={})
    assert "failed" in terminal_page(gather(suite(*runs, failed)))
