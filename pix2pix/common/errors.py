"""The ways in which a command stops with one line instead of a traceback."""

import re

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that steer a terminal, turn the direction of a text, or are none: no name has them."""


def printable(text: str) -> str:
    """The text with its control characters written out, as `\\x1b`.

    A name from a stranger's file must not steer the terminal that an error is printed on.
    """
    return CONTROL.sub(lambda m: m[0].encode("unicode_escape").decode("ascii"), text)


class UserError(Exception):
    """Bad input or usage. The message names the file, the field and the fix; exit status 2."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class Unreadable(UserError):
    """A file that cannot be read now (the disk, the rights, the memory); it may well be whole."""


ScoringError = UserError
"""An older name: its users are to write UserError."""


class NotMeasured(Exception):
    """A score that is not available here. The message says why, and how to get it."""


class TrainingError(Exception):
    """A training cannot go on: a loss or a weight is not a finite number; exit status 1."""


class Interrupted(Exception):
    """The work was asked to stop; what is needed to go on is written."""
