"""Digits that do not say another thing than the numbers."""

from __future__ import annotations

import numpy as np

from reports.analysis.formatting import bounds, p_text, plain, shared_digits, signed


def test_what_is_shown_agrees_with_itself() -> None:
    assert shared_digits(0.8, 0.7, 3) == 3
    assert shared_digits(0.5041504, 0.5043335, 3) == 5  # 0.5042, 0.5043 are not 0.0002 apart
    assert shared_digits(0.5, 0.5, 3) == 3
    assert shared_digits(0.7452, 0.7448, 3) == shared_digits(0.7448, 0.7452, 3) == 4
    assert shared_digits(0.1 + 0.2, 0.3, 3) == 3  # apart by rounding alone
    assert bounds((0.00003, 0.026), 3) == ("+0.00003", "+0.02600")
    assert bounds((-0.0, 0.026), 3) == ("0.000", "+0.026")
    assert bounds((-0.00003, 1e-17), 3) == ("−0.00003", "0.00000")
    assert [plain(value, 3) for value in (-0.0001, -0.041)] == ["0.000", "−0.041"]
    assert [signed(value, 1) for value in (-0.04, 0.04, -0.06)] == ["0.0", "0.0", "−0.1"]
    told = ["0.04999", "0.0500", "0.0497", "0.0503", "0.056", "0.3125", "0.125"]
    assert [p_text(float(p)) for p in told] == told
    rng = np.random.default_rng(0)
    for size in 10.0 ** rng.uniform(-6, -2, 500):
        first = rng.uniform(0.3, 0.9)
        for second in (first - size, first + size):
            digits = shared_digits(first, second, 3)
            assert f"{first:.{digits}f}" != f"{second:.{digits}f}"
            assert (signed(first - second, digits)[0] == "+") == (first > second)
    assert [p_text(p) for p in (0.00001, 0.0079, 0.0625, 1.0)] == [
        "< 0.0001", "0.0079", "0.0625", "1.000",
    ]  # fmt: skip
