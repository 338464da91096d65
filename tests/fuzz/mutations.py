"""Valid files, broken a little: the inputs that reach furthest into a reader."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hypothesis import strategies as st

EDITS = ("flip", "set", "cut", "drop", "insert", "repeat", "splice", "number")
TELLING = (0x00, 0x01, 0x7F, 0x80, 0xFF, 0x0A, 0x22, 0x2E, 0x2F, 0x5C)
NUMBERS = (0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x10000, 0x80000000)


def mutated(originals: Sequence[bytes], most: int = 6) -> st.SearchStrategy[bytes]:
    """One of the originals after up to `most` edits; sometimes none, so that valid ones pass too.

    The edits come from one drawn number, which is a hundred times faster than drawing each.
    """
    return st.builds(
        _edited,
        st.sampled_from(originals),
        st.integers(0, most),
        st.integers(0, 2**64 - 1),
        st.just(originals),
    )


def _edited(original: bytes, edits: int, number: int, originals: Sequence[bytes]) -> bytes:
    chance = random.Random(number)
    content = bytearray(original)
    for _ in range(edits):
        # Headers decide most, so that half of the edits fall into the first bytes.
        reach = len(content) if chance.random() < 0.5 else min(len(content), 64)
        place = chance.randrange(max(reach, 1))
        edit = chance.choice(EDITS)
        if edit == "flip" and content:
            content[place] ^= 1 << chance.randrange(8)
        elif edit == "set" and content:
            content[place] = chance.choice(TELLING)
        elif edit == "cut" and chance.random() < 0.3:
            del content[place:]
        elif edit == "drop":
            del content[place : place + chance.randint(1, 64)]
        elif edit == "insert":
            content[place:place] = chance.randbytes(chance.randint(1, 16))
        elif edit == "repeat":
            piece = content[place : place + chance.randint(1, 64)]
            content[place:place] = piece * chance.randint(1, 8)
        elif edit == "splice":
            other = chance.choice(originals)
            content[place:] = other[chance.randrange(max(len(other), 1)) :]
        elif edit == "number":
            width = chance.choice((2, 4, 8))
            value = chance.choice(NUMBERS) % 256**width
            content[place : place + width] = value.to_bytes(width, chance.choice(("big", "little")))
    return bytes(content)
