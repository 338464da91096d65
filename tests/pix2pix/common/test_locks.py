"""One owner at a time: threads, processes, dead owners, other machines, folders without flock."""

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from filelock import SoftFileLease
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pix2pix.common.locks import LEASE, LOST, Ownership, owner_of, owning

HOLD = """
import sys, time
from pathlib import Path
from pix2pix.common.locks import Ownership
one = Ownership(Path(sys.argv[1]), heartbeat=float(sys.argv[2]))
print(one.take(), flush=True)
time.sleep(600)
"""
RACE = """
import sys, time
from pathlib import Path
from pix2pix.common.locks import owning
lock, tally = Path(sys.argv[1]), Path(sys.argv[2])
for _ in range(15):
    with owning(lock, poll=0.002):
        number = int(tally.read_text())
        time.sleep(0.001)
        tally.write_text(str(number + 1))
"""
PATIENCE = 60
"""Seconds for what takes a moment where the machine has nothing else to do."""


@pytest.fixture
def lock(tmp_path):
    return tmp_path / "owner.lock"


@pytest.fixture
def without_flock(monkeypatch):
    """A folder whose kernel has no locks for it."""

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.fixture
def without_exchange(monkeypatch):
    """A folder, as of NFS, in which two names cannot be swapped: filelock keeps dead leases."""
    monkeypatch.setattr("filelock._soft.exchange_names", lambda *_: False)
    monkeypatch.setattr("filelock._util.exchange_names", lambda *_: False)


def lease_of(lock):
    return lock.with_name("owner.lock.owner")


def elsewhere(lock, **changes):
    """The lease of an owner on another machine, or of what `changes` name; returns its text."""
    text = f"""filelock/2
pid={changes.get("pid", 77)}
host={changes.get("host", "node3")}
mode=lease
token=0123456789abcdef
duration={LEASE}
start={changes.get("start", (12345 << 64) | 1000)}
"""
    lease_of(lock).write_text(text)
    return text


def age(lock, seconds):
    then = time.time() - seconds
    os.utime(lease_of(lock), (then, then))


def this_boot():
    text = Path("/proc/sys/kernel/random/boot_id").read_text()
    return int(text.replace("-", ""), 16)


