"""Scorer files of strangers: what they name is not built before it is known to fit."""

import json
import resource
import struct
from pathlib import Path

import pytest
import torch

from eval.errors import ScoringError
from eval.fcn import FCN8s
from eval.scorer_file import load_scorer, save_scorer


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
