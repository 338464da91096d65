import numpy as np
import pytest

from reports.statistics import t_interval


def test_three_seeds_by_hand() -> None:
    # mean 0.83, s = sqrt((0.03² + 0.01² + 0.04²) / 2) = 0.036056, t(2) = 4.302653
    interval = t_interval([0.80, 0.82, 0.87])
    assert interval.mean == pytest.approx(0.83)
    assert interval.half_width == pytest.approx(4.302653 * 0.036055513 / np.sqrt(3), rel=1e-6)
    assert interval.n == 3


def test_one_seed_has_no_interval() -> None:
    interval = t_interval([0.4])
    assert (interval.mean, interval.half_width, interval.n) == (0.4, None, 1)


@pytest.mark.parametrize("values", [[], [0.1, float("nan")]])
def test_nothing_is_averaged_over_silently(values: list[float]) -> None:
    with pytest.raises(ValueError, match="one finite number a seed"):
        t_interval(values)
