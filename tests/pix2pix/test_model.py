import pytest
import torch

from pix2pix.common.errors import UserError
from pix2pix.model import arithmetic, check_precision, precision_problem

CPU = torch.device("cpu")


def test_the_cpu_has_no_tf32_and_the_message_says_what_it_has():
    with pytest.raises(UserError, match=r"training\.precision tf32: .*use float32 or bfloat16$"):
        check_precision("tf32", CPU)
    assert not precision_problem("float32", CPU)
    assert not precision_problem("bfloat16", CPU)


@pytest.fixture
def flags():
    """Of cuDNN and of matrix products, both off."""
    both = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [flag.allow_tf32 for flag in both]
    for flag in both:
        flag.allow_tf32 = False
    yield both
    for flag, value in zip(both, before, strict=True):
        flag.allow_tf32 = value


def test_tf32_is_on_for_the_time_of_a_training_only(flags):
    with arithmetic("tf32"):
        assert all(flag.allow_tf32 for flag in flags)
    assert not any(flag.allow_tf32 for flag in flags)
    with pytest.raises(KeyError), arithmetic("tf32"):
        raise KeyError
    assert not any(flag.allow_tf32 for flag in flags)
