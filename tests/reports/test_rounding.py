"""Digits that do not say another thing than the numbers."""

from __future__ import annotations

from reports.rounding import bounds, p_text, shared_digits, signed


def test_what_is_shown_agrees_with_itself() -> None:
    assert shared_digits(0.8, 0.7, 3) == 3
    assert shared_digits(0.5041504, 0.5043335, 3) == 5  # 0.5042, 0.5043 are not 0.0002 apart
    assert shared_digits(0.5, 0.5, 3) == 3
    assert bounds((0.00003, 0.026), 3) == ("+0.00003", "+0.02600")
    assert bounds((-0.0, 0.026), 3) == ("0.000", "+0.026")
    assert [signed(value, 1) for value in (-0.04, 0.04, -0.06)] == ["0.0", "0.0", "−0.1"]
    told = {0.0497: "0.0497", 0.0503: "0.0503", 0.056: "0.056", 0.3125: "0.3125", 0.125: "0.125"}
    assert {p: p_text(p) for p in told} == told
    assert [p_text(p) for p in (0.00001, 0.0079, 0.0625, 1.0)] == [
        "< 0.0001", "0.0079", "0.0625", "1.000",
    ]  # fmt: skip
