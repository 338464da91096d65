"""How a process is asked to stop: signals, and what they do at which time."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

NUMBERS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether a worker was asked to stop.

    While a training runs it is asked at every step, and writes a checkpoint. Everything else a job
    does is written whole or not at all and done again, so there the signal ends it at once, as
    KeyboardInterrupt, whatever is being decoded, trained or scored. Where that is swallowed (within
    a callback of a C library, a destructor) `check` raises it again at the next record.
    """

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._in_order = False

    def __call__(self) -> bool:
        return self._asked.is_set()

    def check(self) -> None:
        """KeyboardInterrupt where a stop was asked for and no block asks by itself."""
        if self._asked.is_set() and not self._in_order:
            raise KeyboardInterrupt

    def listen(self) -> None:
        """Take the signals from now on."""
        for number in NUMBERS:
            signal.signal(number, self._ask)

    def ask(self) -> None:
        """Ask from another thread."""
        os.kill(os.getpid(), signal.SIGTERM)

    def _ask(self, *_: object) -> None:
        if not self._asked.is_set():
            self._asked.set()
            if not self._in_order:
                raise KeyboardInterrupt

    @contextmanager
    def in_order(self) -> Iterator[None]:
        """A block that asks by itself; KeyboardInterrupt behind it where it did not any more."""
        self._in_order = True
        try:
            yield
        finally:
            self._in_order = False
        if self._asked.is_set():
            raise KeyboardInterrupt


class Terminated(KeyboardInterrupt):
    """SIGTERM, where Ctrl-C would be KeyboardInterrupt."""


def interrupt_on_signals() -> None:
    """Let SIGINT and SIGTERM end this process in order, and another one at once."""

    def interrupt(number: int, _: object) -> None:
        for each in NUMBERS:
            signal.signal(each, lambda again, _: os._exit(128 + again))
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    for number in NUMBERS:
        signal.signal(number, interrupt)


@contextmanager
def collected_signals() -> Iterator[list[int]]:
    """SIGINT and SIGTERM go into a list for the time of the block, instead of ending it."""
    received: list[int] = []
    before = [signal.signal(n, lambda number, _: received.append(number)) for n in NUMBERS]
    try:
        yield received
    finally:
        for number, handler in zip(NUMBERS, before, strict=True):
            signal.signal(number, handler)
