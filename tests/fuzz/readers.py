"""Every reader of outside files, with the inputs that it is tried on."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import caffe
import documents
import numpy as np
import pictures
import served
import stored
from archives import archive_files
from hypothesis import strategies as st
from mutations import mutated
from PIL import Image

from pix2pix.dataset_entry import DatasetEntry
from pix2pix.layouts import SourcePair

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Reader:
    """One reader: what it is given, and how it is called."""

    inputs: Callable[[Path], st.SearchStrategy[Any]]
    """From a folder for what the inputs are made with; nothing is left there."""
    read: Callable[[Path], None]
    """Reads the file; only UserError and ScoringError are documented."""
    file: str = "file"
    """The name under which the input is written; the error must give it."""
    writes: tuple[str, ...] = ()
    """Names beside the file that the reader may write below."""
    names_file: bool = True
    beside: Callable[[], dict[str, bytes]] = dict
    """Other files that lie there, by name."""
    lay: Callable[[Path], None] | None = None
    """What else must lie or run before the file is read; outside the fence."""
    network: bool = False


def _bytes(strategy: Callable[[], st.SearchStrategy[Any]]) -> Callable[[Path], Any]:
    return lambda _: strategy()


@functools.cache
def _shipped() -> dict[str, DatasetEntry]:
    from pix2pix.datasets import load_registry

    return load_registry()


def _read_suite(path: Path) -> None:
    from experiments.plan import make_plan
    from experiments.spec import load_suite
    from pix2pix.errors import UserError

    suite = load_suite(path)
    suite.model_dump_json()
    assert json.loads(json.dumps(suite.model_dump(), allow_nan=False))
    try:
        make_plan(suite, _shipped()["procedural"], "smoke").cells("f")
    except UserError as error:  # settings that do not go together: the arm is named
        raise UserError(f"{path}: {error}") from None


def _read_profiles(path: Path) -> None:
    from experiments.spec import load_profiles

    for profile in load_profiles(path).values():
        json.dumps(profile.model_dump(), allow_nan=False)


def _read_override(path: Path) -> None:
    from experiments.plan import make_plan
    from experiments.settings import parse_override
    from experiments.spec import load_suite

    key, value = parse_override(path.read_text(encoding="utf-8", errors="surrogateescape"))
    plan = make_plan(
        load_suite("losses"),
        _shipped()["procedural"],
        "smoke",
        arms=("L1+cGAN",),
        overrides={key: value},
    )
    json.dumps(plan.overrides, allow_nan=False)
    assert plan.cells("f")[0].config.digest


def _read_registry(path: Path) -> None:
    from pix2pix.datasets import load_registry

    for entry in load_registry(path).values():
        assert entry.roles() and entry.classes is not None
        assert entry.location(Path("/data")).is_relative_to("/") and entry.model_dump_json()


def _entry(kind: str) -> DatasetEntry:
    colours = {"sky": [10, 20, 30], "road": [200, 100, 0], "car": [0, 0, 255]}
    sides: dict[str, Any] = {"a": {"folder": "A"}, "b": {"folder": "B", "kind": kind}}
    labelled = {"classes": colours, "ignore": [9] if kind == "index" else "rest"}
    written = {"name": "mine", "layout": "folders", "sides": sides}
    return DatasetEntry.model_validate(written | (labelled if kind != "photo" else {}))


def _read_pair(entry: DatasetEntry, pair: SourcePair) -> None:
    from pix2pix.decode import check_pair, read_pair

    check_pair(entry, pair)
    decoded = read_pair(entry, pair, (16, 16))
    for image in decoded.images.values():
        assert image.shape == (16, 16, 3) and image.dtype == np.uint8
    assert (decoded.labels is not None) == bool(entry.classes)
    if decoded.labels is not None:
        known = decoded.labels[decoded.labels != 255]
        assert decoded.labels.shape == (16, 16) and (known < len(entry.classes)).all()


def _read_photo(path: Path) -> None:
    _read_pair(_entry("photo"), SourcePair("x", (("a", str(path)), ("b", str(path)))))


def _read_labels(kind: str) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        photo = path.with_name("photo.png")
        _read_pair(_entry(kind), SourcePair("x", (("a", str(photo)), ("b", str(path)))))

    return read


def _photo() -> dict[str, bytes]:
    return {"photo.png": pictures.encoded(Image.fromarray(pictures.photo()), "PNG")}


def _read_halves(name: str) -> Callable[[Path], None]:
    entry = _shipped()[name]
    return lambda path: _read_pair(
        entry, SourcePair("x", tuple((role, str(path)) for role in entry.sides))
    )


def _read_scored_photo(path: Path) -> None:
    from eval.images import read_rgb

    image = read_rgb(path)
    assert image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8


def _read_scored_labels(path: Path) -> None:
    from eval.images import read_labels

    labels = read_labels(path, 10)
    assert labels.ndim == 2 and labels.dtype == np.uint8


def _unpack(path: Path) -> None:
    from pix2pix.unpack import unpack

    place = path.parent / "mine"
    files = unpack(path, place, keep=("train",))
    found = [one for one in place.rglob("*") if not one.is_dir()]
    assert len(found) == files and not any(one.is_symlink() for one in found)


def _read_pins(path: Path) -> None:
    from pix2pix.download import read_pins

    for pin in read_pins(path.parent).values():
        assert all(isinstance(pin.get(key, ""), str) for key in ("sha256", "content"))


NAME_TRAPS = (
    "1.png",
    "2.jpg",
    "a.PNG",
    "=cmd|x.png",
    "<script>alert(1)<.png",
    "\\input{x}_&%#.png",
    "-rf.png",
    "CON.png",
    "\x1b[31m.png",
    "nl\n.png",
    "\u202e.png",
    "e\u0301.png",
    "\xe9.png",
    "\udcff.png",
    ".hidden.png",
    " .png",
    ".png",
    "x" * 240 + ".png",
    "a.png.txt",
    "a.jpeg",
)


def _names() -> st.SearchStrategy[bytes]:
    """Names of a folder's files, a line each as far as they hold no newline."""
    name = st.one_of(
        st.sampled_from(NAME_TRAPS), st.text(max_size=10).map(lambda text: text + ".png")
    )
    return st.lists(name, max_size=6).map(
        lambda names: "\0".join(names).encode("utf-8", "surrogatepass")
    )


