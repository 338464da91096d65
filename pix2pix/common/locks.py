"""One owner at a time of a run directory, a cache or a store, on one machine or a shared folder.

An owner holds two locks of the library filelock. `X.lock` is the kernel's lock (flock): it is free
as soon as its holder dies, but a network folder may keep it to one machine or lack it. So the
owner also holds a lease, `X.lock.owner`, which names the process and is touched every few seconds.

If the kernel's lock works between all processes, two owners never meet. If it does not, an owner
whose lease was taken (it slept longer than LEASE) notices at a heartbeat, and its process ends
there.

The removal of a dead owner's lease is our own. filelock removes one only where the file system can
swap two names (not NFS or SMB), removes one from another machine or container only after watching
it for its whole duration, and never removes an empty one, which a power failure may leave.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, LeaseSettingsMismatch, SoftFileLease, Timeout

from pix2pix.common.errors import printable
from pix2pix.common.files import naming

HEARTBEAT = 5.0
"""Seconds between two touches of a lease. The owner has lost it if two in a row find it gone."""
LEASE = 60.0
"""Seconds without a touch after which an owner on another machine counts as dead."""
TORN = 2.0
"""The same for a lease without a name; writing one takes far less than a millisecond."""
LOST = 75
"""Exit status of a process that lost what it owned: try again (EX_TEMPFAIL)."""
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""Errors of flock in a folder without locks."""
PATIENCE = 0.1
"""Seconds to wait for the kernel's lock, which `owner_of` may hold for a moment."""


class Ownership:
    """The right to write into something, named by a lock file."""

    def __init__(
        self,
        lock: Path,
        *,
        heartbeat: float = HEARTBEAT,
        lost: Callable[[], None] = lambda: os._exit(LOST),
    ) -> None:
        """`lost` is called in another thread if the lease is lost; by default the process ends."""
        self.lock = lock
        self.file = lock.with_name(f"{lock.name}.owner")
        self._kernel = FileLock(lock, thread_local=False, fallback_to_soft=False)
        self._lease = SoftFileLease(
            self.file,
            lease_duration=LEASE,
            heartbeat_interval=heartbeat,
            on_compromise=lambda _: lost(),
            thread_local=False,
        )

    @property
    def owner(self) -> str | None:
        """The process that the lease names, such as `process 12 on node3`, dead or alive."""
        record = self._lease.owner
        if record is None:
            return None
        # filelock appends a container's process namespace to the host: `node3?pidns-f0000123`.
        return printable(f"process {record.pid} on {record.hostname.partition('?')[0]}")

    def take(self) -> bool:
        """Become the owner, unless a living process is; OSError if nothing can be written."""
        try:
            self._remove_dead_lease(self._take_kernel_lock())
            with naming(self.file):
                self._lease.acquire(blocking=False)
        except BaseException as error:
            self._kernel.release()
            if isinstance(error, Timeout | LeaseSettingsMismatch):
                return False
            raise
        return True

    def release(self) -> None:
        """Let others become the owner."""
        for held in (self._lease, self._kernel):
            with contextlib.suppress(OSError):
                held.release()

    def _take_kernel_lock(self) -> bool:
        """False if the folder has no such locks; Timeout if another process holds it."""
        try:
            self._kernel.acquire(timeout=PATIENCE, poll_interval=PATIENCE / 10)
        except OSError as error:  # Timeout is one, without a number
            if error.errno not in NO_LOCKS:
                raise
            return False
        return True

    def _remove_dead_lease(self, locked: bool) -> None:
        """Remove the lease of a dead owner. `locked`: we hold the kernel's lock, so nobody on this
        machine, also in another container, is the owner or about to be."""
        try:
            with open(self.file, "rb") as file:  # opening makes a network folder look again
                seen = os.fstat(file.fileno())
        except FileNotFoundError:
            return
        record, limit = self._lease.owner, self._lease.lease_duration
        if locked and record is None:
            limit = TORN
        # On Linux, filelock's start token is the boot's number above 64 bits of start time.
        elif locked and record and 0 < (record.start or 0) >> 64 == _boot_number():
            limit = 0.0
        os.utime(self.lock)  # for the time on the folder's own clock
        # A lease of the future is old, too: after a clock was set back, the living touch theirs.
        if abs(os.stat(self.lock).st_mtime - seen.st_mtime) < limit:
            return
        aside = self.file.with_name(f".{self.file.name}.{secrets.token_hex(4)}.tmp")
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            os.rename(self.file, aside)
            moved = os.stat(aside)
            if (moved.st_ino, moved.st_mtime_ns) != (seen.st_ino, seen.st_mtime_ns):
                with contextlib.suppress(OSError):  # it is a new owner's: put it back
                    os.link(aside, self.file)
            aside.unlink()


def owner_of(lock: Path) -> str | None:
    """The living owner, such as `process 12 on node3`; None if there is none that can be seen."""
    ownership = Ownership(lock)
    try:
        if not lock.exists() or ownership.take():
            return None
    except OSError:
        return None
    finally:
        ownership.release()
    return ownership.owner or "another process"


@contextmanager
def owning(
    lock: Path, waiting: Callable[[str | None], None] = lambda _: None, poll: float = 0.5
) -> Iterator[None]:
    """Be the owner during the block. `waiting(owner)` is called after every attempt that failed;
    it may raise to give up."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    ownership = Ownership(lock)
    while not ownership.take():
        waiting(ownership.owner)
        time.sleep(poll)
    try:
        yield
    finally:
        ownership.release()


def _boot_number() -> int:
    """The number of this machine's running kernel, shared by its containers; 0 if unknown."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        return int(text.replace("-", ""), 16)
    except (OSError, ValueError):
        return 0
