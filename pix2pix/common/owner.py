"""Who owns something: the file that says so, how old it is, and whether they still live."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from pix2pix.common.errors import printable
from pix2pix.common.json_files import read_json

FUTURE = 10.0
"""Seconds that a file's time may lie ahead of its folder's clock."""


@dataclass(frozen=True)
class Owner:
    """Who owns something: enough to tell whether they still live, and to say who it is."""

    host: str
    machine: str
    """The running kernel (Linux: its boot), so that containers of one machine are one machine."""
    space: str
    """The process-number space: in another one (a container) the number says nothing."""
    pid: int
    started: str
    """When the process began: numbers are used again."""
    token: str

    @classmethod
    def here(cls) -> Owner:
        """This process, with a token of its own for every ownership."""
        host, pid = platform.node(), os.getpid()
        machine = _text("/proc/sys/kernel/random/boot_id") or host
        return cls(host, machine, _space(), pid, _started(pid), secrets.token_hex(8))

    def is_possible(self) -> bool:
        """Whether `here` could have made it: the file may be anybody's."""
        texts = (self.host, self.machine, self.space, self.started, self.token)
        return (
            all(isinstance(t, str) and len(t) <= 255 and printable(t) == t for t in texts)
            and type(self.pid) is int
            and 0 < self.pid < 2**31
            and re.fullmatch("[0-9a-f]{16}", self.token) is not None
        )

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def is_alive(seen: Owner, me: Owner, file: Path, stale: float, certain: bool) -> bool:
    """Whether the owner that `file` names still lives. `certain`: nobody under this kernel does."""
    if seen.machine == me.machine:
        if certain:
            return False
        if seen.space == me.space and seen.host == me.host:
            return _runs(seen.pid) and _started(seen.pid) == seen.started
    return age(file) < stale


def age(file: Path) -> float:
    """Seconds since a file was touched, both ends read off the clock of its folder.

    A file of the future is of a clock that was set back. It is touched, and counts from now on: a
    living owner touches it again, a dead one's would hold until that time has come.
    """
    probe = file.with_name(f".{file.name}.{secrets.token_hex(4)}.tmp")
    try:
        probe.touch()
        now = probe.stat().st_mtime
    except OSError:
        now = time.time()
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    try:
        with open(file, "rb") as opened:  # opening asks a network folder anew
            seconds = now - os.fstat(opened.fileno()).st_mtime
    except FileNotFoundError:
        return float("inf")
    if seconds < -FUTURE:
        with contextlib.suppress(OSError):
            os.utime(file)
        return 0.0
    return seconds


def read_owner(file: Path) -> Owner | None:
    """Whose file it is; None where there is none, or none that an owner wrote whole. OSError where
    it cannot be read: that says nothing about its owner."""
    for left in (2, 1, 0):
        try:
            found = Owner(**read_json(file))
            return found if found.is_possible() else None
        except (FileNotFoundError, ValueError, TypeError):
            return None
        except OSError as error:  # NFS, where another machine has just replaced the file
            if error.errno != errno.ESTALE or not left:
                raise
    return None


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _started(pid: int) -> str:
    """When a process began, in the kernel's ticks; empty where it is dead or cannot be asked."""
    fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    if len(fields) <= 19 or fields[0] in ("Z", "X"):  # dead, and nobody asked how it ended
        return ""
    return fields[19]


def _space() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return ""