def _lay_names(path: Path) -> None:
    for split in ("train", "val", "test"):
        for side in "AB":
            folder = path.parent / "data" / "mine" / side / split
            folder.mkdir(parents=True)
            (folder / "fine.png").touch()
            for name in path.read_bytes().split(b"\0"):
                if name and b"/" not in name and len(name) < 256 and name not in (b".", b".."):
                    (folder / os.fsdecode(name)).touch()


def _find(path: Path) -> None:
    from pix2pix.errors import CONTROL
    from pix2pix.layouts import find_pairs, listing_digest

    sides = {"a": {"folder": "A/{split}"}, "b": {"folder": "B/{split}"}}
    written = {"name": "mine", "layout": "folders", "sides": sides}
    pairs = find_pairs(DatasetEntry.model_validate(written), path.parent / "data")
    listing_digest(pairs, path.parent)
    for pair in pairs["train"]:
        assert not CONTROL.search(pair.name) and pair.name == Path(pair.name).name
        pair.name.encode()


def _small() -> DatasetEntry:
    sides = {"a": {"folder": "A/{split}"}, "b": {"folder": "B/{split}", "kind": "index"}}
    colours = {"sky": [10, 20, 30], "road": [200, 100, 0], "car": [0, 0, 255]}
    written = {"name": "mine", "layout": "folders", "sides": sides, "classes": colours}
    return DatasetEntry.model_validate({**written, "ignore": [9]})


@functools.cache
def _cache(made: Path) -> dict[str, bytes]:
    """The files of a small data set's cache, by name."""
    from pix2pix.pairs import prepare

    for split in ("train", "val", "test"):
        for side, image in (("A", pictures.photo()), ("B", pictures.indices())):
            folder = made / "data" / "mine" / side / split
            folder.mkdir(parents=True)
            Image.fromarray(image).save(folder / "1.png")
    prepare(_small(), made / "data", (16, 16), None, made / "cache")
    (place,) = [one for one in (made / "cache").iterdir() if one.is_dir()]
    return {one.name: one.read_bytes() for one in place.iterdir()}


