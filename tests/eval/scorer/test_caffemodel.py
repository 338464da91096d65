import hashlib
import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eval.scorer.caffemodel import read_caffemodel
from pix2pix.common.errors import ScoringError

WEIGHTS = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2) / 7 - 1
BIAS = np.array([0.5, -3e-20], np.float32)


@pytest.mark.parametrize(
    ("generation", "shape", "data"),
    itertools.product(("V1", "V2"), ("new", "legacy"), ("packed", "unpacked", "double")),
)
def test_reads_every_generation_of_layers_and_blobs(caffe, tmp_path, generation, shape, data):
    layers = [
        ("data", "Data", []),
        ("a", "Convolution", [WEIGHTS, BIAS]),
        ("b", "Deconvolution", [WEIGHTS]),
        ("c", "InnerProduct", [WEIGHTS.reshape(2, 12), BIAS]),
    ]
    file = caffe.write(
        tmp_path / "net.caffemodel", layers, generation=generation, shape=shape, data=data
    )
    got = read_caffemodel(file)
    assert [layer.name for layer in got.layers] == ["data", "a", "b", "c"]
    assert [layer.type for layer in got.layers[1:]] == [kind for _, kind, _ in layers[1:]]
    for layer, (_, _, blobs) in zip(got.layers, layers, strict=True):
        for values, written in zip(layer.blobs, blobs, strict=True):
            ones = (1,) * (4 - written.ndim) if shape == "legacy" else ()
            assert values.dtype == np.float32 and values.shape == ones + written.shape
            assert np.array_equal(values.ravel(), written.ravel())


def test_names_the_files_hash_and_size(caffe, tmp_path):
    file = caffe.write(tmp_path / "net", [("a", "Convolution", [BIAS])])
    got = read_caffemodel(file)
    assert got.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert got.size == file.stat().st_size


def test_packed_numbers_may_come_in_pieces(caffe, tmp_path):
    shape = caffe.piece(7, caffe.piece(1, caffe.varint(2) + caffe.varint(1)))
    pieces = b"".join(caffe.piece(5, value.tobytes()) for value in BIAS)
    layer = caffe.piece(100, caffe.piece(1, b"a") + caffe.piece(7, pieces + shape))
    (tmp_path / "net").write_bytes(layer)
    (got,) = read_caffemodel(tmp_path / "net").layers
    assert got.blobs[0].tolist() == BIAS[:, None].tolist()


def test_a_layer_of_old_type_without_a_name_here_says_its_number(caffe, tmp_path):
    file = caffe.write(tmp_path / "net", [("a", "ReLU", [])], generation="V1")
    assert read_caffemodel(file).layers[0].type == "V1 type 18"


def refusal(path):
    with pytest.raises(ScoringError) as refused:
        read_caffemodel(path)
    message = str(refused.value)
    assert message.startswith(str(path)) and "\n" not in message
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    "content",
    [
        b"<!DOCTYPE html><html><title>404 Not Found</title>",
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
        b"PK\x03\x04archive/data.pkl",
        b"version https://git-lfs.github.com/spec/v1\n",
        b"\x80\x02}q\x00.",
        bytes(1000),
    ],
)
def test_a_foreign_file_is_refused(tmp_path, content):
    (tmp_path / "net").write_bytes(content)
    assert "no caffemodel" in refusal(tmp_path / "net")


def test_missing_empty_and_large_files_are_refused(tmp_path):
    assert refusal(tmp_path / "net") == "no such file (a caffemodel)"
    assert "no such file" in refusal(tmp_path)
    (tmp_path / "empty").touch()
    assert refusal(tmp_path / "empty") == "no caffemodel: it holds no layer"
    with open(tmp_path / "large", "wb") as file:
        file.truncate((1 << 30) + 1)  # a hole: nothing is on the disk
    assert "1024 MiB is too large for a caffemodel" in refusal(tmp_path / "large")


def test_every_truncation_is_refused_or_loses_whole_layers(caffe, tmp_path):
    layers = [("a", "Convolution", [WEIGHTS, BIAS]), ("b", "Deconvolution", [WEIGHTS])]
    whole = caffe.write(tmp_path / "whole", layers).read_bytes()
    ends = {len(whole) - len(caffe.layer(*layers[1])): 1}  # a clean end after the first layer
    cut = tmp_path / "cut"
    for end in range(len(whole)):
        cut.write_bytes(whole[:end])
        if end in ends:
            assert len(read_caffemodel(cut).layers) == ends[end]
        else:
            refusal(cut)


