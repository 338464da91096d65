"""Convert the published Cityscapes scorer from Caffe to safetensors, without Caffe.

The network is that of pix2pix's `scripts/eval_cityscapes/caffemodel/deploy.prototxt`. The layouts
of Caffe and PyTorch are the same: a convolution is a cross-correlation with weights (outputs,
inputs, k, k), a deconvolution has (inputs, outputs / groups, k, k), and the published ones have one
group and no bias. So weights are checked and renamed, never rearranged.

A `.caffemodel` is one protobuf message, `NetParameter` of Caffe's `src/caffe/proto/caffe.proto`, as
Caffe has written it since 2015: `layer` fields, whose blobs have a `shape` and packed single
precision. Fields that weights do not need (fillers, learning rates, the graph) are not declared,
and protobuf skips them.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from eval.scorer import cityscapes
from eval.scorer.fcn8s import STAGES, FCN8s
from eval.scorer.file import save_scorer
from pix2pix.common.errors import UserError, exit_status
from pix2pix.common.files import home_path

# The layers of deploy.prototxt that have weights, and their names in FCN8s.
MODULES = {
    f"conv{stage}_{i + 1}": f"stages.{stage - 1}.{2 * i}"
    for stage, (_, convolutions) in enumerate(STAGES, start=1)
    for i in range(convolutions)
}
MODULES |= {"fc6_cs": "fc6.0", "fc7_cs": "fc7.0"}
MODULES |= {f"score_{name}": f"score_{name}" for name in ("fr", "pool4", "pool3")}
MODULES |= {f"upscore{name}": f"upscore{name}" for name in ("2", "_pool4", "8")}
LISTED = 3  # layers that an error lists
LARGEST = 1 << 30  # bytes; the published file has 513 MiB

# The part of caffe.proto that weights need: message, then field, number and type (* repeats it).
# Packed floats are bytes on the wire, and numpy reads them as such.
PACKAGE = "caffe_weights"
SCHEMA = {
    "BlobShape": (("dim", 1, "int64*"),),
    "BlobProto": (("data", 5, "bytes"), ("shape", 7, "BlobShape")),
    "LayerParameter": (("name", 1, "bytes"), ("type", 2, "bytes"), ("blobs", 7, "BlobProto*")),
    "NetParameter": (("layer", 100, "LayerParameter*"),),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert a file; exit status 0, 2 with one line for bad input, or 130 if interrupted."""
    program = "python -m eval.scorer.convert_caffemodel"
    parser = argparse.ArgumentParser(prog=program, description=__doc__)
    what = "the published fcn-8s-cityscapes.caffemodel"
    parser.add_argument("caffemodel", type=home_path, help=what)
    parser.add_argument("--out", type=home_path, required=True, metavar="FILE.safetensors")
    options = parser.parse_args(arguments)
    return exit_status(
        lambda: print(convert(options.caffemodel, options.out)), "interrupted: nothing was written"
    )


def convert(caffemodel: Path, out: Path) -> str:
    """Write the published scorer as safetensors, atomically, and return a summary as text.

    Raises:
        UserError: from `read_caffemodel`, or a layer is missing, extra or of another shape.
        OSError: a file cannot be read or written.
    """
    if out.is_dir() or out.resolve() == caffemodel.resolve():
        raise UserError(f"{out}: must be the name of a new file")
    layers, sha256 = read_caffemodel(caffemodel)
    model = fcn8s_from_caffe(layers, caffemodel, cityscapes.WIDTH, cityscapes.OUTPUTS)
    save_scorer(
        out,
        model,
        settings={"protocol": cityscapes.PROTOCOL},
        class_names=cityscapes.CLASS_NAMES,
        source={"caffemodel_sha256": sha256, "file": caffemodel.name},
    )
    weights = sum(parameter.numel() for parameter in model.parameters())
    return (
        f"read: {caffemodel} ({caffemodel.stat().st_size / 2**20:.1f} MiB, sha256 {sha256})\n"
        f"{len(MODULES)} layers with {weights:,} weights, every shape as published\n"
        f"written: {out}"
    )


