"""Scorer files of strangers: what they name is not built before it is known to fit."""

import json
import resource
import struct
from pathlib import Path

import pytest
import torch

from eval.scorer.fcn8s import FCN8s
from eval.scorer.file import load_scorer, save_scorer
from pix2pix.common.errors import ScoringError


@pytest.fixture
def scorer(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "scorer.safetensors"
    model = FCN8s(2, width=1, batch_norm=True, padding="same")
    save_scorer(path, model, {}, ["a", "b"], "test")
    return path


def _retold(path: Path, **changes) -> None:
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    told = json.loads(header["__metadata__"]["scorer"]) | changes
    header["__metadata__"]["scorer"] = json.dumps(told)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])


def test_a_scorer_that_says_nothing_new_is_read(scorer: Path) -> None:
    _retold(scorer)
    model, told = load_scorer(scorer)
    assert model.classes == 2 and told["class_names"] == ["a", "b"]


@pytest.mark.parametrize(
    "network",
    [{"classes": 2, "width": 2000}, {"classes": 100_000, "width": 1}, {"classes": 2}]
    + [{"classes": 2, "width": wrong} for wrong in (0, -1, 1.5, "1", None, True, [1])],
)
def test_a_network_that_the_file_cannot_hold_is_not_built(scorer: Path, network: dict) -> None:
    _retold(scorer, network={"batch_norm": True, "padding": "same", **network})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ScoringError, match=r"scorer\.safetensors: .*do not fit") as caught:
        load_scorer(scorer)
    assert "\n" not in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 18


@pytest.mark.parametrize("names", [["a"], [], "ab", None, 2])
def test_names_that_are_not_one_a_class(scorer: Path, names) -> None:
    _retold(scorer, class_names=names)
    with pytest.raises(ScoringError, match=r"scorer\.safetensors: "):
        load_scorer(scorer)


def _without_record_hash(path: Path, **changes) -> None:
    """As files of earlier versions are: nothing there says what the rest of the record was."""
    _retold(path, **changes)
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    told = json.loads(header["__metadata__"]["scorer"])
    del told["record_sha256"]
    header["__metadata__"]["scorer"] = json.dumps(told)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])


@pytest.mark.parametrize(
    "changes", [{"class_names": ["b", "a"]}, {"source": "mine"}, {"settings": {"width": 2}}]
)
def test_a_record_that_was_altered_is_noticed(scorer: Path, changes: dict) -> None:
    _retold(scorer, **changes)
    with pytest.raises(ScoringError, match=r"scorer\.safetensors: altered: what it says of itself"):
        load_scorer(scorer)
    _without_record_hash(scorer, **changes)
    assert load_scorer(scorer)[1].items() >= changes.items()


@pytest.mark.parametrize(
    "size", [[16], [16, 16, 3], [16, "16"], [0, 16], [-1, 16], [1.5, 2], [True, 2], 16, "16x16", {}]
)
def test_a_size_of_another_shape_is_refused(scorer: Path, size) -> None:
    _without_record_hash(scorer, source={"dataset": "d", "size": size})
    with pytest.raises(ScoringError, match=r"scorer\.safetensors: .*size must be two whole"):
        load_scorer(scorer)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(scorer: Path, value: float) -> None:
    model, _ = load_scorer(scorer)
    with torch.no_grad():
        next(model.parameters())[0, 0, 0, 0] = value
    save_scorer(scorer, model, {}, ["a", "b"], {"dataset": "d"})
    with pytest.raises(ScoringError, match=r"scorer\.safetensors: holds weights that are not"):
        load_scorer(scorer)
