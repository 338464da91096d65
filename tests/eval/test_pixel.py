import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from skimage.metrics import structural_similarity

from eval.pixel import PSNR_CAP, hole_scores, l1, psnr, ssim


def image(value: int, side: int = 16) -> np.ndarray:
    return np.full((side, side, 3), value, np.uint8)


def noise(side: int = 32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def test_l1_by_hand():
    assert l1(image(0), image(255)) == 1
    assert l1(image(200), image(149)) == pytest.approx(51 / 255)
    assert l1(image(149), image(200)) == pytest.approx(51 / 255)


def test_psnr_by_hand():
    assert psnr(image(10), image(61)) == pytest.approx(20 * math.log10(5), abs=1e-5)
    assert psnr(image(0), image(255)) == pytest.approx(0, abs=1e-6)


def test_identical_images_have_the_best_scores_and_no_infinity():
    for value in (image(77), image(255), noise()):
        assert (l1(value, value), psnr(value, value), ssim(value, value)) == (0, PSNR_CAP, 1)


def test_in_a_hole_only_its_pixels_count():
    target, hole = image(100), np.zeros((16, 16), np.uint8)
    hole[4:8, 4:8] = 255
    wrong_outside = np.where(hole[..., None] == 0, 0, target).astype(np.uint8)
    assert hole_scores(wrong_outside, target, hole)[:2] == (0, PSNR_CAP)
    wrong_inside = np.where(hole[..., None] == 0, target, 151).astype(np.uint8)
    found = hole_scores(wrong_inside, target, hole)
    assert found[:2] == pytest.approx((51 / 255, 20 * math.log10(5)), abs=1e-5)
    assert hole_scores(target, target, hole) == (0, PSNR_CAP, 1)
    # A hole as large as the image is the whole image.
    photo, other, everywhere = noise(seed=1), noise(seed=2), np.ones((32, 32), np.uint8)
    whole = l1(photo, other), psnr(photo, other), ssim(photo, other)
    assert hole_scores(photo, other, everywhere) == pytest.approx(whole, abs=1e-6)


def test_ssim_of_flat_images_by_hand():
    # Without variance only the luminance term is left.
    a, b, c1 = 100 / 255, 150 / 255, 0.01**2
    expected = (2 * a * b + c1) / (a * a + b * b + c1)
    assert ssim(image(100), image(150)) == pytest.approx(expected, abs=2e-3)


def test_ssim_agrees_with_scikit_image_over_the_whole_frame():
    first = np.repeat(np.repeat(noise(24), 6, 0), 6, 1)
    second = np.clip(first + np.random.default_rng(1).normal(0, 20, first.shape), 0, 255)
    second = second.astype(np.uint8)
    # The two mirror the border by one pixel differently.
    _, everywhere = structural_similarity(
        first,
        second,
        data_range=255,
        channel_axis=-1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    assert ssim(first, second) == pytest.approx(everywhere.mean(), abs=5e-4)


def test_ssim_takes_images_of_its_window():
    assert ssim(image(1, 11), image(2, 11)) < 1


images = hnp.arrays(np.uint8, (11, 12, 3))


@settings(max_examples=20, deadline=None)
@given(images, images)
def test_all_are_symmetric_and_within_range(first, second):
    for measure, low, high in ((l1, 0, 1), (psnr, 0, PSNR_CAP), (ssim, -1, 1)):
        value = measure(first, second)
        assert low - 1e-6 <= value <= high + 1e-6
        assert value == pytest.approx(measure(second, first), abs=1e-5)


@pytest.mark.parametrize("value", [0, 100, 254])
def test_psnr_of_one_unit_everywhere(value):
    assert psnr(image(value), image(value + 1)) == pytest.approx(20 * math.log10(255), abs=1e-5)
