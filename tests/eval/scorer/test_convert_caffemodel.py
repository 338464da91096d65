import hashlib

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.signal import correlate
from torch import nn

from eval.scorer import cityscapes
from eval.scorer.convert_caffemodel import fcn8s_from_caffe, main, read_caffemodel
from eval.scorer.file import load_scorer
from pix2pix.common.errors import UserError


def network(file, classes=20):
    return fcn8s_from_caffe(read_caffemodel(file)[0], file, width=1, classes=classes)


# Caffe's layers, from their definitions, in double precision; (C, H, W) in and out.


def convolve(features, weights, bias, pad=0):
    features = np.pad(features, ((0, 0), (pad, pad), (pad, pad)))
    maps = [correlate(features, kernel, "valid", "direct")[0] for kernel in weights.astype(float)]
    return np.stack(maps) + bias[:, None, None]


def pool(features):
    """2x2 maxima, stride 2; the last window may hang over the edge (Caffe rounds sizes up)."""
    _, height, width = features.shape
    pooled = np.empty((len(features), -(-height // 2), -(-width // 2)))
    for row in range(pooled.shape[1]):
        for column in range(pooled.shape[2]):
            window = features[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            pooled[:, row, column] = window.max((1, 2))
    return pooled


def deconvolve(scores, weights, stride):
    """Every input pixel stamps its weighted kernels onto the output. weights: (in, out, k, k)."""
    kernel = weights.shape[-1]
    _, height, width = scores.shape
    stamped = np.zeros(
        (weights.shape[1], (height - 1) * stride + kernel, (width - 1) * stride + kernel)
    )
    for row in range(height):
        for column in range(width):
            stamp = np.tensordot(scores[:, row, column], weights.astype(float), 1)
            rows, columns = row * stride, column * stride
            stamped[:, rows : rows + kernel, columns : columns + kernel] += stamp
    return stamped


def cropped(scores, offset, like):
    return scores[:, offset : offset + like.shape[1], offset : offset + like.shape[2]]


def deploy_prototxt(image, layers):
    """Every layer's output before its ReLU, in the order of the published deploy.prototxt."""
    blobs = {name: values for name, _, values in layers if values}
    tops, features = {}, image
    for stage, count in enumerate((2, 2, 3, 3, 3), start=1):
        for i in range(1, count + 1):
            pad = 100 if (stage, i) == (1, 1) else 1
            tops[f"conv{stage}_{i}"] = convolve(features, *blobs[f"conv{stage}_{i}"], pad)
            features = np.maximum(tops[f"conv{stage}_{i}"], 0)
        features = tops[f"pool{stage}"] = pool(features)
    for name in ("fc6_cs", "fc7_cs"):
        tops[name] = convolve(features, *blobs[name])
        features = np.maximum(tops[name], 0)
    tops["score_fr"] = convolve(features, *blobs["score_fr"])
    tops["upscore2"] = deconvolve(tops["score_fr"], *blobs["upscore2"], 2)
    tops["score_pool4"] = convolve(tops["pool4"], *blobs["score_pool4"])
    fused = tops["upscore2"] + cropped(tops["score_pool4"], 5, tops["upscore2"])
    tops["upscore_pool4"] = deconvolve(fused, *blobs["upscore_pool4"], 2)
    tops["score_pool3"] = convolve(tops["pool3"], *blobs["score_pool3"])
    fused = tops["upscore_pool4"] + cropped(tops["score_pool3"], 9, tops["upscore_pool4"])
    tops["upscore8"] = deconvolve(fused, *blobs["upscore8"], 8)
    tops["score"] = cropped(tops["upscore8"], 31, image)
    return tops


def outputs_by_layer(model, image):
    """What the PyTorch network's modules give, under the deploy.prototxt's names."""
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    pools = [m for m in model.modules() if isinstance(m, nn.MaxPool2d)]
    convs = [f"conv{s}_{i}" for s, n in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, n + 1)]
    convs += ["fc6_cs", "fc7_cs", "score_fr", "score_pool4", "score_pool3"]
    named = dict(zip(convs, convolutions, strict=True))
    named |= {f"pool{stage}": module for stage, module in enumerate(pools, start=1)}
    named |= {name: getattr(model, name) for name in ("upscore2", "upscore_pool4", "upscore8")}
    named |= {"score": model}
    tops = {}
    for name, module in named.items():
        module.register_forward_hook(
            lambda _module, _inputs, output, name=name: tops.update({name: output[0].clone()})
        )
    with torch.inference_mode():
        model(torch.from_numpy(image)[None])
    return {name: top.numpy() for name, top in tops.items()}


@pytest.mark.parametrize("size", [(37, 70), (1, 45)])
def test_every_layer_computes_what_the_prototxt_defines(caffe, tmp_path, size):
    layers = caffe.published_layers(classes=20)
    model = network(caffe.write(tmp_path / "net", layers)).double()
    image = np.random.default_rng(1).normal(0, 50, (3, *size))
    expected, got = deploy_prototxt(image, layers), outputs_by_layer(model, image)
    assert expected.keys() == got.keys()
    for name, values in expected.items():
        assert got[name].shape == values.shape, name
        assert abs(values).max() > 0.1, f"{name}: nothing to compare"
        difference = abs(got[name] - values).max() / abs(values).max()
        assert difference < 1e-11, f"{name}: {difference}"
    assert got["score"].shape == (20, *size)


def changed(layers, wanted, /, **change):
    """The layers with one of them renamed, of another type, with other blobs, or left out."""
    for layer in layers:
        if layer[0] != wanted:
            yield layer
        elif change:
            kept = dict(zip(("name", "type", "blobs"), layer, strict=True))
            kept["blobs"] = change.pop("edit", lambda blobs: blobs)(kept["blobs"])
            yield tuple((kept | change).values())


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("score_fr", {}, "not the published FCN-8s: missing or extra layers: score_fr"),
        ("conv1_1", {"name": "conv1"}, "missing or extra layers: conv1, conv1_1"),
        ("relu1_1", {"name": "fc8", "type": "Convolution", "blobs": [np.ones(1)]},
         "missing or extra layers: fc8"),
        ("conv3_2", {"edit": lambda b: [b[0][:, :, :1], b[1]]},
         "layer conv3_2: must have weights of 4x4x3x3 and 4 (got 4x4x1x3 and 4)"),
        ("conv3_2", {"edit": lambda b: [b[0], b[1][:3]]},
         "layer conv3_2: must have weights of 4x4x3x3 and 4 (got 4x4x3x3 and 3)"),
        ("conv3_2", {"edit": lambda b: b[:1]},
         "layer conv3_2: must have weights of 4x4x3x3 and 4 (got 4x4x3x3)"),
        ("score_fr", {"edit": lambda b: [b[0][:1], b[1][:1]]},
         "layer score_fr: must have weights of 2x64x1x1 and 2 (got 1x64x1x1 and 1)"),
        ("upscore8", {"edit": lambda b: [b[0][:, :1]]},
         "layer upscore8: must have weights of 2x2x16x16 (got 2x1x16x16)"),
        ("upscore8", {"edit": lambda b: [b[0], b[0][0, 0, 0, :2]]},
         "layer upscore8: must have weights of 2x2x16x16 (got 2x2x16x16 and 2)"),
        ("upscore8", {"type": "Convolution"},
         "layer upscore8: must be Deconvolution (got Convolution)"),
        ("conv1_2", {"type": ""}, "layer conv1_2: must be Convolution (got no type)"),
    ],
)  # fmt: skip
def test_a_layer_that_differs_is_named(caffe, tmp_path, name, change, message):
    layers = changed(caffe.published_layers(classes=2), name, **change)
    file = caffe.write(tmp_path / "net", layers)
    with pytest.raises(UserError) as refused:
        network(file, 2)
    assert str(refused.value).startswith(f"{file}: ") and str(refused.value).endswith(message)


def test_the_command_refuses_in_one_line_and_writes_nothing(caffe, tmp_path, capsys):
    file = caffe.write(tmp_path / "net", caffe.published_layers())
    out = tmp_path / "scorer.safetensors"
    for arguments, message in (
        (
            [file, "--out", out],
            "layer conv1_1: must have weights of 64x3x3x3 and 64",
        ),
        ([tmp_path / "no", "--out", out], "no such file"),
        ([file, "--out", file], "must be the name of a new file"),
        ([file, "--out", tmp_path], "must be the name of a new file"),
    ):
        assert main([str(argument) for argument in arguments]) == 2
        printed, complaint = capsys.readouterr()
        assert not printed and complaint.count("\n") == 1
        assert complaint.startswith("error: ") and message in complaint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net"]


def test_the_command_writes_a_scorer_that_names_its_source(caffe, tmp_path, capsys, monkeypatch):
    # At full width the file has 513 MiB: benchmarks/published_scorer.py does that.
    monkeypatch.setattr(cityscapes, "WIDTH", 1)
    file = caffe.write(tmp_path / "fcn-8s.caffemodel", caffe.published_layers())
    out = tmp_path / "new" / "scorer.safetensors"
    assert main([str(file), "--out", str(out)]) == 0
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    model, record = load_scorer(out)
    assert record["source"] == {"caffemodel_sha256": sha256, "file": "fcn-8s.caffemodel"}
    assert record["class_names"][:2] == ["road", "sidewalk"] and len(record["class_names"]) == 20
    assert all(torch.equal(value, network(file).state_dict()[name])
               for name, value in model.state_dict().items())  # fmt: skip
    printed = capsys.readouterr().out
    weights = sum(parameter.numel() for parameter in model.parameters())
    assert sha256 in printed and f"21 layers with {weights:,} weights" in printed
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_a_folder_that_cannot_be_written_is_one_line(caffe, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cityscapes, "WIDTH", 1)
    file = caffe.write(tmp_path / "net", caffe.published_layers())
    assert main([str(file), "--out", str(file / "scorer.safetensors")]) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith(f"error: {file}") and complaint.count("\n") == 1


WEIGHTS = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2) / 7 - 1
BIAS = np.array([0.5, -3e-20], np.float32)


