import numpy as np
import pytest

from eval.diversity import NoiseVariance, mean_distance


def image(value):
    return np.full((4, 5, 3), value, np.uint8)


def test_the_mean_distance_is_over_all_pairs_of_draws():
    draws = np.stack([image(0), image(10), image(40)])

    def distance(first, second):
        return np.abs(first.astype(float) - second).mean((1, 2, 3))

    assert mean_distance(draws, distance) == pytest.approx((10 + 40 + 30) / 3)


def share(*inputs):
    variance = NoiseVariance()
    for draws in inputs:
        variance.add(np.stack([image(value) for value in draws]))
    return variance.share()


def test_noises_share_of_variance_by_hand():
    assert share((10, 10), (50, 50)) == 0, "noise that is ignored"
    assert share((10, 50), (10, 50)) == 1, "an input that is ignored"
    # Within: 200. Means 20 and 60: variance 800, of which 200 / 2 is the noise's.
    assert share((10, 30), (50, 70)) == pytest.approx(200 / (200 + 700))


def test_what_has_no_share_is_said():
    with pytest.raises(ValueError, match="one input"):
        share((10, 20))
    with pytest.raises(ValueError, match="one image"):
        share((10, 10), (10, 10))
