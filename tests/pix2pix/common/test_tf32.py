from itertools import product

import pytest
import torch

from pix2pix.common.tf32 import get_flags, set_flags, set_tf32

BACKENDS = torch.backends


@pytest.fixture(autouse=True)
def _as_it_was():
    before = get_flags()
    yield
    BACKENDS.fp32_precision = "none"
    set_flags(before)


@pytest.mark.parametrize("kinds", product(("tf32", "ieee", "none"), repeat=3))
def test_it_is_on_or_off_whatever_the_caller_had_set_and_that_comes_back(kinds):
    BACKENDS.cudnn.conv.fp32_precision, BACKENDS.cudnn.rnn.fp32_precision = kinds[:2]
    BACKENDS.cuda.matmul.fp32_precision = kinds[2]
    for on in (True, False):
        set_tf32(on)
        assert BACKENDS.cudnn.conv.fp32_precision == ("tf32" if on else "ieee")
        # torch's products raise where its two settings differ.
        assert BACKENDS.cuda.matmul.allow_tf32 == BACKENDS.cudnn.allow_tf32 == on
        set_flags(kinds)
        assert get_flags() == kinds
        assert BACKENDS.cuda.matmul.allow_tf32 == (kinds[2] == "tf32")


def test_off_does_not_follow_a_setting_for_everything():
    set_tf32(False)
    BACKENDS.fp32_precision = "tf32"
    convolutions, _, products = get_flags()
    assert (convolutions, products) == ("ieee", "ieee")
