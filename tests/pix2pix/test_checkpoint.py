"""Damaged or foreign checkpoints are passed over; the ones that are kept are intact."""

import errno
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pix2pix import checkpoint
from pix2pix.checkpoint import CheckpointSeries, load, load_generator, read_tensors, save
from pix2pix.common import files
from pix2pix.common.errors import Unreadable, UserError
from pix2pix.config import GeneratorSettings


def content(step):
    return {"weights": torch.full((50,), float(step)), "note": "a" * 20}


@pytest.fixture
def series(tmp_path):
    return CheckpointSeries(tmp_path, "mine")


class Told(list):
    def __call__(self, path, why):
        self.append((path.name, why))


def test_the_two_newest_are_kept(series, tmp_path):
    for step in (5, 10, 1500, 20_000_000):
        series.write(step, content(step))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["checkpoint-0001500.pt", "checkpoint-20000000.pt"]
    found = series.newest(Told())
    assert found["step"] == 20_000_000 and found["weights"][0] == 20_000_000


@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=300, deadline=None)
def test_a_flipped_bit_is_found_or_changes_nothing(tmp_path_factory, where, bit):
    """A ZIP file has padding and dates, whose bits do not matter."""
    path = tmp_path_factory.mktemp("flip") / "checkpoint-0000007.pt"
    save(path, content(7))
    raw = bytearray(path.read_bytes())
    raw[int(where * len(raw))] ^= 1 << bit
    path.write_bytes(raw)
    try:
        found = load(path)
    except Unreadable:
        raise
    except UserError as error:
        assert "not a readable checkpoint" in str(error)
    else:
        assert found.keys() == {"format", "weights", "note"} and found["note"] == "a" * 20
        assert torch.equal(found["weights"], content(7)["weights"])


@given(st.floats(0, 1, exclude_max=True))
@settings(max_examples=60, deadline=None)
def test_any_truncation_is_found(tmp_path_factory, share):
    path = tmp_path_factory.mktemp("cut") / "checkpoint-0000007.pt"
    save(path, content(7))
    raw = path.read_bytes()
    path.write_bytes(raw[: int(share * len(raw))])
    with pytest.raises(UserError, match="not a readable checkpoint"):
        load(path)


def test_a_damaged_checkpoint_gives_way_to_the_one_before(series, tmp_path):
    for step in (5, 10):
        series.write(step, content(step))
    newest = tmp_path / "checkpoint-0000010.pt"
    newest.write_bytes(newest.read_bytes()[:-100])
    told = Told()
    assert series.newest(told)["step"] == 5
    ((name, why),) = told
    assert name == "checkpoint-0000010.pt.damaged" and "not a readable checkpoint" in why
    assert (tmp_path / name).exists() and not newest.exists()


def test_with_all_damaged_there_is_none(series, tmp_path):
    for step in (5, 10):
        series.write(step, content(step))
    for path in series.paths():
        path.write_bytes(b"PK")
    told = Told()
    assert series.newest(told) is None
    assert [name for name, _ in told] == [
        "checkpoint-0000010.pt.damaged",
        "checkpoint-0000005.pt.damaged",
    ]
    assert series.paths() == []


def test_another_cells_checkpoint_is_not_used(series, tmp_path):
    CheckpointSeries(tmp_path, "another").write(5, content(5))
    told = Told()
    assert series.newest(told) is None
    assert "another cell" in told[0][1]


def test_a_checkpoint_is_a_plain_file_of_torch(tmp_path):
    save(tmp_path / "x.pt", content(1))
    assert torch.load(tmp_path / "x.pt", weights_only=True)["note"] == "a" * 20
    assert zipfile.ZipFile(tmp_path / "x.pt").testzip() is None


def test_a_flipped_bit_in_a_weight_is_found_by_its_checksum(series, tmp_path):
    for step in (5, 10):
        series.write(step, content(step))
    newest = tmp_path / "checkpoint-0000010.pt"
    raw = bytearray(newest.read_bytes())
    raw[raw.index(np.full(50, 10, np.float32).tobytes()) + 70] ^= 4
    newest.write_bytes(raw)
    told = Told()
    assert series.newest(told)["step"] == 5
    ((name, why),) = told
    assert name == "checkpoint-0000010.pt.damaged" and "checksum" in why