def test_reads_names_types_and_blobs(caffe, tmp_path):
    layers = [
        ("data", "Data", []),
        ("a", "Convolution", [WEIGHTS, BIAS]),
        ("b", "Deconvolution", [WEIGHTS]),
    ]
    got, _ = read_caffemodel(caffe.write(tmp_path / "net.caffemodel", layers))
    assert [(layer.name, layer.type) for layer in got] == [one[:2] for one in layers]
    for layer, (_, _, blobs) in zip(got, layers, strict=True):
        for values, written in zip(layer.blobs, blobs, strict=True):
            assert values.dtype == np.float32 and np.array_equal(values, written)


def test_a_file_of_the_first_generation_is_refused_with_the_tool_that_converts_it(caffe, tmp_path):
    layer = caffe.piece(2, caffe.piece(4, b"a") + caffe.number(5, 4))  # V1LayerParameter
    (tmp_path / "net").write_bytes(caffe.piece(1, b"FCN-8s") + layer)
    assert "upgrade_net_proto_binary" in refusal(tmp_path / "net")


def refusal(path):
    with pytest.raises(UserError) as refused:
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
    assert "not a caffemodel" in refusal(tmp_path / "net")


def test_missing_empty_and_large_files_are_refused(tmp_path):
    assert refusal(tmp_path / "net") == "no such file (a caffemodel)"
    assert "no such file" in refusal(tmp_path)
    (tmp_path / "empty").touch()
    assert "not a caffemodel: it holds no layer" in refusal(tmp_path / "empty")
    with open(tmp_path / "large", "wb") as file:
        file.truncate((1 << 30) + 1)  # a hole: nothing is on the disk
    assert "1024 MiB is too large for an FCN-8s" in refusal(tmp_path / "large")


