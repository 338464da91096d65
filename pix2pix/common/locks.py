"""One owner at a time of a run directory, a cache, a store: on one machine or on a shared folder.

An owner holds two things. The kernel's lock (flock) on `X.lock` is gone at once when its holder
dies, but a network folder may keep it to one machine or not have it at all. So the owner also
writes `X.lock.owner` (machine, process, a token) and touches it every few seconds: what another
machine touched lately is not taken. Ages are counted on the folder's own clock, by the time
stamps that it gives, never by two machines' clocks.

Where the kernel's lock works between all who come, two owners never meet. Where it does not, an
owner whose file was taken away (it slept longer than STALE) notices at its next heartbeat, and its
process ends there and then without another write.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import platform
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from pix2pix.common.errors import printable
from pix2pix.common.files import naming, read_json

HEARTBEAT = 10.0
"""Seconds between two touches of an owner's file."""
STALE = 60.0
"""Seconds after which an owner on another machine counts as dead."""
LOST = 75
"""Exit status of a process that lost what it owned: try again (EX_TEMPFAIL)."""
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""What flock answers where a folder cannot lock."""


class Ownership:
    """The right to write into something, named by a lock file, while it is held."""

    def __init__(
        self,
        lock: Path,
        *,
        heartbeat: float = HEARTBEAT,
        stale: float = STALE,
        lost: Callable[[], None] = lambda: os._exit(LOST),
    ) -> None:
        """`lost` is called, in another thread, when somebody else took over meanwhile."""
        self.lock = lock
        self.file = lock.with_name(f"{lock.name}.owner")
        self._heartbeat, self._stale, self._lost = heartbeat, stale, lost
        self._number: int | None = None
        self._me: Owner | None = None
        self._released = threading.Event()

    def take(self) -> bool:
        """Own it from now on, unless somebody alive does. OSError where nothing can be written."""
        with naming(self.lock):
            number = os.open(self.lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            locked = _lock(number)
            taken = locked is not False and self._claim(certain=locked is True)
        except BaseException:
            os.close(number)
            raise
        if not taken:
            os.close(number)
            return False
        self._number = number
        self._released = threading.Event()
        # Its own copy of who we are: `release` forgets that, and is no loss.
        heart = (self._released, self._me)
        threading.Thread(target=self._beat, args=heart, daemon=True).start()
        return True

    def release(self) -> None:
        """Let others have it."""
        self._released.set()
        with contextlib.suppress(OSError):
            if self._me is not None and read_owner(self.file) == self._me:
                self.file.unlink(missing_ok=True)
        if self._number is not None:
            os.close(self._number)
        self._number = self._me = None

    def _claim(self, certain: bool) -> bool:
        """Write the owner's file unless a living owner's is there. `certain`: the kernel's lock is
        held, so whoever else runs under this kernel is not the owner any more."""
        me = Owner.here()
        if not self._vacate(me, certain):
            return False
        beside = self.file.with_name(f".{self.file.name}.{me.token}.tmp")
        try:
            with naming(self.file):
                beside.write_text(json.dumps(asdict(me)), encoding="utf-8")
                try:
                    os.link(beside, self.file)  # unlike rename, never over another's
                except (FileExistsError, FileNotFoundError):
                    return False
                except OSError:  # a folder without links
                    os.replace(beside, self.file)
        finally:
            beside.unlink(missing_ok=True)
        if read_owner(self.file) != me:
            return False
        self._me = me
        with contextlib.suppress(OSError):
            self._clear_leftovers()
        return True

    def _vacate(self, me: Owner, certain: bool) -> bool:
        """Whether no owner's file stands in the way any more: a dead owner's, and a torn one (of a
        machine that lost its power, of a full disk), is removed."""
        seen = read_owner(self.file)
        if seen is not None:
            if is_alive(seen, me, self.file, self._stale, certain):
                return False
        elif not self.file.exists():
            return True
        elif not certain and age(self.file) < self._stale:
            return False
        # Each removes the file that it saw: of two who come, one finds it gone.
        gone = self.file.with_name(f"{self.file.name}.{me.token}.tmp")
        try:
            os.rename(self.file, gone)
        except FileNotFoundError:
            return False
        moved = read_owner(gone)
        if moved is not None and moved != seen:  # another was faster, and it was theirs
            self._put_back(gone)
            return False
        gone.unlink(missing_ok=True)
        return True

    def _put_back(self, gone: Path) -> None:
        """The file of a living owner, unless somebody owns it again by now."""
        with contextlib.suppress(OSError):
            try:
                os.link(gone, self.file)
            except FileExistsError:
                pass
            except OSError:  # a folder without links
                if not self.file.exists():
                    os.rename(gone, self.file)
            gone.unlink(missing_ok=True)

    def _clear_leftovers(self) -> None:
        """Delete what processes that were killed while they came or went left of this lock."""
        now = self.file.stat().st_mtime
        with os.scandir(self.file.parent) as entries:
            for entry in entries:
                ours = entry.name.startswith((f"{self.file.name}.", f".{self.file.name}."))
                if ours and entry.name.endswith(".tmp"):
                    with contextlib.suppress(FileNotFoundError):
                        if now - entry.stat().st_mtime > self._stale:
                            os.unlink(entry.path)

    def _beat(self, released: threading.Event, me: Owner) -> None:
        while not released.wait(self._heartbeat):
            # A file that cannot be read or touched (the folder is away) is tried again.
            with contextlib.suppress(OSError):
                found = read_owner(self.file)
                # `release` says so before it lets go: another's file is then no loss.
                if released.is_set():
                    return
                if found is not None and found != me:
                    self._lost()
                    return
                os.utime(self.file)


def owner_of(lock: Path, stale: float = STALE) -> Owner | None:
    """Who owns it now, as far as the owner's file says; None where nobody alive does."""
    file = lock.with_name(f"{lock.name}.owner")
    try:
        seen = read_owner(file)
        if seen is None:
            return None
        return seen if is_alive(seen, Owner.here(), file, stale, certain=False) else None
    except OSError:
        return None


@contextmanager
def owning(
    lock: Path, waiting: Callable[[Owner | None], None] = lambda _: None, poll: float = 0.5
) -> Iterator[None]:
    """Own it for the time of the block; `waiting(owner)` is called at every turned-down attempt
    and may raise to give up."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    ownership = Ownership(lock)
    while not ownership.take():
        waiting(owner_of(lock))
        time.sleep(poll)
    try:
        yield
    finally:
        ownership.release()


def _lock(number: int) -> bool | None:
    """Whether the kernel's lock is held now; None where the folder has no such locks."""
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        if error.errno in NO_LOCKS:
            return None
        raise
    return True


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
