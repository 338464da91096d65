"""The readers of archives, folders of images and their cache."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import strategies as st

from pix2pix.data.registry import DatasetEntry


def unpack(path: Path) -> None:
    from pix2pix.data.download import unpack

    place = path.parent / "mine"
    unpack(path, place, keep=("train",))
    assert not any(one.is_symlink() for one in place.rglob("*"))


def read_pins(path: Path) -> None:
    from pix2pix.data.download import read_pins

    for pin in read_pins(path.parent).values():
        assert len(pin.sha256) == len(pin.content) == 64


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
    from eval.matching import match
    from pix2pix.common.errors import CONTROL, UserError
    from pix2pix.data.layouts import find_pairs, images_in, listing_digests, passed_over

    sides = {"a": {"folder": "A/{split}"}, "b": {"folder": "B/{split}"}}
    written = {"name": "mine", "layout": "folders", "sides": sides}
    folders = [path.parent / "data" / "mine" / side / "train" for side in "AB"]

    try:
        pairs = find_pairs(DatasetEntry.model_validate(written), path.parent / "data")
    except UserError:
        match(*folders)  # scoring refuses the same names
        raise AssertionError("refused for training, and scored") from None
    read = tuple(pair.name for pair in pairs["train"])
    assert match(*folders).names == read == (*sorted(images_in(folders[0])),)
    listing_digests(pairs, path.parent)
    files = [file for found in pairs.values() for pair in found for _, file in pair.files]
    assert not CONTROL.search(passed_over(path.parent / "data" / "mine", files))
    for pair in pairs["train"]:
        assert not CONTROL.search(pair.name) and pair.name == Path(pair.name).name
        pair.name.encode()
