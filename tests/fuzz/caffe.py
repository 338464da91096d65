"""Caffemodels, which are protobuf messages, built by hand so that any number can be wrong."""

from __future__ import annotations

import struct

from hypothesis import strategies as st
from mutations import mutated


def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _held(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _blob(shape: tuple[int, ...], values: int) -> bytes:
    data = _held(5, struct.pack(f"<{values}f", *range(values)))
    return _held(7, _held(1, b"".join(map(_varint, shape)))) + data


def model(shapes: list[tuple[int, ...]], values: int) -> bytes:
    """One layer of such blobs."""
    blobs = b"".join(_held(7, _blob(one, values)) for one in shapes)
    return _held(100, _held(1, b"conv1_1") + _held(2, b"Convolution") + blobs)


def caffemodels() -> st.SearchStrategy[bytes]:
    """Models with wrong bytes, and with shapes that do not fit their values."""
    side = st.sampled_from([0, 1, 2, 3, -1, 2**31, 2**62, 2**63 - 1])
    shape = st.lists(side, max_size=40).map(tuple)
    odd = st.builds(model, st.lists(shape, max_size=12), st.sampled_from([0, 1, 6]))
    plain = model([(1, 2, 3, 1), (6,)], 6) * 3
    bombs = [b"\x0a\x00" * 100_000, _held(100, b"") * 50_000, _held(100, _held(7, b"") * 50_000)]
    return st.one_of(odd, mutated([plain]), mutated(bombs, most=1))