def test_every_truncation_is_refused_or_loses_whole_layers(caffe, tmp_path):
    layers = [("a", "Convolution", [WEIGHTS, BIAS]), ("b", "Deconvolution", [WEIGHTS])]
    whole = caffe.write(tmp_path / "whole", layers).read_bytes()
    ends = {len(whole) - len(caffe.layer(*layers[1])): 1}  # a clean end after the first layer
    cut = tmp_path / "cut"
    for end in range(len(whole)):
        cut.write_bytes(whole[:end])
        if end in ends:
            assert len(read_caffemodel(cut)[0]) == ends[end]
        else:
            refusal(cut)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 9), "damaged: layer 'a': a blob of 3x9 holds 96 bytes"),
        ((2**40, 2**40), "a blob of 1099511627776x1099511627776 holds 96 bytes"),
        ((-24, -1), "a blob of -24x-1 holds 96 bytes"),
        ((0, 2**62), "a blob of 0x4611686018427387904 holds 96 bytes"),
        ((), "a blob of no shape holds 96 bytes"),
    ],
)
def test_a_shape_that_the_data_do_not_fill_is_refused(caffe, tmp_path, shape, message):
    dims = caffe.piece(7, caffe.piece(1, b"".join(map(caffe.varint, shape))))
    one = caffe.piece(5, WEIGHTS.tobytes()) + dims
    (tmp_path / "net").write_bytes(caffe.piece(100, caffe.piece(1, b"a") + caffe.piece(7, one)))
    assert message in refusal(tmp_path / "net")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(caffe, tmp_path, value):
    file = caffe.write(tmp_path / "net", [("a", "Convolution", [np.array([1.0, value])])])
    assert refusal(file) == "damaged: layer 'a' holds values that are not finite"


def test_a_name_that_is_no_text_does_not_stop_the_reader(caffe, tmp_path):
    (tmp_path / "net").write_bytes(caffe.piece(100, caffe.piece(1, b"\xff\xfe")))
    assert read_caffemodel(tmp_path / "net")[0][0].name == "\ufffd\ufffd"


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 10**6), value=st.integers(0, 255))
def test_an_altered_byte_never_ends_in_a_traceback(caffe, tmp_path, position, value):
    layers = [("a", "Convolution", [WEIGHTS, BIAS]), ("b", "Deconvolution", [WEIGHTS])]
    content = bytearray(caffe.write(tmp_path / "net", layers).read_bytes())
    content[position % len(content)] = value
    (tmp_path / "net").write_bytes(content)
    try:
        read_caffemodel(tmp_path / "net")
    except UserError as error:
        assert "\n" not in str(error)