class FullDisk:
    """A file whose disk is full after so many bytes."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        if len(data) > self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= len(data)
        return self.file.write(data)

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.mark.parametrize("room", [0, 100, 700, 1200])
def test_a_full_disk_leaves_the_earlier_checkpoints_and_names_the_file(
    series, tmp_path, monkeypatch, room
):
    series.write(5, content(5))
    real = open

    class Opener:
        def __enter__(self):
            return FullDisk(self.file, room)

        def __exit__(self, *_):
            self.file.close()

        def __init__(self, *arguments, **options):
            self.file = real(*arguments, **options)

    monkeypatch.setattr(files, "open", Opener, raising=False)
    with pytest.raises(OSError, match=r"No space left.*checkpoint-0000010\.pt") as caught:
        series.write(10, content(10))
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-0000005.pt"]
    assert series.newest(Told())["step"] == 5


ALLOCATOR = "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("open", OSError(errno.EIO, "Input/output error")),
        ("open", OSError(errno.ESTALE, "Stale file handle")),
        ("open", PermissionError(errno.EACCES, "Permission denied")),
        ("open", OSError(errno.EMFILE, "Too many open files")),
        ("torch", OSError(errno.EIO, "Input/output error")),
        ("torch", MemoryError()),
        ("torch", RuntimeError(ALLOCATOR)),
        ("torch", RuntimeError("PytorchStreamReader failed reading file data/0: file read failed")),
    ],
)
def test_what_the_disk_or_the_memory_does_is_no_damage(series, tmp_path, monkeypatch, place, error):
    for step in (5, 10):
        series.write(step, content(step))
    before = sorted(tmp_path.iterdir())

    def fail(*_, **__):
        raise error

    with monkeypatch.context() as broken:
        if place == "open":
            broken.setattr(checkpoint, "open", fail, raising=False)
        else:
            broken.setattr(torch, "load", fail)
        told = Told()
        with pytest.raises(Unreadable, match=r"checkpoint-0000010\.pt: .*read") as caught:
            series.newest(told)
    assert "\n" not in str(caught.value) and told == []
    assert sorted(tmp_path.iterdir()) == before
    assert series.newest(told)["step"] == 10


def test_a_folder_that_cannot_be_listed_is_not_an_empty_one(series, monkeypatch):
    def fail(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    series.write(5, content(5))
    monkeypatch.setattr(os, "listdir", fail)
    with pytest.raises(PermissionError):
        series.newest(Told())


def test_whole_bytes_are_never_called_damaged(series, tmp_path):
    CheckpointSeries(tmp_path, "another").write(5, content(5))
    save(tmp_path / "checkpoint-0000006.pt", {"format": 3})
    save(tmp_path / "checkpoint-0000007.pt", {"payload": os.system})
    told = Told()
    assert series.newest(told) is None
    assert [name for name, _ in told] == [f"checkpoint-000000{n}.pt.foreign" for n in (7, 6, 5)]


def test_memory_that_runs_out_is_nothing_against_a_generator(tmp_path, monkeypatch):
    wanted = GeneratorSettings(width=4, depth=5)
    generator = checkpoint.build_generator(wanted, (3, 3), (32, 32))
    path = tmp_path / "generator.pt"
    checkpoint.save_generator(path, generator, wanted, channels=(3, 3), size=(32, 32), origin={})

    def fail(*_):
        raise RuntimeError(ALLOCATOR)

    monkeypatch.setattr(checkpoint, "build_generator", fail)
    with pytest.raises(Unreadable, match="not enough memory"):
        load_generator(path)


class Payload:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("form", ["new", "old", "pickle", "inside a state dict"])
def test_a_malicious_pickle_never_runs(tmp_path, form):
    ran, path = tmp_path / "ran", tmp_path / "G.pth"
    payload = Payload(f"touch {ran}")
    if form == "pickle":
        path.write_bytes(pickle.dumps(payload))
    else:
        content = (
            {"weight": torch.zeros(1), "extra": payload}
            if form == "inside a state dict"
            else payload
        )
        torch.save(content, path, _use_new_zipfile_serialization=form != "old")
    with pytest.raises(UserError, match=r"not a readable checkpoint .*nothing of it was run"):
        read_tensors(path)
    assert not ran.exists()
    if form == "pickle":
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert ran.exists(), "the payload is a real one"


def test_a_truncated_file_is_refused(tmp_path):
    torch.save({"weight": torch.ones(50)}, tmp_path / "G.pth")
    content = (tmp_path / "G.pth").read_bytes()
    for length in (0, 1, 100, len(content) // 2, len(content) - 1):
        (tmp_path / "cut.pth").write_bytes(content[:length])
        with pytest.raises(UserError, match="not a readable checkpoint"):
            read_tensors(tmp_path / "cut.pth")
    with pytest.raises(UserError, match="cannot be read"):
        read_tensors(tmp_path / "none.pth")
