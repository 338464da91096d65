"""Every reader of outside files, with the inputs that it is tried on."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import caffe
import documents
import pictures
import recorded
import served
import stored
from archives import archive_files
from document_readers import read_override, read_profiles, read_registry, read_suite
from folder_readers import (
    find,
    lay_names,
    names,
    read_pins,
    unpack,
)
from hypothesis import strategies as st
from image_readers import (
    photo,
    read_alike,
    read_halves,
    read_labels,
    read_photo,
    read_scored_labels,
    read_scored_photo,
)
from record_readers import (
    read_caffemodel,
    read_checkpoint,
    read_generator,
    read_job,
    read_journal,
    read_scorer,
    read_scores,
    read_suite_record,
    read_weights,
    ready,
    ready_for_caffe,
)

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Reader:
    """One reader: what it is given, and how it is called."""

    inputs: Callable[[Path], st.SearchStrategy[Any]]
    """From a folder for what the inputs are made with; nothing is left there."""
    read: Callable[[Path], None]
    """Reads the file; only UserError is documented."""
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


def _data_sets(path: Path) -> st.SearchStrategy[bytes]:
    entries = documents.shipped_entries(path)
    shipped = [documents.as_yaml(one) for one in entries]
    nearly = st.one_of(documents.registries(), st.sampled_from(entries))
    return documents.yaml_files(nearly, shipped)


READERS: dict[str, Reader] = {
    "suite": Reader(
        lambda _: documents.yaml_files(
            documents.suites(),
            [p.read_bytes() for p in sorted((ROOT / "experiments").glob("*.yaml"))],
        ),
        read_suite,
        "mine.yaml",
    ),
    "profiles": Reader(
        lambda _: documents.yaml_files(
            documents.profiles, [(ROOT / "experiments" / "profiles.yaml").read_bytes()]
        ),
        read_profiles,
        "profiles.yaml",
    ),
    "override": Reader(
        lambda _: documents.overrides.map(lambda text: text.encode("utf-8", "surrogatepass")),
        read_override,
        names_file=False,
    ),
    "data sets": Reader(lambda _: _data_sets(ROOT / "datasets.yaml"), read_registry, "mine.yaml"),
    "photo": Reader(_bytes(pictures.image_files), read_photo, "p.png"),
    "index map": Reader(_bytes(pictures.image_files), read_labels("index"), "l.png", beside=photo),
    "painted labels": Reader(
        _bytes(pictures.image_files), read_labels("palette"), "l.png", beside=photo
    ),
    "side by side": Reader(_bytes(pictures.image_files), read_halves("maps"), "1.jpg"),
    "painted halves": Reader(_bytes(pictures.painted_files), read_halves("facades"), "1.jpg"),
    "scored photo": Reader(_bytes(pictures.image_files), read_scored_photo, "p.png"),
    "one reading": Reader(
        _bytes(pictures.readable_files),
        read_alike,
        "p.png",
        beside=photo,
        lay=lambda _: ready("pix2pix.translate"),
    ),
    "scored labels": Reader(_bytes(pictures.image_files), read_scored_labels, "l.png"),
    "archive": Reader(
        _bytes(archive_files), unpack, "a.tar.gz", writes=("mine", ".mine.unpacking")
    ),
    "pins": Reader(lambda _: recorded.json_files(recorded.PINS), read_pins, "datasets.lock.json"),
    "file names": Reader(_bytes(names), find, names_file=False, writes=("data",), lay=lay_names),
    "download": Reader(
        _bytes(served.answers),
        served.read_download,
        names_file=False,
        # filelock asks for the folder itself, which exists.
        writes=("", "got", "got.part", "got.part.etag", ".got.lock"),
        lay=served.serve,
        network=True,
    ),
    "checkpoint": Reader(stored.checkpoint_files, read_checkpoint, "checkpoint.pt"),
    "generator": Reader(
        stored.checkpoint_files,
        read_generator,
        "generator.pt",
        lay=lambda _: ready("torch._dynamo"),  # torch imports it on first use, and it probes /tmp
    ),
    "weights": Reader(
        stored.weight_files,
        read_weights,
        "latest_net_G.pth",
        lay=lambda _: ready("torch._dynamo"),
    ),
    "scorer": Reader(stored.scorer_files, read_scorer, "scorer.safetensors"),
    "journal": Reader(lambda _: recorded.journals(), read_journal, "journal.jsonl"),
    "job": Reader(lambda _: recorded.json_files(recorded.JOB), read_job, names_file=False),
    "suite record": Reader(
        lambda _: recorded.json_files(recorded.SUITE_RECORD),
        read_suite_record,
        "quick.json",
        lay=lambda _: ready("experiments.tracking.mirror"),
    ),
    "scores": Reader(
        lambda _: recorded.json_files(recorded.SCORES),
        read_scores,
        "scores.json",
        lay=lambda _: ready("experiments.tracking.mirror"),
    ),
}
if importlib.util.find_spec("eval.scorer.convert_caffemodel"):
    READERS["caffemodel"] = Reader(
        _bytes(caffe.caffemodels), read_caffemodel, "fcn.caffemodel", lay=ready_for_caffe
    )
