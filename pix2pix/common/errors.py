"""The errors with which a command stops with one line instead of a traceback."""

import io
import os
import re
import sys
from collections.abc import Callable

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that control a terminal or the direction of text, and halves of characters."""


def printable(text: str) -> str:
    """The text with control characters written out, such as `\\x1b`.

    A name from a downloaded file must not control the terminal that shows it.
    """
    return CONTROL.sub(lambda m: m[0].encode("unicode_escape").decode("ascii"), text)


class UserError(Exception):
    """Bad input or usage. The message names the file, the field and the fix; exit status 2."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class Unreadable(UserError):
    """A file that cannot be read now (disk, permissions, memory), although it may be whole."""


class NotMeasured(Exception):
    """A score that is not available here. The message says why, and how to get it."""


class TrainingError(Exception):
    """A training cannot continue: a loss or a weight is not a finite number; exit status 1."""


class Interrupted(Exception):
    """A stop was requested; everything that is needed to continue is on disk."""


def mend_streams() -> None:
    """Let stdout and stderr replace the letters that their encoding lacks, such as `×` in ASCII,
    and open those that are closed; a notebook's, which are no files, stay as they are."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed: takes the number too, or the next file to be opened would
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def exit_status(action: Callable[[], object], interrupted: str) -> int:
    """Carry out a command; its exit status, with one line on stderr where it is not 0.

    2 for bad input (UserError, OSError), 130 if interrupted, with the line `interrupted`.
    """
    mend_streams()
    try:
        action()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(printable(f"error: {where}{error.strerror or error}"), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return 130
    return 0
