"""How scoring stops, or goes without a score."""

import re

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that would steer the terminal on which an error is printed."""


class ScoringError(Exception):
    """Images, labels or a scorer that cannot be scored with. One clear line with file names."""

    def __init__(self, message: str) -> None:
        written = CONTROL.sub(lambda m: m[0].encode("unicode_escape").decode("ascii"), message)
        super().__init__(written)


class NotMeasured(Exception):
    """A score that cannot be had here. The message says why, and how to get it."""