def start(code, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def start_holder(lock, heartbeat=5.0):
    holder = start(HOLD, lock, heartbeat)
    assert holder.stdout.readline() == "True\n"
    return holder


def test_one_owner_at_a_time(lock):
    first, second = Ownership(lock), Ownership(lock)
    assert first.take() and not second.take()
    assert owner_of(lock) == f"process {os.getpid()} on {socket.gethostname()}"
    first.release()
    assert owner_of(lock) is None
    assert second.take()
    second.release()
    assert sorted(path.name for path in lock.parent.iterdir()) == ["owner.lock"]


def test_a_killed_owner_on_this_machine_is_followed_at_once(lock, without_exchange):
    holder = start_holder(lock)
    mine = Ownership(lock)
    assert not mine.take()
    assert owner_of(lock).startswith(f"process {holder.pid} on ")
    holder.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + LEASE / 2
    while owner_of(lock) is not None:  # before it is reaped: a zombie owns nothing
        assert time.monotonic() < deadline
    assert mine.take()
    mine.release()
    holder.wait()


def test_a_killed_owner_is_followed_at_once_without_flock(lock, without_flock):
    holder = start_holder(lock)
    mine = Ownership(lock)
    assert not mine.take()
    holder.kill()
    holder.wait()
    assert owner_of(lock) is None
    assert mine.take()
    mine.release()


@pytest.mark.parametrize("flock", [True, False])
@pytest.mark.parametrize("exchange", [True, False])
def test_an_owner_on_another_machine_is_followed_when_its_heart_stopped(
    lock, request, flock, exchange
):
    if not flock:
        request.getfixturevalue("without_flock")
    if not exchange:
        request.getfixturevalue("without_exchange")
    text = elsewhere(lock)
    mine = Ownership(lock)
    age(lock, LEASE - 20)
    assert not mine.take()
    lock.touch()
    assert owner_of(lock) == "process 77 on node3"
    assert lease_of(lock).read_text() == text
    age(lock, LEASE + 20)
    assert owner_of(lock) is None
    assert mine.take()
    mine.release()


@pytest.mark.parametrize("host", ["container-1", socket.gethostname() + "?pidns-f0000123"])
def test_a_dead_container_on_this_machine_is_followed_at_once(lock, host):
    """The kernel's lock is free, although process 1 of this namespace lives."""
    elsewhere(lock, pid=1, host=host, start=(this_boot() << 64) | 5)
    mine = Ownership(lock)
    assert mine.take()
    mine.release()


@pytest.mark.parametrize("host", ["container-1", socket.gethostname() + "?pidns-f0000123"])
def test_a_container_may_live_if_there_is_no_flock(lock, host, without_flock):
    elsewhere(lock, pid=2**22 + 1, host=host, start=(this_boot() << 64) | 5)
    assert not Ownership(lock).take()


def test_an_owner_from_before_a_restart_of_this_machine_is_dead(lock, without_flock):
    with Ownership(lock)._lease as lease:
        host = lease.owner.hostname
    elsewhere(lock, pid=os.getpid(), host=host, start=(12345 << 64) | 5)
    mine = Ownership(lock)
    assert mine.take()
    mine.release()


def test_the_lease_is_touched_while_it_is_held(lock):
    mine = Ownership(lock, heartbeat=0.02)
    assert mine.take()
    age(lock, 1000)
    deadline = time.monotonic() + PATIENCE
    while time.time() - mine.file.stat().st_mtime > 500:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    mine.release()


def test_an_owner_that_slept_too_long_learns_that_it_lost(lock, without_flock):
    lost = threading.Event()
    mine = Ownership(lock, heartbeat=0.05, lost=lost.set)
    assert mine.take()
    lease_of(lock).unlink()
    text = elsewhere(lock)
    assert lost.wait(PATIENCE)
    mine.release()
    assert lease_of(lock).read_text() == text, "another owner's lease stays"


def test_a_process_that_lost_what_it_owned_ends(lock, without_flock):
    holder = start_holder(lock, heartbeat=0.05)
    age(lock, LEASE + 20)
    holder.send_signal(signal.SIGSTOP)
    time.sleep(0.2)
    age(lock, LEASE + 20)
    mine = Ownership(lock)
    assert mine.take()
    holder.send_signal(signal.SIGCONT)
    assert holder.wait(PATIENCE) == LOST
    mine.release()


def test_a_release_is_no_loss(lock):
    lost = threading.Event()
    for _ in range(30):
        mine = Ownership(lock, heartbeat=0.001, lost=lost.set)
        assert mine.take()
        time.sleep(0.002)
        mine.release()
    assert not lost.wait(0.1)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\0" * 40, b"filelock/2\npid=-1\nhost=x\nmode=lease\n", b"x" * 100_000]
)
@pytest.mark.parametrize("exchange", [True, False])
def test_a_torn_lease_counts_until_it_is_old(lock, content, exchange, request):
    """A living owner may be writing it; a power failure or a kill may have left it."""
    if not exchange:
        request.getfixturevalue("without_exchange")
    lease_of(lock).write_bytes(content)
    mine = Ownership(lock)
    assert not mine.take()
    age(lock, 10)
    assert mine.take()
    mine.release()


def test_without_flock_a_torn_lease_counts_as_long_as_a_whole_one(lock, without_flock):
    lease_of(lock).write_bytes(b"")
    age(lock, LEASE - 20)
    assert not Ownership(lock).take()
    age(lock, LEASE + 20)
    mine = Ownership(lock)
    assert mine.take()
    mine.release()


def test_a_lease_of_the_future_is_dead(lock, without_flock):
    """Of a machine that died after its folder's clock was set back by a day."""
    elsewhere(lock)
    age(lock, -86_400)
    mine = Ownership(lock)
    assert mine.take()
    mine.release()


