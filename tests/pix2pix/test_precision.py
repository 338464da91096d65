import re

import pytest
import torch

from pix2pix.common.errors import UserError
from pix2pix.common.memory import no_engine, out_of_memory, shortage
from pix2pix.precision import check, lacking, multiplying_in

CPU = torch.device("cpu")


def test_the_cpu_has_no_tf32_and_the_message_says_what_it_has():
    with pytest.raises(UserError, match=r"training\.precision tf32: .*use float32 or bfloat16$"):
        check("tf32", CPU)
    assert not lacking("float32", CPU)
    assert not lacking("bfloat16", CPU)


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
    with multiplying_in("tf32"):
        assert all(flag.allow_tf32 for flag in flags)
    assert not any(flag.allow_tf32 for flag in flags)
    with pytest.raises(KeyError), multiplying_in("tf32"):
        raise KeyError
    assert not any(flag.allow_tf32 for flag in flags)


def test_a_shortage_of_memory_names_what_was_held_and_asked_for():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**46, dtype=torch.uint8)  # 64 TiB
    assert out_of_memory(caught.value)
    told = shortage(caught.value, CPU)
    assert re.match(r"memory ran out: it had held up to [\d,]+ MiB and asked for 67,108,864", told)
    assert "--workers" in told


def test_a_gpus_own_words_are_understood():
    said = torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.15 GiB "
        "of which 5.44 MiB is free. Process 12 has 79.14 GiB memory in use."
    )
    assert out_of_memory(said)
    told = shortage(said, CPU)
    assert told.startswith("the GPU's memory ran out")
    assert "asked for 2.00 GiB more; 5.44 MiB of 79.15 GiB were free" in told


def test_cudnn_without_an_engine_may_lack_memory_or_be_another():
    """So a capture that meets it is given up for steps one by one, which may do without."""
    said = RuntimeError("GET was unable to find an engine to execute this computation")
    assert not out_of_memory(said)
    told = no_engine(said)
    assert told.startswith("cuDNN: GET was unable to find an engine to execute this computation")
    assert "memory" in told and torch.__version__ in told


def test_other_errors_are_no_shortage():
    assert out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"))
    other = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    assert not out_of_memory(other) and no_engine(other) is None