def _lay_cache(file: str) -> Callable[[Path], None]:
    def lay(path: Path) -> None:
        made = path.parents[3] / "made"
        (place,) = [one for one in (made / "cache").iterdir() if one.is_dir()]
        here = path.parent / "cache" / place.name
        here.mkdir(parents=True)
        for name, content in _cache(made).items():
            (here / name).write_bytes(content)
        content = path.read_bytes()
        if file.endswith(".npy"):  # a file of another size is not looked at
            content = content.ljust(len(_cache(made)[file]), b"\0")[: len(_cache(made)[file])]
        (here / file).write_bytes(content)

    return lay


def _read_cache(path: Path) -> None:
    from pix2pix.pairs import prepare

    made = path.parents[3] / "made"
    for in_memory in (True, False):
        data = prepare(
            _small(), made / "data", (16, 16), None, path.parent / "cache", in_memory=in_memory
        )
        assert data.train.inputs.shape == (1, 16, 16, 3) and len(data.fingerprint) == 64
        assert data.test.labels is not None and data.test.labels.dtype == np.uint8


def _read_checkpoint(path: Path) -> None:
    from pix2pix.checkpoint import load

    assert isinstance(load(path), dict)


def _read_generator(path: Path) -> None:
    import torch

    from pix2pix.checkpoint import load_generator

    network, content = load_generator(path)
    assert isinstance(content["origin"], dict)
    height, width = content["size"]
    if height * width <= 256**2:
        network(torch.zeros(1, content["channels"][0], height, width))


def _read_scorer(path: Path) -> None:
    import torch

    from eval.scorer_file import load_scorer

    model, metadata = load_scorer(path)
    assert len(metadata["class_names"]) == model.classes
    model(torch.zeros(1, 3, 8, 8))


def _read_journal(path: Path) -> None:
    from experiments import jobs
    from experiments.journal import is_done, last, read_records, replay

    records = read_records(path)
    assert all(isinstance(record["event"], str) for record in records)
    kept = replay(records)
    assert [record for record in kept if record not in records] == []
    last(records, "losses")
    is_done(path.parent)
    job = jobs.Job("cell", path.parent.name, "t", str(path.parents[2]), None, {}, "r", None)
    assert jobs.state(job).word


def _read_job(path: Path) -> None:
    from experiments.jobs import Job

    job = Job.from_json(path.read_text(encoding="utf-8", errors="replace"))
    assert job.directory.is_relative_to(job.out) and re.fullmatch("[0-9a-f]+", job.digest)
    assert Job.from_json(job.to_json()) == job


def _read_suite_record(path: Path) -> None:
    from experiments.records import _kept
    from experiments.tracking import read_suite_record

    arms = [{"name": "L1", "identity": "0123"}]
    _kept(path, arms, "fedc", set())
    record = read_suite_record(path)
    assert all(isinstance(arm["name"], str) for arm in record["arms"])
    assert all(cell["arm"] and cell["digest"] and cell["seed"] >= 0 for cell in record["cells"])


def _read_scores(path: Path) -> None:
    from experiments import jobs
    from experiments.tracking_scores import read_sheet, reference_of, with_sheet

    sheet = _documented(lambda: read_sheet(path.parent))
    reference_of(sheet)
    with_sheet([{"event": "done", "time": 1.0}], sheet)
    job = jobs.Job("cell", path.parent.name, "t", str(path.parents[2]), None, {}, "fedc", None)
    jobs.scores_current(job)


def _documented(read: Callable[[], Any]) -> Any:
    """What `read_sheet` says: ValueError where it is not JSON."""
    from pix2pix.errors import UserError

    try:
        return read()
    except ValueError as error:
        raise UserError(f"scores.json: {error}") from None


