"""One owner at a time: threads, processes, dead owners, other machines, folders without flock."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pix2pix.common import locks
from pix2pix.common.locks import Owner, Ownership, owner_of, owning, read_owner

HOLD = """
import sys, time
from pathlib import Path
from pix2pix.common.locks import Ownership
one = Ownership(Path(sys.argv[1]))
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

    monkeypatch.setattr(locks.fcntl, "flock", refuse)


def elsewhere(lock, **changes):
    """The file of an owner on another machine."""
    other = replace(Owner.here(), host="other", machine="another boot", **changes)
    lock.with_name("owner.lock.owner").write_text(json.dumps(asdict(other)))
    return other


def age(lock, seconds):
    file = lock.with_name("owner.lock.owner")
    then = time.time() - seconds
    os.utime(file, (then, then))


def start(code, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_one_at_a_time(lock):
    first, second = Ownership(lock), Ownership(lock)
    assert first.take() and not second.take()
    assert owner_of(lock).pid == os.getpid()
    first.release()
    assert owner_of(lock) is None
    assert second.take()
    second.release()
    assert sorted(path.name for path in lock.parent.iterdir()) == ["owner.lock"]


def test_a_killed_owner_on_this_machine_is_followed_at_once(lock):
    holder = start(HOLD, lock)
    assert holder.stdout.readline() == "True\n"
    mine = Ownership(lock)
    assert not mine.take()
    assert owner_of(lock).pid == holder.pid
    holder.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE
    while owner_of(lock) is not None:  # before it is reaped: a zombie owns nothing
        assert time.monotonic() < deadline
    while not mine.take():  # its heart is a thread of its own, and may hold the lock's end longer
        assert time.monotonic() < deadline
    mine.release()
    holder.wait()


def test_a_killed_owner_is_followed_at_once_without_flock(lock, without_flock):
    holder = start(HOLD, lock)
    assert holder.stdout.readline() == "True\n"
    mine = Ownership(lock)
    assert not mine.take()
    holder.kill()
    holder.wait()
    assert mine.take()
    mine.release()


def test_a_process_number_that_is_used_again_is_not_the_owner(lock, without_flock):
    gone = replace(Owner.here(), started="12345")
    lock.with_name("owner.lock.owner").write_text(json.dumps(asdict(gone)))
    mine = Ownership(lock)
    assert mine.take()
    mine.release()


@pytest.mark.parametrize("flock", [True, False])
def test_an_owner_on_another_machine_is_followed_when_its_heart_stopped(lock, request, flock):
    if not flock:
        request.getfixturevalue("without_flock")
    other = elsewhere(lock)
    mine = Ownership(lock, stale=6000)
    age(lock, 5000)
    assert not mine.take()
    assert owner_of(lock, stale=6000) == other
    age(lock, 7000)
    assert owner_of(lock, stale=6000) is None
    assert mine.take()
    mine.release()


def test_a_container_on_this_machine_that_died_is_followed_at_once(lock):
    here = Owner.here()
    dead = replace(here, host="container", space="pid:[1]", pid=1, token="0123456789abcdef")
    lock.with_name("owner.lock.owner").write_text(json.dumps(asdict(dead)))
    mine = Ownership(lock)
    assert mine.take(), "the kernel's lock was free"
    mine.release()


def test_the_heart_beats_while_it_is_held(lock):
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
    other = elsewhere(lock)
    assert lost.wait(PATIENCE)
    mine.release()
    assert owner_of(lock) == other, "what is another's stays"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\0" * 40, b'{"host": "x"}'])
def test_a_torn_file_is_no_owner(lock, content):
    lock.with_name("owner.lock.owner").write_bytes(content)
    mine = Ownership(lock)
    assert mine.take()
    mine.release()


@pytest.mark.parametrize(
    "changes",
    [
        {"pid": 0},
        {"pid": -1},
        {"pid": 2**70},
        {"pid": True},
        {"pid": "1"},
        {"host": 5},
        {"host": "\x1b[31mred"},
        {"machine": None},
        {"started": []},
        {"space": "s" * 300},
        {"token": ""},
        {"token": "../../../etc/pass"},
        {"token": "0123456789ABCDEF"},
    ],
)
def test_a_file_that_no_owner_writes_counts_as_torn(lock, without_flock, changes):
    wrong = asdict(Owner.here()) | changes
    lock.with_name("owner.lock.owner").write_text(json.dumps(wrong))
    mine = Ownership(lock)
    assert owner_of(lock) is None and not mine.take(), "just written: perhaps by a newer version"
    age(lock, 70)
    assert mine.take()
    mine.release()


@pytest.mark.parametrize("content", ["[" * 100_000, '{"pid": NaN}'])
def test_no_file_breaks_the_parser(lock, content):
    lock.with_name("owner.lock.owner").write_text(content)
    assert owner_of(lock) is None
    mine = Ownership(lock)
    assert mine.take()
    mine.release()


def test_a_heartbeat_of_the_future_holds_no_longer_than_one_of_now(lock, without_flock):
    """Of a machine that died after its folder's clock was set back by a day."""
    elsewhere(lock)
    age(lock, -86_400)
    mine = Ownership(lock, stale=0.3)
    deadline = time.monotonic() + 10
    assert not mine.take()
    while not mine.take():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    mine.release()


def test_an_owner_that_cannot_be_read_is_not_taken_for_torn(lock, monkeypatch):
    elsewhere(lock)
    age(lock, 1000)

    def fail(_):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(locks, "read_json", fail)
        with pytest.raises(OSError, match="Input/output"):
            Ownership(lock).take()
    assert read_owner(lock.with_name("owner.lock.owner")) is not None


def test_a_file_that_nfs_has_just_replaced_is_read_again(lock, monkeypatch):
    other, answers = elsewhere(lock), [OSError(errno.ESTALE, "Stale file handle")]
    real = locks.read_json

    def read(file):
        if answers:
            raise answers.pop()
        return real(file)

    monkeypatch.setattr(locks, "read_json", read)
    assert read_owner(lock.with_name("owner.lock.owner")) == other


@pytest.mark.parametrize("links", [True, False])
def test_who_comes_late_to_a_torn_file_puts_the_new_owners_back(
    lock, without_flock, monkeypatch, links
):
    file, living = lock.with_name("owner.lock.owner"), []
    file.write_bytes(b"{")

    def meanwhile(_):
        living.append(elsewhere(lock))
        return float("inf")

    def refuse(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(locks, "age", meanwhile)
    if not links:
        monkeypatch.setattr(os, "link", refuse)
    assert not Ownership(lock).take()
    assert read_owner(file) == living[0]
    assert sorted(path.name for path in lock.parent.iterdir()) == [lock.name, file.name]


def test_a_release_between_two_looks_of_the_heart_is_no_loss(lock, monkeypatch):
    """What `read_owner` answers is the next owner's file, read after our release."""
    lost, beaten = threading.Event(), threading.Event()
    mine = Ownership(lock, heartbeat=0.01, lost=lost.set)
    assert mine.take()
    heart, real = threading.get_ident(), read_owner

    def read(file):
        if threading.get_ident() == heart:
            return real(file)
        mine._released.set()  # as `release` begins
        beaten.set()
        return replace(Owner.here(), machine="another boot")

    monkeypatch.setattr(locks, "read_owner", read)
    assert beaten.wait(5)
    monkeypatch.undo()
    mine.release()
    assert not lost.wait(0.1)


def test_the_heart_knows_itself_after_the_owner_was_forgotten(lock, monkeypatch):
    """Read before our release, looked at after it."""
    lost, touched = threading.Event(), threading.Event()
    mine = Ownership(lock, lost=lost.set)
    assert mine.take()
    me = mine._me

    class Late(threading.Event):
        def wait(self, _):
            return False

        def is_set(self):
            mine._me = None  # as `release` ends
            return touched.is_set()

    monkeypatch.setattr(os, "utime", lambda _: touched.set())
    mine._beat(Late(), me)
    mine._me = me
    mine.release()
    assert touched.is_set() and not lost.is_set()


def test_what_the_killed_left_of_this_lock_is_cleared(lock):
    names = ["owner.lock.owner.0123.tmp", ".owner.lock.owner.4567.tmp"]
    kept = ["owner.lock.owner.fresh.tmp", "another.lock.owner.0123.tmp"]
    for name in names + kept:
        lock.with_name(name).touch()
        if "fresh" not in name:
            os.utime(lock.with_name(name), (1, 1))
    mine = Ownership(lock)
    assert mine.take()
    mine.release()
    assert sorted(path.name for path in lock.parent.iterdir()) == sorted([lock.name, *kept])


def test_four_processes_count_without_losing_one(lock, tmp_path):
    tally = tmp_path / "tally"
    tally.write_text("0")
    racers = [start(RACE, lock, tally) for _ in range(4)]
    assert [racer.wait(timeout=300) for racer in racers] == [0] * 4
    assert tally.read_text() == "60"


def test_waiting_is_told_who_owns_it_and_may_give_up(lock):
    holder = Ownership(lock)
    assert holder.take()
    told = []

    def waiting(owner):
        told.append(owner)
        if len(told) == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError), owning(lock, waiting, poll=0.001):
        pass
    assert [owner.pid for owner in told] == [os.getpid()] * 2
    holder.release()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(OSError, match=r"nowhere/owner\.lock"):
        Ownership(tmp_path / "nowhere" / "owner.lock").take()


class Locking(RuleBasedStateMachine):
    """Any order of taking, releasing and dying: never two owners, never a lock that stays."""

    @initialize(data=st.data())
    def begin(self, data):
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        from pathlib import Path

        self.all = [Ownership(Path(self.folder.name) / "x.lock") for _ in range(3)]
        self.holder = None

    @rule(who=st.integers(0, 2))
    def take(self, who):
        if self.holder == who:
            return
        assert self.all[who].take() == (self.holder is None)
        self.holder = who if self.holder is None else self.holder

    @rule()
    def release(self):
        if self.holder is not None:
            self.all[self.holder].release()
            self.holder = None

    @rule()
    def die(self):
        """As the kernel ends a process: its lock goes, its file stays."""
        if self.holder is not None:
            one = self.all[self.holder]
            os.close(one._number)
            one._released.set()
            one._number = one._me = None
            self.holder = None

    @invariant()
    def the_file_names_the_holder(self):
        if getattr(self, "holder", None) is not None:
            one = self.all[self.holder]
            assert read_owner(one.file) == one._me

    def teardown(self):
        for one in self.all:
            one.release()
        self.folder.cleanup()


TestLocking = Locking.TestCase
TestLocking.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
