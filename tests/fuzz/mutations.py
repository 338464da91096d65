"""Valid files, broken a little: the inputs that reach furthest into a reader."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

EDITS = ("flip", "set", "cut", "drop", "insert", "repeat", "splice", "number")
TELLING = (0x00, 0x01, 0x7F, 0x80, 0xFF, 0x0A, 0x22, 0x2E, 0x2F, 0x5C)
NUMBERS = (0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x10000, 0x80000000)


@st.composite
def mutated(draw: st.DrawFn, originals: Sequence[bytes], most: int = 6) -> bytes:
    """One of the originals after 1 to `most` edits; sometimes none, so that valid ones pass too."""
    content = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(0, most))):
        edit = draw(st.sampled_from(EDITS))
        # Headers decide most, so that half of the edits fall into the first bytes.
        reach = len(content) if draw(st.booleans()) else min(len(content), 64)
        place = draw(st.integers(0, max(reach - 1, 0)))
        if edit == "flip" and content:
            content[place] ^= 1 << draw(st.integers(0, 7))
        elif edit == "set" and content:
            content[place] = draw(st.sampled_from(TELLING))
        elif edit == "cut":
            del content[place:]
        elif edit == "drop":
            del content[place : place + draw(st.integers(1, 64))]
        elif edit == "insert":
            content[place:place] = draw(st.binary(max_size=16))
        elif edit == "repeat":
            piece = content[place : place + draw(st.integers(1, 64))]
            content[place:place] = piece * draw(st.integers(1, 8))
        elif edit == "splice":
            other = draw(st.sampled_from(originals))
            there = draw(st.integers(0, max(len(other) - 1, 0)))
            content[place:] = other[there:]
        elif edit == "number":
            width = draw(st.sampled_from((2, 4, 8)))
            order = draw(st.sampled_from(("big", "little")))
            number = draw(st.sampled_from(NUMBERS)) % 256**width
            content[place : place + width] = number.to_bytes(width, order)
    return bytes(content)