def test_no_axis_is_longer_than_the_data(caffe, tmp_path):
    """Also beside a 0, where the product says nothing."""
    dims = caffe.piece(7, caffe.piece(1, caffe.varint(0) + caffe.varint(2**62)))
    layer = caffe.piece(100, caffe.piece(1, b"a") + caffe.piece(7, dims))
    path = tmp_path / "net.caffemodel"
    path.write_bytes(layer)
    with pytest.raises(ScoringError, match="layer 'a': a blob of shape 0x4611686018427387904"):
        read_caffemodel(path)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 9), "damaged: layer 'a': a blob of shape 3x9 holds 24 values"),
        ((2**40, 2**40), "a blob of shape 1099511627776x1099511627776 holds 24 values"),
        ((-24, -1), "a blob of shape -24x-1 holds 24 values"),
        ((1,) * 40 + (24,), "holds 24 values"),
        ((), "a blob of shape a single number holds 24 values"),
    ],
)
def test_a_shape_that_the_data_do_not_fill_is_refused(caffe, tmp_path, shape, message):
    dims = caffe.piece(7, caffe.piece(1, b"".join(map(caffe.varint, shape))))
    one = caffe.piece(5, WEIGHTS.tobytes()) + dims
    (tmp_path / "net").write_bytes(caffe.piece(100, caffe.piece(1, b"a") + caffe.piece(7, one)))
    assert message in refusal(tmp_path / "net")


@pytest.mark.parametrize(
    ("value", "data"), [(np.nan, "packed"), (np.inf, "packed"), (1e300, "double")]
)
def test_values_that_are_not_finite_in_single_precision_are_refused(caffe, tmp_path, value, data):
    layers = [("a", "Convolution", [np.array([1.0, value])])]
    file = caffe.write(tmp_path / "net", layers, data=data)
    assert refusal(file) == "damaged: layer 'a' holds values that are not finite"


READ_WITHOUT_MEMORY = """
import pathlib, resource, sys
from eval.scorer.caffemodel import read_caffemodel
from pix2pix.common.errors import ScoringError
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20),) * 2)
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    try:
        read_caffemodel(path)
        print(path.name, "was read")
    except ScoringError as error:
        assert "damaged" in str(error)
"""


def test_a_hostile_length_allocates_nothing(caffe, tmp_path):
    contents = []
    for length in (2**27, 2**31 - 1, 2**40, 2**63 - 1):
        promise = caffe.varint(length) + b"abc"
        for field, blobs in ((2, 6), (100, 7)):
            data, dims = (
                caffe.varint(5 << 3 | 2),
                caffe.piece(7, caffe.varint(1 << 3 | 2) + promise),
            )
            contents += [
                caffe.varint(field << 3 | 2) + promise,
                caffe.piece(field, caffe.varint(blobs << 3 | 2) + promise),
                caffe.piece(field, caffe.piece(blobs, data + promise)),
                caffe.piece(field, caffe.piece(blobs, dims)),
            ]
    for i, content in enumerate(contents):
        (tmp_path / f"{i:02}").write_bytes(content)
    code = [sys.executable, "-c", READ_WITHOUT_MEMORY, str(tmp_path)]
    done = subprocess.run(code, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_masses_of_tiny_layers_or_blobs_are_refused(caffe, tmp_path):
    (tmp_path / "net").write_bytes(caffe.piece(100, b"") * 5000)
    assert refusal(tmp_path / "net") == "no caffemodel of this kind: 5000 layers"
    many = caffe.piece(1, b"a") + caffe.piece(7, b"") * 5000
    (tmp_path / "net").write_bytes(caffe.piece(100, many))
    assert refusal(tmp_path / "net") == "damaged: layer 'a' has 5000 blobs"


def test_a_name_that_is_no_text_does_not_stop_the_reader(caffe, tmp_path):
    (tmp_path / "net").write_bytes(caffe.piece(100, caffe.piece(1, b"\xff\xfe")))
    assert read_caffemodel(tmp_path / "net").layers[0].name == "\ufffd\ufffd"


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    position=st.integers(0, 10**6), value=st.integers(0, 255), data=st.sampled_from(["V1", "V2"])
)
def test_an_altered_byte_never_ends_in_a_traceback(caffe, tmp_path, position, value, data):
    layers = [("a", "Convolution", [WEIGHTS, BIAS]), ("b", "Deconvolution", [WEIGHTS])]
    content = bytearray(caffe.write(tmp_path / "net", layers, generation=data).read_bytes())
    content[position % len(content)] = value
    (tmp_path / "net").write_bytes(content)
    try:
        read_caffemodel(tmp_path / "net")
    except ScoringError as error:
        assert "\n" not in str(error)