def fcn8s_from_caffe(layers: list[CaffeLayer], path: Path, width: int, classes: int) -> FCN8s:
    """The published network with the weights of a caffemodel, in evaluation mode, on the CPU.

    Args:
        path: the file, for errors.
        width, classes: of FCN8s; the published network has 64 and 20.

    Raises:
        UserError: a layer is missing, extra, or of another type or shape.
    """
    weighted = {layer.name: layer for layer in layers if layer.blobs}
    different = sorted(MODULES.keys() ^ weighted.keys())
    if different:
        first = ", ".join(different[:LISTED]) + ", …" * (len(different) > LISTED)
        raise UserError(f"{path}: not the published FCN-8s: missing or extra layers: {first}")
    with torch.device("meta"):  # no memory or random values for weights that are replaced
        model = FCN8s(classes, width)
    state = model.state_dict()
    for name, module in MODULES.items():
        layer, where = weighted[name], f"{path}: layer {name}"
        wanted = "Deconvolution" if "upscore" in name else "Convolution"
        if layer.type != wanted:
            raise UserError(f"{where}: must be {wanted} (got {layer.type or 'no type'})")
        parameters = [key for key in (f"{module}.weight", f"{module}.bias") if key in state]
        shapes = [tuple(state[key].shape) for key in parameters]
        found = [blob.shape for blob in layer.blobs]
        if found != shapes:
            raise UserError(f"{where}: must have weights of {_text(shapes)} (got {_text(found)})")
        state.update(zip(parameters, map(torch.from_numpy, layer.blobs), strict=True))
    model.load_state_dict(state, assign=True)
    return model.eval()


class CaffeLayer(NamedTuple):
    """Name, type ("Convolution", …) and blobs (float32 arrays of any shape) of a layer."""

    name: str
    type: str
    blobs: tuple[np.ndarray, ...]


def read_caffemodel(path: Path) -> tuple[list[CaffeLayer], str]:
    """All layers in file order, and the sha256 of the file; it fits three times into the memory.

    Raises:
        UserError: missing, too large, truncated, damaged, or not a caffemodel of 2015 or later.
        OSError: cannot be read.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file (a caffemodel)")
    size = path.stat().st_size
    if size > LARGEST:
        raise UserError(f"{path}: {size >> 20} MiB is too large for an FCN-8s (at most 1024)")
    content = path.read_bytes()
    try:
        network = _network_message().FromString(content)
    except DecodeError as error:
        raise UserError(f"{path}: truncated, damaged, or not a caffemodel") from error
    if not network.layer:
        raise UserError(
            f"{path}: not a caffemodel: it holds no layer (Caffe's upgrade_net_proto_binary"
            " converts files from before 2015)"
        )
    layers = []
    for layer in network.layer:
        name, kind = (text.decode("utf-8", "replace") for text in (layer.name, layer.type))
        blobs = tuple(_blob(blob, f"{path}: damaged: layer {name!r}") for blob in layer.blobs)
        layers.append(CaffeLayer(name, kind, blobs))
    return layers, hashlib.sha256(content).hexdigest()


def _blob(blob: Any, where: str) -> np.ndarray:
    shape = tuple(blob.shape.dim)
    if min(shape, default=1) < 1 or 4 * math.prod(shape) != len(blob.data):
        raise UserError(f"{where}: a blob of {_text([shape])} holds {len(blob.data)} bytes")
    values = np.frombuffer(blob.data, "<f4").reshape(shape).copy()
    if not np.isfinite(values).all():
        raise UserError(f"{where} holds values that are not finite")
    return values


def _text(shapes: Sequence[Sequence[int]]) -> str:
    """[(64, 3, 3, 3), (64,)] -> "64x3x3x3 and 64"."""
    return " and ".join("x".join(map(str, shape)) or "no shape" for shape in shapes) or "nothing"


def _network_message() -> Any:
    """The message class `NetParameter` of SCHEMA."""
    field_type = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="caffe_weights.proto", package=PACKAGE)
    for name, fields in SCHEMA.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            repeated = field_type.LABEL_REPEATED if "*" in kind else field_type.LABEL_OPTIONAL
            declared = message.field.add(name=field, number=number, label=repeated)
            kind = kind.rstrip("*")
            if kind in SCHEMA:
                declared.type_name = f".{PACKAGE}.{kind}"
            else:
                declared.type = field_type.Type.Value(f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = pool.FindMessageTypeByName(f"{PACKAGE}.NetParameter")
    return message_factory.GetMessageClass(found)


if __name__ == "__main__":
    sys.exit(main())
