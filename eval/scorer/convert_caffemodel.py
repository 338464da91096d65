"""Convert the published Cityscapes scorer from Caffe to safetensors, without Caffe.

The network is that of pix2pix's `scripts/eval_cityscapes/caffemodel/deploy.prototxt`. The layouts
of Caffe and PyTorch are the same: a convolution is a cross-correlation with weights (outputs,
inputs, k, k), a deconvolution has (inputs, outputs / groups, k, k), and the published ones have one
group and no bias. So weights are checked and renamed, never rearranged.

A `.caffemodel` is one protobuf message, `NetParameter` of Caffe's `src/caffe/proto/caffe.proto`.
Both generations are read: layers as `layer` (V2) or `layers` (V1, before 2015), blobs with a
`shape` or with the older num, channels, height and width, in single or double precision, packed or
not. Fields that weights do not need (fillers, learning rates, the graph) are not declared, and
protobuf skips them. Layers and blobs are declared as bytes, which look the same on the wire, and
are parsed one by one: a manipulated file cannot create many small messages at once.
"""

from __future__ import annotations

import argparse
import functools
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
from torch import Tensor

from eval.scorer import cityscapes
from eval.scorer.fcn8s import STAGES, FCN8s
from eval.scorer.file import save_scorer
from pix2pix.common.errors import UserError, exit_status

# The layers of deploy.prototxt that have weights, and their names in FCN8s.
MODULES = {
    f"conv{stage}_{i + 1}": f"stages.{stage - 1}.{2 * i}"
    for stage, (_, convolutions) in enumerate(STAGES, start=1)
    for i in range(convolutions)
} | {
    "fc6_cs": "fc6.0",
    "fc7_cs": "fc7.0",
    "score_fr": "score_fr",
    "upscore2": "upscore2",
    "score_pool4": "score_pool4",
    "upscore_pool4": "upscore_pool4",
    "score_pool3": "score_pool3",
    "upscore8": "upscore8",
}
ALIASES = {"fc6": "fc6_cs", "fc7": "fc7_cs"}  # names in other FCN-8s files
LISTED = 3  # layers that an error lists

# The part of caffe.proto that weights need: message, then field, number and type. Whether values
# are packed is up to the writer: protobuf reads both.
SCHEMA = {
    "NetParameter": (("layers", 2, "bytes*"), ("layer", 100, "bytes*")),
    "LayerParameter": (("name", 1, "bytes"), ("type", 2, "bytes"), ("blobs", 7, "bytes*")),
    "V1LayerParameter": (("name", 4, "bytes"), ("type", 5, "int32"), ("blobs", 6, "bytes*")),
    "BlobProto": (
        ("num", 1, "int32"),
        ("channels", 2, "int32"),
        ("height", 3, "int32"),
        ("width", 4, "int32"),
        ("data", 5, "float*"),
        ("shape", 7, "bytes"),
        ("double_data", 8, "double*"),
    ),
    "BlobShape": (("dim", 1, "int64*"),),
}
LEGACY_SHAPE = ("num", "channels", "height", "width")
V1_TYPES = {4: "Convolution", 14: "InnerProduct", 39: "Deconvolution"}  # types with weights

LARGEST = 1 << 30  # bytes; the published file has 513 MiB, and protobuf reads at most 2 GiB
MOST_LAYERS, MOST_BLOBS = 1000, 10  # the published net has 47 layers of at most 2 blobs
MOST_AXES = 32  # the limit of Caffe


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert a file; exit status 0, 2 with one line for bad input, or 130 if interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.scorer.convert_caffemodel", description=__doc__
    )
    parser.add_argument("caffemodel", type=Path, help="the published fcn-8s-cityscapes.caffemodel")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.safetensors")
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
    source = read_caffemodel(caffemodel)
    model = fcn8s_from_caffe(source, caffemodel, cityscapes.WIDTH, cityscapes.OUTPUTS)
    save_scorer(
        out,
        model,
        settings={"protocol": cityscapes.PROTOCOL},
        class_names=cityscapes.CLASS_NAMES,
        source={"caffemodel_sha256": source.sha256, "file": caffemodel.name},
    )
    weights = sum(parameter.numel() for parameter in model.parameters())
    return (
        f"read: {caffemodel} ({source.size / 2**20:.1f} MiB, sha256 {source.sha256})\n"
        f"{len(MODULES)} layers with {weights:,} weights, every shape as published\n"
        f"written: {out}"
    )


