"""Nothing torn is ever read: promise 2 of docs/reliability.md.

Files of a study are damaged between two starts: cut short, a bit turned, zeroed, gone.
"""

from __future__ import annotations

import random
import shutil
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from fault_compare import differences, facts
from fault_study import Study

from experiments.run.journal import read_records

pytestmark = pytest.mark.slow


def cut(path: Path, rng: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content))])


def turn_a_bit(path: Path, rng: random.Random) -> None:
    """Flip one bit; in a ZIP file one of its largest member, since padding holds no information."""
    content = bytearray(path.read_bytes())
    begin, size = 0, len(content)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            member = max(archive.infolist(), key=lambda member: member.file_size)
        lengths = struct.unpack_from("<HH", content, member.header_offset + 26)
        begin, size = member.header_offset + 30 + sum(lengths), member.file_size
    content[begin + rng.randrange(size)] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def zero(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    begin = rng.randrange(len(content))
    content[begin : begin + 4096] = bytes(len(content[begin : begin + 4096]))
    path.write_bytes(content)


def empty(path: Path, rng: random.Random) -> None:
    path.write_bytes(b"")


@dataclass
class Torn:
    """A study that was killed in training, with two checkpoints of each of its cells."""

    folder: Path

    def copy(self, folder: Path) -> Study:
        study = Study(folder)
        for name in ("runs", "mlflow.db"):
            source = self.folder / name
            target = study.folder / name
            shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
        return study


@pytest.fixture(scope="module")
def torn(tmp_path_factory, store, whole):
    study = Study(tmp_path_factory.mktemp("torn") / "study", store)
    plan = {"phase": "checkpoint", "path": whole.digests["L1+cGAN"], "only": "renamed", "count": 9}
    study.run("--checkpoint-every", "0", plan=plan | {"how": "all"})
    assert study.fired()
    study.wait_until_alone()
    return Torn(study.folder)


@pytest.fixture(scope="module")
def complete(tmp_path_factory, store, whole):
    study = Study(tmp_path_factory.mktemp("complete") / "study", store)
    assert study.run().status == 0
    return Torn(study.folder)


def checkpoints(cell: Path) -> list[Path]:
    """Newest first."""
    return sorted(cell.glob("checkpoint*.pt"), reverse=True)


def goes_on_exactly(study, whole):
    ended = study.run()
    assert "Traceback" not in ended.said
    assert ended.status == 0, ended
    assert differences(whole.facts, facts(study)) == []
    return ended


@pytest.mark.parametrize(
    "damage", [turn_a_bit, *(pytest.param(d, marks=pytest.mark.long) for d in (cut, zero, empty))]
)
def test_a_damaged_checkpoint_gives_way_to_the_one_before(torn, whole, tmp_path, damage):
    study, rng = torn.copy(tmp_path / "study"), random.Random(1)
    cell = study.cells()["L1+cGAN"]
    newest, before = checkpoints(cell)[:2]
    content = newest.read_bytes()
    while newest.read_bytes() == content:  # what is zeroed may have been zero
        damage(newest, rng)
    ended = goes_on_exactly(study, whole)
    assert starts(cell)[1] == int(before.stem.rpartition("-")[2]), "not the checkpoint before"
    told = [line for line in ended.said.splitlines() if "set aside" in line]
    assert any("L1+cGAN seed 1" in line for line in told), ended
    assert list(cell.glob("checkpoint*damaged*"))


@pytest.mark.long
def test_with_both_checkpoints_damaged_the_training_begins_anew(torn, whole, tmp_path):
    study, rng = torn.copy(tmp_path / "study"), random.Random(2)
    cell = study.cells()["L1+cGAN"]
    for path in checkpoints(cell):
        turn_a_bit(path, rng)
    ended = goes_on_exactly(study, whole)
    assert ended.said.count("set aside") >= 2
    assert starts(cell) == [0, 0]


def starts(cell: Path) -> list[int]:
    """The steps that the sessions of a training began at."""
    records = read_records(cell / "journal.jsonl")
    return [record["step"] for record in records if record["event"] == "start"]


def forget_scores(study):
    """Cut the cells' journals behind their training, as a crash before the scores would."""
    for cell in study.cells().values():
        lines = (cell / "journal.jsonl").read_text().splitlines(keepends=True)
        keep = next(i for i, line in enumerate(lines) if '"trained"' in line)
        (cell / "journal.jsonl").write_text("".join(lines[: keep + 1]))


@pytest.mark.long
def test_a_damaged_generator_is_trained_again(complete, whole, tmp_path):
    study, rng = complete.copy(tmp_path / "study"), random.Random(3)
    forget_scores(study)
    for cell, damage in zip(study.cells().values(), (cut, turn_a_bit), strict=True):
        shutil.rmtree(cell / "translations")
        damage(cell / "generator.pt", rng)
    goes_on_exactly(study, whole)


@pytest.mark.long
@pytest.mark.parametrize("damage", [cut, turn_a_bit])
def test_damaged_images_and_scorer_are_made_again(complete, whole, tmp_path, damage):
    study, rng = complete.copy(tmp_path / "study"), random.Random(4)
    forget_scores(study)
    for cell in study.cells().values():
        damage(sorted((cell / "translations").glob("*.png"))[1], rng)
    for folder in ("targets", "labels"):
        damage(sorted(study.out.glob(f"references/*/{folder}/*.png"))[0], rng)
    for scorer in study.out.glob("scorers/*.safetensors"):
        damage(scorer, rng)
    goes_on_exactly(study, whole)


@pytest.mark.long
def test_caches_and_records_that_were_cut_are_made_again(complete, whole, tmp_path):
    study, rng = complete.copy(tmp_path / "study"), random.Random(5)
    forget_scores(study)
    shutil.rmtree(study.out / "cache")
    assert study.run().status == 0  # the cache's name holds the folder; this one is our own
    forget_scores(study)
    for path in [
        *sorted(study.out.glob("cache/*/*.npy"))[:2],
        *study.out.glob("suites/mine/*.json"),
        *study.out.glob("cells/*/config.json"),
        *study.out.glob("cells/*/scores.json"),
        *study.out.glob("cells/*/per_image.npz"),
    ]:
        cut(path, rng)
    goes_on_exactly(study, whole)


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_journal_whose_tail_was_cut_anywhere_goes_on(complete, whole, tmp_path, seed):
    """The tail that a power cut can take: what was written since the last checkpoint."""
    study, rng = complete.copy(tmp_path / "study"), random.Random(seed)
    for cell in study.cells().values():
        content = (cell / "journal.jsonl").read_bytes()
        safe = content.index(b'"trained"')
        (cell / "journal.jsonl").write_bytes(content[: rng.randrange(safe, len(content))])
    goes_on_exactly(study, whole)
