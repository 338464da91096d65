import re

import pytest
import torch

from pix2pix.common.memory import no_engine, out_of_memory, peak_memory_mib, shortage

CPU = torch.device("cpu")


def test_a_shortage_of_memory_names_what_was_held_and_asked_for():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**46, dtype=torch.uint8)  # 64 TiB
    assert out_of_memory(caught.value)
    message = shortage(caught.value, CPU)
    assert re.match(
        r"memory ran out: it had held up to [\d,]+ MiB and asked for 67,108,864", message
    )
    assert "--workers" in message


def test_an_error_of_the_gpu_names_what_was_free():
    error = torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.15 GiB "
        "of which 5.44 MiB is free. Process 12 has 79.14 GiB memory in use."
    )
    assert out_of_memory(error)
    message = shortage(error, CPU)
    assert message.startswith("the GPU's memory ran out")
    assert "asked for 2.00 GiB more; 5.44 MiB of 79.15 GiB were free" in message


def test_cudnn_without_an_engine_may_lack_memory_or_be_another():
    """A capture that meets it falls back to single steps, which may work."""
    error = RuntimeError("GET was unable to find an engine to execute this computation")
    assert not out_of_memory(error)
    message = no_engine(error)
    assert message.startswith("cuDNN: GET was unable to find an engine to execute this computation")
    assert "memory" in message and torch.__version__ in message


def test_other_errors_are_no_shortage():
    assert out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"))
    other = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    assert not out_of_memory(other) and no_engine(other) is None


def test_the_peak_is_in_mebibytes():
    """Python with torch: more than 50 MiB, less than 100 GiB."""
    assert 50 < peak_memory_mib(CPU) < 100 * 2**10