def fcn8s_from_caffe(source: CaffeModel, path: Path, width: int, classes: int) -> FCN8s:
    """The published network with the weights of a caffemodel.

    Args:
        source: from `read_caffemodel`.
        path: named in errors.
        width, classes: of FCN8s; the published network has 64 and 20.

    Returns:
        The network in evaluation mode, on the CPU.

    Raises:
        UserError: a layer is missing, extra, duplicate, or of another type or shape.
    """
    layers = _layers_by_name(source, path)
    with torch.device("meta"):  # no memory or random values for weights that are replaced
        model = FCN8s(classes, width)
    state = model.state_dict()
    for name, module in MODULES.items():
        parameters = [key for key in (f"{module}.weight", f"{module}.bias") if key in state]
        blobs = _checked_blobs(layers[name], [state[key].shape for key in parameters], path)
        state.update(zip(parameters, blobs, strict=True))
    model.load_state_dict(state, assign=True)
    return model.eval()


def _layers_by_name(source: CaffeModel, path: Path) -> dict[str, CaffeLayer]:
    """The layers with weights, by their names in deploy.prototxt: exactly those of MODULES."""
    layers: dict[str, CaffeLayer] = {}
    for layer in source.layers:
        if layer.blobs:
            name = ALIASES.get(layer.name, layer.name)
            if name in layers:
                raise UserError(f"{path}: two layers are named {name}")
            layers[name] = layer
    for names, complaint in (
        (MODULES.keys() - layers.keys(), "has no"),
        (layers.keys() - MODULES.keys(), "has weights that are not in the published network:"),
    ):
        if names:
            first = ", ".join(sorted(names)[:LISTED]) + (", …" if len(names) > LISTED else "")
            raise UserError(f"{path}: not the published FCN-8s: {complaint} {first}")
    return layers


def _checked_blobs(layer: CaffeLayer, shapes: list[torch.Size], path: Path) -> list[Tensor]:
    """The weights of a layer, and its bias if it has one, in the expected shapes."""
    where = f"{path}: layer {layer.name}"
    types = ("Deconvolution",) if "upscore" in layer.name else ("Convolution", "InnerProduct")
    if layer.type not in types:
        raise UserError(f"{where}: must be {' or '.join(types)} (got {layer.type or 'no type'})")
    if len(layer.blobs) != len(shapes):
        wanted = "weights and bias" if len(shapes) == 2 else "weights without bias"
        raise UserError(f"{where}: must have {wanted} (got {len(layer.blobs)} blobs)")
    for blob, shape, what in zip(layer.blobs, shapes, ("weights", "bias"), strict=False):
        if not _fits(blob, tuple(shape), layer.type):
            raise UserError(
                f"{where}: {what} must be {shape_text(shape)} (got {shape_text(blob.shape)})"
            )
    return [
        torch.from_numpy(blob.reshape(shape))
        for blob, shape in zip(layer.blobs, shapes, strict=True)
    ]


def _fits(blob: np.ndarray, shape: tuple[int, ...], layer_type: str) -> bool:
    """Whether the blob has this shape, possibly padded by leading ones to four axes (old files).

    The weights of an InnerProduct are those of a convolution, flattened: (outputs, inputs · k · k).
    """
    if layer_type == "InnerProduct" and len(shape) > 1:
        shape = (shape[0], int(np.prod(shape[1:])))
    return blob.shape in (shape, (1,) * (4 - len(shape)) + shape)


class CaffeLayer(NamedTuple):
    """Name, type ("Convolution", …) and blobs (float32 arrays of any shape) of a layer."""

    name: str
    type: str
    blobs: tuple[np.ndarray, ...]


class CaffeModel(NamedTuple):
    """All layers in file order, including those without blobs; sha256 and bytes of the file."""

    layers: tuple[CaffeLayer, ...]
    sha256: str
    size: int


