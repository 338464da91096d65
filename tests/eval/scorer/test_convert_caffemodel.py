import hashlib

import numpy as np
import pytest
import torch
from scipy.signal import correlate
from torch import nn

from eval.scorer import cityscapes
from eval.scorer.caffemodel import read_caffemodel
from eval.scorer.convert_caffemodel import fcn8s_from_caffe, main
from eval.scorer.file import load_scorer
from pix2pix.common.errors import ScoringError


def network(file, classes=20):
    return fcn8s_from_caffe(read_caffemodel(file), file, width=1, classes=classes)


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


@pytest.mark.parametrize(
    ("size", "formats"),
    [
        ((37, 70), {}),
        ((1, 45), {"generation": "V1", "shape": "legacy"}),
    ],
)
def test_every_layer_computes_what_the_prototxt_defines(caffe, tmp_path, size, formats):
    layers = caffe.published_layers(classes=20)
    model = network(caffe.write(tmp_path / "net", layers, **formats)).double()
    image = np.random.default_rng(1).normal(0, 50, (3, *size))
    expected, got = deploy_prototxt(image, layers), outputs_by_layer(model, image)
    assert expected.keys() == got.keys()
    for name, values in expected.items():
        assert got[name].shape == values.shape, name
        assert abs(values).max() > 0.1, f"{name}: nothing to compare"
        difference = abs(got[name] - values).max() / abs(values).max()
        assert difference < 1e-11, f"{name}: {difference}"
    assert got["score"].shape == (20, *size)


@pytest.mark.parametrize(
    "formats",
    [
        {"generation": "V1", "shape": "legacy", "data": "packed"},
        {"generation": "V1", "shape": "new", "data": "double"},
        {"generation": "V2", "shape": "legacy", "data": "double"},
        {"generation": "V2", "shape": "new", "data": "unpacked"},
    ],
    ids=lambda formats: "-".join(formats.values()),
)
def test_all_formats_give_the_same_weights(caffe, tmp_path, formats):
    layers = caffe.published_layers(classes=2)
    state = network(caffe.write(tmp_path / "a", layers), 2).state_dict()
    other = network(caffe.write(tmp_path / "b", layers, **formats), 2).state_dict()
    assert len(state) == 39 and state.keys() == other.keys()
    assert all(torch.equal(state[name], other[name]) for name in state)


@pytest.mark.parametrize("shape", ["new", "legacy"])
def test_fc6_and_fc7_may_be_inner_products_under_their_common_names(caffe, tmp_path, shape):
    layers = caffe.published_layers(classes=2)
    plain = network(caffe.write(tmp_path / "a", layers), 2)
    for i, (name, _, blobs) in enumerate(layers):
        if name in ("fc6_cs", "fc7_cs"):
            flat = [blobs[0].reshape(len(blobs[0]), -1), blobs[1]]
            layers[i] = (name.removesuffix("_cs"), "InnerProduct", flat)
    got = network(caffe.write(tmp_path / "b", layers, shape=shape), 2)
    assert torch.equal(got.fc6[0].weight, plain.fc6[0].weight)
    assert torch.equal(got.fc7[0].weight, plain.fc7[0].weight)


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
        ("score_fr", {}, "not the published FCN-8s: lacks score_fr"),
        ("conv1_1", {"name": "conv1"}, "not the published FCN-8s: lacks conv1_1"),
        ("relu1_1", {"name": "fc8", "type": "Convolution", "blobs": [np.ones(1)]},
         "has weights that the published network lacks: fc8"),
        ("relu1_1", {"name": "conv1_1", "blobs": [np.ones(1)]}, "two layers are named conv1_1"),
        ("fc7_cs", {"name": "fc6"}, "two layers are named fc6_cs"),
        ("conv3_2", {"edit": lambda b: [b[0][:, :, :1], b[1]]},
         "layer conv3_2: weights must be 4x4x3x3 (got 4x4x1x3)"),
        ("conv3_2", {"edit": lambda b: [b[0], b[1][:3]]},
         "layer conv3_2: bias must be 4 (got 3)"),
        ("conv3_2", {"edit": lambda b: b[:1]},
         "layer conv3_2: must have weights and bias (got 1 blobs)"),
        ("score_fr", {"edit": lambda b: [b[0][:1], b[1][:1]]},
         "layer score_fr: weights must be 2x64x1x1 (got 1x64x1x1)"),
        ("upscore8", {"edit": lambda b: [b[0][:, :1]]},
         "layer upscore8: weights must be 2x2x16x16 (got 2x1x16x16)"),
        ("upscore8", {"edit": lambda b: [b[0], b[0][0, 0, 0, :2]]},
         "layer upscore8: must have weights without bias (got 2 blobs)"),
        ("upscore8", {"type": "Convolution"},
         "layer upscore8: must be Deconvolution (got Convolution)"),
        ("conv1_2", {"type": ""},
         "layer conv1_2: must be Convolution or InnerProduct (got no type)"),
    ],
)  # fmt: skip
def test_a_layer_that_differs_is_named(caffe, tmp_path, name, change, message):
    layers = changed(caffe.published_layers(classes=2), name, **change)
    file = caffe.write(tmp_path / "net", layers)
    with pytest.raises(ScoringError) as refused:
        network(file, 2)
    assert str(refused.value).startswith(f"{file}: ") and str(refused.value).endswith(message)


def test_the_command_refuses_in_one_line_and_writes_nothing(caffe, tmp_path, capsys):
    file = caffe.write(tmp_path / "net", caffe.published_layers())
    out = tmp_path / "scorer.safetensors"
    for arguments, message in (
        ([file, "--out", out], "layer conv1_1: weights must be 64x3x3x3 (got 1x3x3x3)"),
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