def test_a_name_in_a_lease_does_not_steer_the_terminal(lock):
    elsewhere(lock, host="\x1b[31mred")
    assert Ownership(lock).owner == r"process 77 on \x1b[31mred"


def test_a_lease_that_cannot_be_read_is_an_error(lock, monkeypatch):
    elsewhere(lock)
    age(lock, 1000)
    mine, real = Ownership(lock), open

    def fail(path, *rest):
        if path == mine.file:
            raise OSError(errno.EIO, "Input/output error")
        return real(path, *rest)

    monkeypatch.setattr("pix2pix.common.locks.open", fail, raising=False)
    with pytest.raises(OSError, match="Input/output"):
        mine.take()
    assert lease_of(lock).exists()


def test_the_lease_of_who_was_faster_is_put_back(lock, without_flock, monkeypatch):
    """Another machine replaces the dead lease between our look at it and its removal."""
    elsewhere(lock)
    age(lock, 1000)
    real, texts = os.rename, []

    def late(source, target):
        if not texts:
            lease_of(lock).unlink()
            texts.append(elsewhere(lock, pid=78))
        real(source, target)

    monkeypatch.setattr(os, "rename", late)
    assert not Ownership(lock).take()
    assert lease_of(lock).read_text() == texts[0]
    assert sorted(path.name for path in lock.parent.iterdir()) == ["owner.lock", "owner.lock.owner"]


def test_a_full_disk_leaves_no_lease_and_names_the_file(lock, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("filelock._marker.write_all", full)
    with pytest.raises(OSError, match=r"No space left.*owner\.lock\.owner"):
        Ownership(lock).take()
    monkeypatch.undo()
    assert not lease_of(lock).exists()
    mine = Ownership(lock)
    assert mine.take()
    mine.release()


def test_four_processes_count_without_losing_one(lock, tmp_path):
    tally = tmp_path / "tally"
    tally.write_text("0")
    racers = [start(RACE, lock, tally) for _ in range(4)]
    assert [racer.wait(timeout=300) for racer in racers] == [0] * 4
    assert tally.read_text() == "60"


def test_waiting_names_the_owner_and_may_give_up(lock):
    holder = Ownership(lock)
    assert holder.take()
    owners = []

    def waiting(owner):
        owners.append(owner)
        if len(owners) == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError), owning(lock, waiting, poll=0.001):
        pass
    assert owners == [f"process {os.getpid()} on {socket.gethostname()}"] * 2
    holder.release()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "nowhere").write_text("a file where a folder should be")
    with pytest.raises(OSError, match="nowhere"):
        Ownership(tmp_path / "nowhere" / "owner.lock").take()
    assert owner_of(tmp_path / "nowhere" / "owner.lock") is None


class Locking(RuleBasedStateMachine):
    """Any order of taking, asking and releasing: never two owners, never a lock that stays."""

    @initialize()
    def begin(self):
        self.folder = tempfile.TemporaryDirectory()
        self.lock = Path(self.folder.name) / "x.lock"
        self.all = [Ownership(self.lock) for _ in range(3)]
        self.holder = None

    @rule(who=st.integers(0, 2))
    def take(self, who):
        if self.holder == who:
            return
        assert self.all[who].take() == (self.holder is None)
        self.holder = who if self.holder is None else self.holder

    @rule()
    def ask(self):
        assert (owner_of(self.lock) is None) == (self.holder is None)

    @rule()
    def release(self):
        if self.holder is not None:
            self.all[self.holder].release()
            self.holder = None

    @invariant()
    def the_lease_is_there_while_it_is_held(self):
        if hasattr(self, "lock"):
            held = SoftFileLease(self.lock.with_name("x.lock.owner")).owner is not None
            assert held == (self.holder is not None)

    def teardown(self):
        for one in self.all:
            one.release()
        self.folder.cleanup()


TestLocking = Locking.TestCase
TestLocking.settings = settings(max_examples=20, stateful_step_count=15, deadline=None)
