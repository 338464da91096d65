"""Scorer files: damaged or manipulated ones are refused, and the one that fits is found."""

import json
import struct
from pathlib import Path

import pytest
import torch

from eval.scorer.fcn8s import FCN8s
from eval.scorer.file import (
    check_scorer,
    find_scorer,
    load_scorer,
    recorded_sha256,
    save_scorer,
    weights_sha256,
)
from eval.scorer.train import ScorerSettings
from pix2pix.common.errors import NotMeasured, UserError

NAMES = ["road", "sky"]


@pytest.fixture
def scorer(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "scorer.safetensors"
    model = FCN8s(2, width=1, batch_norm=True, padding="same")
    save_scorer(path, model, {}, ["a", "b"], {"dataset": "d"})
    return path


def _change_record(path: Path, **changes) -> None:
    """Change fields of the record in the header; the value ... removes one."""
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    record = json.loads(header["__metadata__"]["scorer"]) | changes
    record = {key: value for key, value in record.items() if value is not ...}
    header["__metadata__"]["scorer"] = json.dumps(record)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])


def test_a_header_written_anew_is_read(scorer: Path) -> None:
    _change_record(scorer)
    model, record = load_scorer(scorer)
    assert model.classes == 2 and record["class_names"] == ["a", "b"]
    assert recorded_sha256(scorer) == weights_sha256(model)


def test_files_without_a_record_have_no_recorded_hash(scorer: Path, tmp_path: Path) -> None:
    assert recorded_sha256(tmp_path / "absent.safetensors") is None
    scorer.write_bytes(scorer.read_bytes()[:50])
    assert recorded_sha256(scorer) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"class_names": ["b", "a"]},
        {"class_names": None},
        {"source": {"dataset": "e"}},
        {"settings": {"width": 2}},
        {"network": {"classes": 2, "width": 2000, "batch_norm": True, "padding": "same"}},
        {"sha256": "ab" * 32},
    ]
    + [{key: ...} for key in ("record_sha256", "sha256", "source", "settings", "class_names")],
)
def test_an_altered_record_is_refused(scorer: Path, changes: dict) -> None:
    _change_record(scorer, **changes)
    with pytest.raises(UserError, match=r"scorer\.safetensors: altered: its "):
        load_scorer(scorer)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(scorer: Path, value: float) -> None:
    model, _ = load_scorer(scorer)
    with torch.no_grad():
        next(model.parameters())[0, 0, 0, 0] = value
    save_scorer(scorer, model, {}, ["a", "b"], {"dataset": "d"})
    with pytest.raises(UserError, match=r"scorer\.safetensors: holds weights that are not"):
        load_scorer(scorer)


@pytest.fixture
def save(tmp_path):
    def saving(name, source, names=NAMES):
        network = FCN8s(len(names), width=1, batch_norm=True, padding="same")
        save_scorer(tmp_path / name, network, ScorerSettings(width=1), names, source)
        return tmp_path / name

    return saving


def photos_of(dataset, side=32):
    return {"dataset": dataset, "fingerprint": "ab" * 32, "size": [side, side]}


def test_finds_the_only_scorer_of_a_data_set_size_and_classes(tmp_path, save):
    wanted = save("a.safetensors", photos_of("streets"))
    save("b.safetensors", photos_of("streets", 64))
    save("c.safetensors", photos_of("lanes"))
    save("d.safetensors", photos_of("streets"), ["sky", "road"])
    save("e.safetensors", {"caffemodel_sha256": "ab" * 32, "file": "fcn.caffemodel"})
    (tmp_path / "f.safetensors").write_bytes(b"damaged")
    assert find_scorer("streets", (32, 32), NAMES, tmp_path) == wanted


def test_lists_the_scorers_found_and_how_to_get_one(tmp_path, save):
    with pytest.raises(NotMeasured) as none:
        find_scorer("streets", (32, 32), NAMES, tmp_path)
    assert "no scorer of streets at 32x32" in str(none.value) and "nothing" in str(none.value)
    command = "--arms L1 --set training.steps=1 --set size=32x32 --dataset streets --data-root DIR"
    assert str(none.value).endswith(command)
    assert "\n" not in str(none.value)
    with pytest.raises(NotMeasured, match=r"size=32x64 .* --datasets 'my sets\.yaml' --data"):
        find_scorer("streets", (32, 64), NAMES, tmp_path, Path("my sets.yaml"))
    save("a.safetensors", photos_of("streets"))
    save("b.safetensors", photos_of("streets"))
    save("c.safetensors", {"file": "fcn.caffemodel"})
    save("d.safetensors", {})
    with pytest.raises(NotMeasured) as several:
        find_scorer("streets", (32, 32), NAMES, tmp_path)
    assert "2 scorers of streets" in str(several.value)
    assert "a.safetensors (streets 32x32)" in str(several.value)
    assert "c.safetensors (fcn.caffemodel)" in str(several.value)
    assert "d.safetensors (unnamed data set)" in str(several.value)


@pytest.mark.parametrize(
    ("source", "names", "reason"),
    [
        (photos_of("lanes"), NAMES, "trained with the dataset lanes, not streets"),
        (photos_of("streets"), ["road", "car"], "its class 1 is car, not sky"),
        ({}, ["road", "sky", "car"], "its class 2 is car, not missing"),
    ],
)
def test_refuses_a_scorer_of_another_data_set_or_other_classes(save, source, names, reason):
    path = save("a.safetensors", source, names)
    _, record = load_scorer(path)
    with pytest.raises(UserError, match=rf"a\.safetensors: .*{reason}"):
        check_scorer(path, record, NAMES, {"dataset": "streets"})


@pytest.mark.parametrize("source", [photos_of("streets"), {}])
def test_accepts_a_scorer_that_fits(save, source):
    path = save("a.safetensors", source)
    check_scorer(path, load_scorer(path)[1], NAMES, {"dataset": "streets"})