def read_caffemodel(path: Path) -> CaffeModel:
    """Read all layers; needs about three times the size of the file in memory.

    Raises:
        UserError: missing, too large, truncated, damaged, or not a caffemodel.
        OSError: cannot be read.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file (a caffemodel)")
    size = path.stat().st_size
    if size > LARGEST:
        raise UserError(
            f"{path}: {size / 2**20:.0f} MiB is too large for a caffemodel"
            f" (at most {LARGEST >> 20} MiB; the published one has 513)"
        )
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    network = _parse("NetParameter", content, path)
    del content
    generations = (("V1LayerParameter", network.layers), ("LayerParameter", network.layer))
    count = sum(len(found) for _, found in generations)
    if count == 0:
        raise UserError(f"{path}: not a caffemodel: it holds no layer")
    if count > MOST_LAYERS:
        raise UserError(
            f"{path}: not this kind of caffemodel: {count} layers, at most {MOST_LAYERS}"
        )
    layers = [
        _layer(kind, found[i], path) for kind, found in generations for i in range(len(found))
    ]
    return CaffeModel(tuple(layers), sha256, size)


def shape_text(shape: Sequence[int]) -> str:
    """(64, 3, 3, 3) -> "64x3x3x3"."""
    return "x".join(map(str, shape)) or "a single number"


def _layer(kind: str, content: bytes, path: Path) -> CaffeLayer:
    layer = _parse(kind, content, path)
    del content
    name = layer.name.decode("utf-8", "replace")
    if kind == "LayerParameter":
        layer_type = layer.type.decode("utf-8", "replace")
    else:
        layer_type = V1_TYPES.get(layer.type, f"V1 type {layer.type}")
    if len(layer.blobs) > MOST_BLOBS:
        raise UserError(f"{path}: damaged: layer {name!r} has {len(layer.blobs)} blobs")
    contents = list(layer.blobs)
    del layer
    blobs = [_blob(contents.pop(0), name, path) for _ in range(len(contents))]
    return CaffeLayer(name, layer_type, tuple(blobs))


def _blob(content: bytes, layer: str, path: Path) -> np.ndarray:
    """Like Blob::FromProto in Caffe: the old shape fields and double precision take precedence."""
    blob = _parse("BlobProto", content, path)
    del content
    if any(blob.HasField(name) for name in LEGACY_SHAPE):
        shape = tuple(getattr(blob, name) for name in LEGACY_SHAPE)
    else:
        shape = tuple(_parse("BlobShape", blob.shape, path).dim)
    data = blob.double_data if len(blob.double_data) else blob.data
    # Next to an axis of 0 another could have any size, and no array can have that shape.
    fits = all(0 <= size <= len(data) for size in shape) and math.prod(shape) == len(data)
    if len(shape) > MOST_AXES or not fits:
        raise UserError(
            f"{path}: damaged: layer {layer!r}: a blob of shape"
            f" {shape_text(shape[:MOST_AXES])} holds {len(data)} values"
        )
    with np.errstate(over="ignore"):  # too large for single precision: becomes infinite
        values = np.asarray(data).astype(np.float32, copy=False).reshape(shape)
    if not np.isfinite(values).all():
        raise UserError(f"{path}: damaged: layer {layer!r} holds values that are not finite")
    return values


def _parse(message: str, content: bytes, path: Path) -> Any:
    try:
        return _messages()[message].FromString(content)
    except DecodeError as error:
        raise UserError(f"{path}: truncated, damaged, or not a caffemodel") from error


@functools.cache
def _messages() -> dict[str, Any]:
    """The message classes of SCHEMA."""
    field_type = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="caffe_weights.proto", package="caffe_weights", syntax="proto2"
    )
    for name, fields in SCHEMA.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            message.field.add(
                name=field,
                number=number,
                type=field_type.Type.Value(f"TYPE_{kind.rstrip('*').upper()}"),
                label=field_type.LABEL_REPEATED if "*" in kind else field_type.LABEL_OPTIONAL,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe_weights.{name}"))
        for name in SCHEMA
    }


if __name__ == "__main__":
    sys.exit(main())