def _read_caffemodel(path: Path) -> None:
    from eval.caffemodel import read_caffemodel

    for layer in read_caffemodel(path).layers:
        assert all(np.isfinite(blob).all() for blob in layer.blobs)


def _ready_for_caffe(_: Path) -> None:
    _ready("eval.caffemodel")


def _ready(module: str) -> None:
    """Modules that run programs while they are imported are imported outside the fence."""
    importlib.import_module(module)


READERS: dict[str, Reader] = {
    "suite": Reader(
        lambda _: documents.yaml_files(
            documents.suites(),
            [p.read_bytes() for p in sorted((ROOT / "experiments").glob("*.yaml"))],
        ),
        _read_suite,
        "mine.yaml",
    ),
    "profiles": Reader(
        lambda _: documents.yaml_files(
            documents.profiles, [(ROOT / "experiments" / "profiles.yaml").read_bytes()]
        ),
        _read_profiles,
        "profiles.yaml",
    ),
    "override": Reader(
        lambda _: documents.overrides.map(lambda text: text.encode("utf-8", "surrogatepass")),
        _read_override,
        names_file=False,
    ),
    "data sets": Reader(
        lambda _: documents.yaml_files(
            documents.registries(), [(ROOT / "datasets.yaml").read_bytes()[:2500]]
        ),
        _read_registry,
        "datasets.yaml",
    ),
    "photo": Reader(_bytes(pictures.image_files), _read_photo, "p.png"),
    "index map": Reader(
        _bytes(pictures.image_files), _read_labels("index"), "l.png", beside=_photo
    ),
    "painted labels": Reader(
        _bytes(pictures.image_files), _read_labels("palette"), "l.png", beside=_photo
    ),
    "side by side": Reader(_bytes(pictures.image_files), _read_halves("maps"), "1.jpg"),
    "painted halves": Reader(_bytes(pictures.painted_files), _read_halves("facades"), "1.jpg"),
    "scored photo": Reader(_bytes(pictures.image_files), _read_scored_photo, "p.png"),
    "scored labels": Reader(_bytes(pictures.image_files), _read_scored_labels, "l.png"),
    "archive": Reader(
        _bytes(archive_files), _unpack, "a.tar.gz", writes=("mine", ".mine.unpacking")
    ),
    "pins": Reader(lambda _: stored.json_files(stored.PINS), _read_pins, "datasets.lock.json"),
    "file names": Reader(_bytes(_names), _find, names_file=False, writes=("data",), lay=_lay_names),
    "cache record": Reader(
        lambda made: stored.json_files(json.loads(_cache(made)["meta.json"])),
        _read_cache,
        names_file=False,
        writes=("cache",),
        lay=_lay_cache("meta.json"),
    ),
    "cache array": Reader(
        lambda made: mutated([_cache(made)["train-a.npy"]]),
        _read_cache,
        names_file=False,
        writes=("cache",),
        lay=_lay_cache("train-a.npy"),
    ),
    "download": Reader(
        _bytes(served.answers),
        served.read_download,
        names_file=False,
        writes=("got", "got.part", "got.part.json"),
        lay=served.serve,
        network=True,
    ),
    "checkpoint": Reader(stored.checkpoint_files, _read_checkpoint, "checkpoint.pt"),
    "generator": Reader(stored.checkpoint_files, _read_generator, "generator.pt"),
    "scorer": Reader(stored.scorer_files, _read_scorer, "scorer.safetensors"),
    "journal": Reader(lambda _: stored.journals(), _read_journal, "journal.jsonl"),
    "job": Reader(lambda _: stored.json_files(stored.JOB), _read_job, names_file=False),
    "suite record": Reader(
        lambda _: stored.json_files(stored.SUITE_RECORD),
        _read_suite_record,
        "quick.json",
        lay=lambda _: _ready("experiments.tracking"),
    ),
    "scores": Reader(lambda _: stored.json_files(stored.SCORES), _read_scores, "scores.json"),
}
if importlib.util.find_spec("eval.caffemodel"):
    READERS["caffemodel"] = Reader(
        _bytes(caffe.caffemodels), _read_caffemodel, "fcn.caffemodel", lay=_ready_for_caffe
    )
