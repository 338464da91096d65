"""What a reader of outside files may do while it reads one: little, and not for long.

Within the fence a reading is stopped after SECONDS of work (or WAITING by the clock), may take at
most MEMORY more address space than the program had, and may write only below the folders that it is
given. A process started, a connection made or a file written elsewhere is a breach, whatever the
reader says about the file.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SECONDS = 5.0
"""Of CPU time, which does not depend on what else the machine does."""
WAITING = 120.0
"""By the clock: a reading that waits for something that never comes."""
MEMORY = 1 << 30
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = ("os.mkdir", "os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir", "os.truncate")
FORBIDDEN = (
    "os.system",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.spawn",
    "subprocess.Popen",
    "socket.connect",
    "urllib.Request",
    "ctypes.dlopen",
)
"""Events of Python's audit hooks that no reader of a file has a reason to raise."""


class Breach(BaseException):
    """A reader did what no reader may do. Not an Exception, so that no reader catches it."""


class _Watch:
    """The audit hook, which cannot be taken out again, so that it is switched on and off."""

    installed = False
    allowed: tuple[str, ...] | None = None
    network = False
    breaches: list[str] = []  # noqa: RUF012 - one list for the one hook

    @classmethod
    def hook(cls, event: str, arguments: tuple[Any, ...]) -> None:
        if cls.allowed is None:
            return
        if event in FORBIDDEN and not (cls.network and event.startswith(("socket", "urllib"))):
            cls._breach(f"{event} {arguments!r:.80}")
        elif event == "open":
            path, mode, flags = arguments
            writes = bool(flags & WRITING) if isinstance(flags, int) else "r" not in str(mode)
            if writes:
                cls._check(event, path)
        elif event in CHANGES:
            folder = arguments[-1]  # shutil.rmtree names what it removes within an open folder
            for path in arguments[: 2 if event == "os.rename" else 1]:
                if isinstance(folder, int) and folder >= 0 and event != "os.mkdir":
                    path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), os.fsdecode(path))
                cls._check(event, path)

    @classmethod
    def _check(cls, event: str, path: Any) -> None:
        if isinstance(path, int) or cls.allowed is None:
            return
        place = os.path.abspath(os.fsdecode(path))
        if place != os.devnull and not (place + os.sep).startswith(cls.allowed):
            cls._breach(f"{event} outside: {place}")

    @classmethod
    def _breach(cls, text: str) -> None:
        cls.breaches.append(text)
        raise Breach(text)


def _too_long(number: int, _: object) -> None:
    limit = SECONDS if number == signal.SIGPROF else WAITING
    raise Breach(f"more than {limit:.0f} s")


@contextlib.contextmanager
def fence(*folders: Path, network: bool = False) -> Iterator[None]:
    """Raises Breach for whatever the module's text forbids.

    `folders` may be written to; `network` allows connections, for the reader of downloads.
    A reading that hangs inside a library, where no exception reaches it, has its traceback shown
    after twice WAITING, and ends the process, but for pytest's, which has other tests to do.
    """
    if not _Watch.installed:
        sys.addaudithook(_Watch.hook)
        _Watch.installed = True
    _Watch.breaches.clear()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = [signal.signal(number, _too_long) for number in (signal.SIGPROF, signal.SIGALRM)]
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + MEMORY, hard))
    ends = "PYTEST_CURRENT_TEST" not in os.environ
    faulthandler.dump_traceback_later(2 * WAITING, exit=ends, file=sys.__stderr__)
    sys.dont_write_bytecode = True  # a module that a reader imports late is not its writing
    _Watch.network = network
    _Watch.allowed = tuple(os.path.abspath(folder) + os.sep for folder in folders) or ("\0",)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, WAITING)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _Watch.allowed = None
        faulthandler.cancel_dump_traceback_later()
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        for number, handler in zip((signal.SIGPROF, signal.SIGALRM), before, strict=True):
            signal.signal(number, handler)
    if _Watch.breaches:
        raise Breach(_Watch.breaches[0])


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize()


def peak_memory() -> int:
    """Bytes of the largest resident set that this process had since `forget_peak`."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM")


def forget_peak() -> None:
    """Sets the high-water mark back to what is resident now, where the kernel allows it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
