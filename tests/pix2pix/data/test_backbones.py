import dataclasses
import hashlib

import numpy as np
import pytest
import torch
from backbones import alexnet, publish, use_this_machines
from safetensors.torch import save_file

from pix2pix.common.errors import NotMeasured, UserError
from pix2pix.data.backbones import (
    BACKBONES,
    checkpoints_folder,
    digest_of,
    load_convolutions,
    on_disk,
    read_convolutions,
)

WHOLE = {"classifier.1.weight": torch.zeros(3)}


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A stand-in for torchvision's whole file."""
    path = tmp_path / "alexnet.pth"
    torch.save(alexnet() | WHOLE, path)
    publish(monkeypatch, "alex", path)
    return path


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    checkpoints_folder().mkdir(parents=True)
    return checkpoints_folder()


def test_the_digest_is_the_documented_one():
    """sha256 of "name dtype shape\\n" and the bytes, by hand for two small arrays."""
    arrays = {"b": np.array([1], np.uint8), "a": np.zeros((2, 1), np.float32)}
    by_hand = b"a <f4 (2, 1)\n" + bytes(8) + b"b |u1 (1,)\n" + b"\x01"
    assert digest_of(arrays) == hashlib.sha256(by_hand).hexdigest()


def test_a_whole_file_gives_its_convolutions(file):
    found = load_convolutions("alex", file)
    assert found.tensors.keys() == alexnet().keys()
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in alexnet().items())


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_convolutions_alone_are_known_by_their_digest(file, tmp_path, monkeypatch, suffix):
    whole = load_convolutions("alex", file)
    small = tmp_path / f"small{suffix}"
    (torch.save if suffix == ".pth" else save_file)(whole.tensors, small)
    with pytest.raises(UserError, match="not the weights of alex, or altered"):
        load_convolutions("alex", small)
    publish_digest(monkeypatch, whole.digest)
    assert load_convolutions("alex", small).digest == whole.digest


def publish_digest(monkeypatch, digest):
    monkeypatch.setitem(BACKBONES, "alex", dataclasses.replace(BACKBONES["alex"], digest=digest))


@pytest.mark.parametrize("name", ["alexnet-owt-7be5be79.pth", "alexnet_features.safetensors"])
def test_torch_hubs_folder_is_searched_under_both_names(hub, monkeypatch, name):
    assert not on_disk("alex")
    (torch.save if name.endswith("pth") else save_file)(alexnet(), hub / name)
    publish_digest(monkeypatch, digest_of({n: t.numpy() for n, t in alexnet().items()}))
    assert on_disk("alex") and load_convolutions("alex", download=False).tensors


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: b"no weights at all",
    ],
    ids=["truncated", "empty", "text"],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_damaged_file_is_refused(file, tmp_path, damage, suffix):
    path = tmp_path / f"damaged{suffix}"
    (torch.save if suffix == ".pth" else save_file)(alexnet(), path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=f"damaged{suffix}: not a readable weights file"):
        load_convolutions("alex", path)


def test_one_flipped_bit_is_refused(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"alexnet\.pth: not "):
        load_convolutions("alex", file)


@pytest.mark.parametrize(
    "other",
    [
        {"weight": torch.zeros(3)},
        alexnet() | {"features.3.bias": torch.zeros(5)},
        {name: tensor for name, tensor in alexnet().items() if name != "features.8.bias"},
        alexnet(seed=1),
    ],
    ids=["other names", "another shape", "a tensor missing", "other values"],
)
def test_other_tensors_are_refused_with_the_remedy(file, tmp_path, other):
    torch.save(other, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"other\.pth: not the weights of alex.*eval\.backbones"):
        load_convolutions("alex", tmp_path / "other.pth")


@pytest.mark.parametrize(
    "other",
    [
        {"features.0.weight": torch.zeros(3, dtype=torch.bfloat16)},
        {"features.0.weight": 3},
        {0: torch.zeros(3)},
    ],
    ids=["bfloat16", "a number", "a name that is no text"],
)
def test_what_has_no_digest_is_refused_in_one_line(tmp_path, other):
    torch.save(other, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"other\.pth: not a readable weights file"):
        load_convolutions("alex", tmp_path / "other.pth")


def test_parameters_are_read_as_tensors(file, tmp_path):
    parameters = {name: torch.nn.Parameter(tensor) for name, tensor in alexnet().items()}
    torch.save(parameters, tmp_path / "parameters.pth")
    with pytest.raises(UserError, match=r"parameters\.pth: not the weights of alex"):
        load_convolutions("alex", tmp_path / "parameters.pth")


def test_a_malicious_pickle_never_runs(file, tmp_path):
    class Malicious:
        def __reduce__(self):
            return open, (str(tmp_path / "ran"), "w")

    torch.save({"features.0.weight": Malicious()}, tmp_path / "bad.pth")
    with pytest.raises(UserError, match="not a readable weights file"):
        load_convolutions("alex", tmp_path / "bad.pth")
    assert not (tmp_path / "ran").exists()


def test_a_named_file_must_exist(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load_convolutions("alex", tmp_path / "absent.pth")


def test_without_a_file_it_says_how_to_get_one(hub):
    with pytest.raises(
        NotMeasured, match=r"eval\.backbones --help.*https://.*alexnet-owt-7be5be79"
    ):
        load_convolutions("alex", download=False)


def test_a_wrong_file_in_torch_hubs_folder_is_not_replaced(hub):
    torch.save(alexnet(), hub / BACKBONES["alex"].file)
    with pytest.raises(NotMeasured, match=r"alexnet-owt-7be5be79\.pth: not .*; delete the file"):
        load_convolutions("alex")


def test_without_a_network_it_leaves_nothing_behind(hub, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(NotMeasured, match="download https://") as raised:
        load_convolutions("alex")
    message = str(raised.value)
    assert message.startswith("the weights could not be downloaded (") and "urlopen" not in message
    assert message.endswith(f"alexnet-owt-7be5be79.pth into {hub}")
    assert [path for path in hub.iterdir() if path.suffix != ".lock"] == []


@pytest.mark.parametrize(("right", "wrong"), [("alex", "vgg"), ("vgg", "alex")])
def test_the_published_convolutions_pass_and_for_one_network_only(monkeypatch, right, wrong):
    use_this_machines(monkeypatch, right)
    found = load_convolutions(right, download=False)
    assert len(found.tensors) == 2 * len(BACKBONES[right].layers)
    small = checkpoints_folder() / BACKBONES[right].small_file
    if small.exists():
        with pytest.raises(UserError, match=f"not the weights of {wrong}"):
            read_convolutions(wrong, small)
