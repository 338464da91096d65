"""How a process is asked to stop, and what it does then."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

NUMBERS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether a worker was asked to stop, by SIGINT, SIGTERM or `ask`.

    Inside an `in_order` block (training) the flag is polled at every step, and a checkpoint is
    written. Everything else in a job is written completely or not at all and repeated, so there a
    signal raises KeyboardInterrupt at once. Code that swallows that exception (a C callback, a
    destructor) is stopped by `check`, which raises it again at the next record.
    """

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._in_order = False

    def __call__(self) -> bool:
        return self._asked.is_set()

    def check(self) -> None:
        """Raise KeyboardInterrupt if a stop was asked for, outside of `in_order` blocks."""
        if self._asked.is_set() and not self._in_order:
            raise KeyboardInterrupt

    def listen(self) -> None:
        """Handle the signals from now on."""
        for number in NUMBERS:
            signal.signal(number, self._handle)

    def ask(self) -> None:
        """Ask this process to stop, from any thread."""
        os.kill(os.getpid(), signal.SIGTERM)

    def _handle(self, *_: object) -> None:
        if not self._asked.is_set():
            self._asked.set()
            self.check()

    @contextmanager
    def in_order(self) -> Iterator[None]:
        """A block that polls this object; raises KeyboardInterrupt at its end if asked to stop."""
        self._in_order = True
        try:
            yield
        finally:
            self._in_order = False
        self.check()


class Terminated(KeyboardInterrupt):
    """What SIGTERM raises in the command, as Ctrl-C raises KeyboardInterrupt."""


def raise_terminated(*_: object) -> None:
    """A handler for SIGTERM."""
    raise Terminated


@contextmanager
def collected_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in a list during the block, instead of ending the process.

    In another thread than the first one, which alone may handle signals, none is collected.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = [signal.signal(n, lambda number, _: received.append(number)) for n in NUMBERS]
    try:
        yield received
    finally:
        for number, handler in zip(NUMBERS, before, strict=True):
            signal.signal(number, handler)
