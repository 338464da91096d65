"""Weights from strangers: nothing in them runs, and small files take little memory."""

import io
import pickle
import resource
import zipfile
from pathlib import Path

import pytest
import torch

from pix2pix.checkpoint import (
    build_generator,
    load,
    load_generator,
    read_tensors,
    save,
    save_generator,
)
from pix2pix.common.errors import UserError
from pix2pix.config import GeneratorSettings

PROGRAM = "import pathlib; pathlib.Path('it-ran').touch()"


class _Call:
    def __init__(self, function, *arguments) -> None:
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def _archive(pickled: bytes, compression: int = zipfile.ZIP_STORED, data: bytes = b"") -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/data/0", data)
    return raw.getvalue()


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("packed", [True, False])
def test_code_in_a_checkpoint_never_runs(tmp_path, monkeypatch, protocol: int, packed: bool):
    monkeypatch.chdir(tmp_path)
    payload = pickle.dumps({"format": 1, "weights": _Call(exec, PROGRAM)}, protocol)
    path = tmp_path / "stranger.pt"
    path.write_bytes(_archive(payload) if packed else payload)
    for read in (load, load_generator):
        with pytest.raises(UserError, match=r"stranger\.pt: not a readable checkpoint"):
            read(path)
    assert not Path("it-ran").exists()
    pickle.loads(payload)  # the payload does what it is for where a pickle is trusted
    assert Path("it-ran").exists()


def test_compressed_parts_are_refused_before_they_are_inflated(tmp_path):
    plain = io.BytesIO()
    torch.save({"format": 1, "a": torch.zeros(4)}, plain)
    with zipfile.ZipFile(plain) as archive:
        name = next(one for one in archive.namelist() if one.endswith("data.pkl"))
        pickled = archive.read(name)
    path = tmp_path / "bomb.pt"
    path.write_bytes(_archive(pickled, zipfile.ZIP_DEFLATED, bytes(1 << 28)))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(UserError, match="is compressed"):
        read_tensors(path)


def test_a_network_larger_than_its_file_is_not_built(tmp_path):
    path = tmp_path / "huge.pt"
    settings = {**GeneratorSettings().model_dump(), "width": 4096}
    size, channels = [256, 256], [3, 3]
    weights = {"encoder.0.0.weight": torch.zeros(1).expand(10**9)}
    content = {"kind": "generator", "settings": settings, "channels": channels, "size": size}
    save(path, {**content, "origin": {}, "weights": weights})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=r"huge\.pt: not a generator .*not an ordinary tensor"):
        load_generator(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 18


@pytest.mark.parametrize(("width", "size"), [(1, (16, 16)), (4, (256, 256)), (2, (32, 64))])
@pytest.mark.parametrize("architecture", ["unet", "encoder-decoder"])
def test_every_generator_of_ours_passes(tmp_path, width, size, architecture):
    settings = GeneratorSettings(width=width, architecture=architecture)
    network = build_generator(settings, (3, 3), size)
    path = tmp_path / "generator.pt"
    save_generator(path, network, settings, channels=(3, 3), size=size, origin={"seed": 1})
    again, _ = load_generator(path)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])


def test_settings_and_weights_that_do_not_fit(tmp_path):
    settings = GeneratorSettings(width=1, depth=2)
    network = build_generator(settings, (3, 3), (16, 16))
    path = tmp_path / "generator.pt"
    save_generator(path, network, settings, channels=(3, 3), size=(16, 16), origin={})
    content = load(path)
    for wrong in (
        {"channels": [3]},
        {"channels": [3, -1]},
        {"size": "16x16"},
        {"settings": {"width": "1"}},
        {"weights": None},
        {"weights": {}},
        {"size": [17, 16]},
    ):
        save(path, {**content, **wrong})
        with pytest.raises(UserError, match=r"generator\.pt: not a generator") as caught:
            load_generator(path)
        assert "\n" not in str(caught.value)
