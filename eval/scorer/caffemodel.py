"""Weights out of a `.caffemodel`, without Caffe.

The file is one protobuf message, `NetParameter` of Caffe's `src/caffe/proto/caffe.proto`. Both of
its generations are read: layers as `layer` (V2) or `layers` (V1, before 2015), blobs with a `shape`
or with the older num, channels, height, width, in single or double precision, packed or not. What
weights do not need (fillers, learning rates, the graph) is left undeclared, and protobuf skips it.

Layers and blobs are declared as bytes, which look the same on the wire, and are taken apart one by
one: an altered file cannot make many small messages of them at once.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from pix2pix.common.errors import ScoringError

# The part of caffe.proto that weights need: message, then field, number and type. Packed or not
# is the writer's choice: protobuf reads both.
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
V1_TYPES = {4: "Convolution", 14: "InnerProduct", 39: "Deconvolution"}  # those with weights here

LARGEST = 1 << 30  # bytes; the published file has 513 MiB, and protobuf ends at 2 GiB
MOST_LAYERS, MOST_BLOBS = 1000, 10  # the published net has 47 layers of at most 2 blobs
MOST_AXES = 32  # Caffe's own limit


class CaffeLayer(NamedTuple):
    """A layer's name, type ("Convolution", …) and blobs: float32 arrays of any shape."""

    name: str
    type: str
    blobs: tuple[np.ndarray, ...]


class CaffeModel(NamedTuple):
    """All layers in file order, also those without blobs, and the file's sha256 and size."""

    layers: tuple[CaffeLayer, ...]
    sha256: str
    size: int


def read_caffemodel(path: Path) -> CaffeModel:
    """Read all layers; needs about three times the file's size in memory.

    Raises:
        ScoringError: missing, too large, truncated, damaged, or no caffemodel.
        OSError: cannot be read.
    """
    if not path.is_file():
        raise ScoringError(f"{path}: no such file (a caffemodel)")
    size = path.stat().st_size
    if size > LARGEST:
        raise ScoringError(
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
        raise ScoringError(f"{path}: no caffemodel: it holds no layer")
    if count > MOST_LAYERS:
        raise ScoringError(f"{path}: no caffemodel of this kind: {count} layers")
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
        raise ScoringError(f"{path}: damaged: layer {name!r} has {len(layer.blobs)} blobs")
    contents = list(layer.blobs)
    del layer
    blobs = [_blob(contents.pop(0), name, path) for _ in range(len(contents))]
    return CaffeLayer(name, layer_type, tuple(blobs))


def _blob(content: bytes, layer: str, path: Path) -> np.ndarray:
    """As Caffe's Blob::FromProto reads it: the old shape and double precision go first."""
    blob = _parse("BlobProto", content, path)
    del content
    if any(blob.HasField(name) for name in LEGACY_SHAPE):
        shape = tuple(getattr(blob, name) for name in LEGACY_SHAPE)
    else:
        shape = tuple(_parse("BlobShape", blob.shape, path).dim)
    data = blob.double_data if len(blob.double_data) else blob.data
    # Beside a 0 an axis could be of any size: no array can have that shape.
    fits = all(0 <= size <= len(data) for size in shape) and math.prod(shape) == len(data)
    if len(shape) > MOST_AXES or not fits:
        raise ScoringError(
            f"{path}: damaged: layer {layer!r}: a blob of shape"
            f" {shape_text(shape[:MOST_AXES])} holds {len(data)} values"
        )
    with np.errstate(over="ignore"):  # a double beyond single precision becomes infinite
        values = np.asarray(data).astype(np.float32, copy=False).reshape(shape)
    if not np.isfinite(values).all():
        raise ScoringError(f"{path}: damaged: layer {layer!r} holds values that are not finite")
    return values


def _parse(message: str, content: bytes, path: Path) -> Any:
    try:
        return _messages()[message].FromString(content)
    except DecodeError as error:
        raise ScoringError(f"{path}: truncated, damaged, or no caffemodel") from error


@functools.cache
def _messages() -> dict[str, Any]:
    """SCHEMA as message classes."""
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
