"""The errors with which a command stops with one line instead of a traceback."""

import io
import os
import pwd
import re
import sys
from collections.abc import Callable, MutableMapping

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


def mend_process() -> None:
    """Let stdout and stderr replace the letters that their encoding lacks, such as `×` in ASCII,
    and open those that are closed; a notebook's, which are no files, stay as they are. And name
    the user (`name_user`)."""
    name_user(os.environ)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed: takes the number too, or the next file to be opened would
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def name_user(environment: MutableMapping[str, str]) -> None:
    """Give a user whom the system does not know (a container run with any number) a name: torch
    and MLflow end with an error without."""
    if not any(environment.get(name) for name in ("LOGNAME", "USER", "LNAME", "USERNAME")):
        try:
            pwd.getpwuid(os.getuid())
        except KeyError:
            environment["USER"] = f"user-{os.getuid()}"


def system_reason(error: OSError) -> str:
    """What an OSError says, with its file, in one line."""
    if isinstance(error, FileNotFoundError) and error.filename is None:
        return "the current folder is gone: change to another one (cd)"
    where = f"{error.filename}: " if error.filename else ""
    return printable(f"{where}{error.strerror or error}")


def exit_status(action: Callable[[], object], interrupted: str) -> int:
    """Carry out a command; its exit status, with one line on stderr where it is not 0.

    2 for bad input (UserError, OSError), 130 if interrupted, with the line `interrupted`.
    """
    mend_process()
    try:
        action()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {system_reason(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return 130
    return 0
