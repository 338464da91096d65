from pathlib import Path

import pytest

from eval.scorer.fcn8s import FCN8s
from eval.scorer.file import check_scorer, load_scorer, save_scorer
from eval.scorer.find_scorer import find_scorer
from eval.scorer.train import ScorerSettings
from pix2pix.common.errors import NotMeasured, ScoringError

NAMES = ["road", "sky"]


@pytest.fixture
def save(tmp_path):
    def saving(name, source, names=NAMES):
        network = FCN8s(len(names), width=1, batch_norm=True, padding="same")
        save_scorer(tmp_path / name, network, ScorerSettings(width=1), names, source)
        return tmp_path / name

    return saving


def of(dataset, side=32):
    return {"dataset": dataset, "fingerprint": "ab" * 32, "size": [side, side]}


def test_finds_the_one_of_that_data_set_size_and_classes(tmp_path, save):
    wanted = save("a.safetensors", of("streets"))
    save("b.safetensors", of("streets", 64))
    save("c.safetensors", of("lanes"))
    save("d.safetensors", of("streets"), ["sky", "road"])
    save("e.safetensors", "a fingerprint, as in files of earlier versions")
    (tmp_path / "f.safetensors").write_bytes(b"damaged")
    assert find_scorer("streets", (32, 32), NAMES, tmp_path) == wanted


def test_lists_what_there_is_and_how_to_get_one(tmp_path, save):
    with pytest.raises(NotMeasured) as none:
        find_scorer("streets", (32, 32), NAMES, tmp_path)
    assert "no scorer of streets at 32x32" in str(none.value) and "nothing" in str(none.value)
    command = "--arms L1 --set training.steps=1 --set size=32x32 --dataset streets --data-root DIR"
    assert str(none.value).endswith(command)
    assert "\n" not in str(none.value)
    with pytest.raises(NotMeasured, match=r"size=32x64 .* --datasets 'my sets\.yaml' --data"):
        find_scorer("streets", (32, 64), NAMES, tmp_path, Path("my sets.yaml"))
    save("a.safetensors", of("streets"))
    save("b.safetensors", of("streets"))
    save("old.safetensors", "fingerprint")
    with pytest.raises(NotMeasured) as several:
        find_scorer("streets", (32, 32), NAMES, tmp_path)
    assert "2 scorers of streets" in str(several.value)
    assert "a.safetensors (streets 32x32)" in str(several.value)
    assert "old.safetensors (of an unnamed data set)" in str(several.value)


@pytest.mark.parametrize(
    ("source", "names", "said"),
    [
        (of("lanes"), NAMES, "trained for lanes, not for streets"),
        (of("streets"), ["road", "car"], "its class 1 is car, not sky"),
        ("old", ["road", "sky", "car"], "3 classes, not 2"),
    ],
)
def test_refuses_a_scorer_of_another_data_set_or_other_classes(save, source, names, said):
    path = save("a.safetensors", source, names)
    _, record = load_scorer(path)
    with pytest.raises(ScoringError, match=rf"a\.safetensors: .*{said}"):
        check_scorer(path, record, NAMES, {"dataset": "streets"})


@pytest.mark.parametrize("source", [of("streets"), "old"])
def test_takes_one_that_fits(save, source):
    path = save("a.safetensors", source)
    check_scorer(path, load_scorer(path)[1], NAMES, {"dataset": "streets"})
