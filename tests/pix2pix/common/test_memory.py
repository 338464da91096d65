import re

import pytest
import torch

from pix2pix.common.memory import no_engine, out_of_memory, shortage

CPU = torch.device("cpu")


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
