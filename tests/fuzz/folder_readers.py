"""The readers of archives, folders of images and their cache."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pictures
from hypothesis import strategies as st
from PIL import Image

from pix2pix.data.registry import DatasetEntry


def unpack(path: Path) -> None:
    from pix2pix.data.unpack import unpack

    place = path.parent / "mine"
    files = unpack(path, place, keep=("train",))
    found = [one for one in place.rglob("*") if not one.is_dir()]
    assert len(found) == files and not any(one.is_symlink() for one in found)


def read_pins(path: Path) -> None:
    from pix2pix.data.download import read_pins

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


def names() -> st.SearchStrategy[bytes]:
    """Names of a folder's files, a line each as far as they hold no newline."""
    name = st.one_of(
        st.sampled_from(NAME_TRAPS), st.text(max_size=10).map(lambda text: text + ".png")
    )
    return st.lists(name, max_size=6).map(
        lambda names: "\0".join(names).encode("utf-8", "surrogatepass")
    )


def lay_names(path: Path) -> None:
    for split in ("train", "val", "test"):
        for side in "AB":
            folder = path.parent / "data" / "mine" / side / split
            folder.mkdir(parents=True)
            (folder / "fine.png").touch()
            for name in path.read_bytes().split(b"\0"):
                if name and b"/" not in name and len(name) < 256 and name not in (b".", b".."):
                    (folder / os.fsdecode(name)).touch()


def find(path: Path) -> None:
    from pix2pix.common.errors import CONTROL
    from pix2pix.data.layouts import find_pairs, listing_digest

    sides = {"a": {"folder": "A/{split}"}, "b": {"folder": "B/{split}"}}
    written = {"name": "mine", "layout": "folders", "sides": sides}
    pairs = find_pairs(DatasetEntry.model_validate(written), path.parent / "data")
    listing_digest(pairs, path.parent)
    for pair in pairs["train"]:
        assert not CONTROL.search(pair.name) and pair.name == Path(pair.name).name
        pair.name.encode()


def small() -> DatasetEntry:
    sides = {"a": {"folder": "A/{split}"}, "b": {"folder": "B/{split}", "kind": "index"}}
    colours = {"sky": [10, 20, 30], "road": [200, 100, 0], "car": [0, 0, 255]}
    written = {"name": "mine", "layout": "folders", "sides": sides, "classes": colours}
    return DatasetEntry.model_validate({**written, "ignore": [9]})


@functools.cache
def cache(made: Path) -> dict[str, bytes]:
    """The files of a small data set's cache, by name."""
    from pix2pix.data.pairs import prepare

    for split in ("train", "val", "test"):
        for side, image in (("A", pictures.photo()), ("B", pictures.indices())):
            folder = made / "data" / "mine" / side / split
            folder.mkdir(parents=True)
            Image.fromarray(image).save(folder / "1.png")
    prepare(small(), made / "data", (16, 16), None, made / "cache")
    (place,) = [one for one in (made / "cache").iterdir() if one.is_dir()]
    return {one.name: one.read_bytes() for one in place.iterdir()}


def lay_cache(file: str) -> Callable[[Path], None]:
    def lay(path: Path) -> None:
        made = path.parents[3] / "made"
        (place,) = [one for one in (made / "cache").iterdir() if one.is_dir()]
        here = path.parent / "cache" / place.name
        here.mkdir(parents=True)
        for name, content in cache(made).items():
            (here / name).write_bytes(content)
        content = path.read_bytes()
        if file.endswith(".npy"):  # a file of another size is not looked at
            content = content.ljust(len(cache(made)[file]), b"\0")[: len(cache(made)[file])]
        (here / file).write_bytes(content)

    return lay


def read_cache(path: Path) -> None:
    from pix2pix.data.pairs import prepare

    made = path.parents[3] / "made"
    for in_memory in (True, False):
        data = prepare(
            small(), made / "data", (16, 16), None, path.parent / "cache", in_memory=in_memory
        )
        assert data.train.inputs.shape == (1, 16, 16, 3) and len(data.fingerprint) == 64
        assert data.test.labels is not None and data.test.labels.dtype == np.uint8
