"""Caffemodel files, written byte by byte from protobuf's encoding rules and caffe.proto's numbers.

Nothing here uses the reader's schema, so that the two can disagree.
"""

from types import SimpleNamespace

import numpy as np
import pytest


def varint(value):
    value &= (1 << 64) - 1
    encoded = b""
    while value > 127:
        encoded += bytes([value & 127 | 128])
        value >>= 7
    return encoded + bytes([value])


def number(field, value):
    return varint(field << 3) + varint(value)


def piece(field, content):
    """A length-delimited field: text, a message, or packed numbers."""
    return varint(field << 3 | 2) + varint(len(content)) + content


def blob(values):
    """BlobProto."""
    values = np.asarray(values)
    shape = piece(7, piece(1, b"".join(map(varint, values.shape))))
    return shape + piece(5, values.astype("<f4").tobytes())


def layer(name, kind, blobs=()):
    """A field of NetParameter: LayerParameter, with its wires."""
    content = piece(1, name.encode()) + piece(2, kind.encode())
    content += piece(3, b"in") + piece(4, b"out") + piece(6, number(1, 1))  # param
    content += b"".join(piece(7, blob(values)) for values in blobs)
    return piece(100, content + piece(106, number(1, 20) + number(3, 100)))  # convolution_param


def published_layers(width=1, classes=20, seed=0):
    """[(name, type, blobs)]: deploy.prototxt's layers with random weights, in file order."""
    generator = np.random.default_rng(seed)

    def weights(*shape):
        spread = np.sqrt(2 / np.prod(shape[1:]))
        return generator.normal(0, spread, shape).astype(np.float32)

    layers = [("data", "Data", [])]
    inputs = 3
    for stage, (multiple, count) in enumerate(((1, 2), (2, 2), (4, 3), (8, 3), (8, 3)), start=1):
        for i in range(1, count + 1):
            outputs = multiple * width
            blobs = [weights(outputs, inputs, 3, 3), weights(outputs)]
            layers += [(f"conv{stage}_{i}", "Convolution", blobs)]
            layers += [(f"relu{stage}_{i}", "ReLU", [])]
            inputs = outputs
        layers += [(f"pool{stage}", "Pooling", [])]
    deep = 64 * width
    layers += [("fc6_cs", "Convolution", [weights(deep, inputs, 7, 7), weights(deep)])]
    layers += [("relu6_cs", "ReLU", []), ("drop6", "Dropout", [])]
    layers += [("fc7_cs", "Convolution", [weights(deep, deep, 1, 1), weights(deep)])]
    for name, channels in (("score_fr", deep), ("score_pool4", 8 * width)):
        layers += [(name, "Convolution", [weights(classes, channels, 1, 1), weights(classes)])]
        upscore = "upscore2" if name == "score_fr" else "upscore_pool4"
        layers += [(upscore, "Deconvolution", [weights(classes, classes, 4, 4)])]
        layers += [(f"fuse_{upscore}", "Eltwise", [])]
    layers += [
        ("score_pool3", "Convolution", [weights(classes, 4 * width, 1, 1), weights(classes)])
    ]
    return [*layers, ("upscore8", "Deconvolution", [weights(classes, classes, 16, 16)])]


def write(path, layers):
    """A caffemodel of [(name, type, blobs)]."""
    encoded = b"".join(layer(*one) for one in layers)
    path.write_bytes(piece(1, b"FCN-8s") + encoded)
    return path


@pytest.fixture
def caffe():
    """The functions above."""
    return SimpleNamespace(
        varint=varint, number=number, piece=piece, blob=blob, layer=layer, write=write,
        published_layers=published_layers,
    )  # fmt: skip
