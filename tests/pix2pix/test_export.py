"""Exported generators against torch, run by onnxruntime; skipped where it is absent."""

import contextlib
import io
import json
import shutil

import numpy as np
import pytest
import torch

from pix2pix import export as exporting
from pix2pix.checkpoint import save_generator
from pix2pix.common.errors import UserError
from pix2pix.config import GeneratorSettings
from pix2pix.data.labels import paint
from pix2pix.demo.__main__ import _parser
from pix2pix.demo.models import load_demo
from pix2pix.export import TOLERANCE, draw_noise, main, noise_inputs, open_exported
from pix2pix.generator_files import open_generator
from pix2pix.networks import UNetGenerator
from pix2pix.translation import translate

from .port_reference import trained

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

SIZE = (32, 64)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save(tmp_path_factory.mktemp("export"), 0)


@pytest.fixture(scope="module")
def exported(checkpoint):
    """The checkpoint as an ONNX file, and what the command printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main(["--checkpoint", str(checkpoint)]) == 0
    return checkpoint.with_suffix(".onnx"), printed.getvalue()


def save(folder, seed):
    torch.manual_seed(seed)
    network = UNetGenerator(width=4, depth=5)
    for parameter in network.parameters():  # a trained network's outputs are not near 0
        parameter.data.mul_(3)
    origin = {"digest": "x", "dataset": "procedural", "direction": "labels->photo", "seed": 4}
    settings = GeneratorSettings(width=4, depth=5)
    path = folder / "generator.pt"
    save_generator(path, network, settings, channels=(3, 3), size=SIZE, origin=origin)
    return path


def images(count=20):
    shape = (count, *SIZE, 3)
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


def translated(saved, names):
    found = translate(saved.network, images(len(names)), names, seed=4, device=torch.device("cpu"))
    return np.stack([image for _, image in found]).astype(int)


def test_an_onnx_file_translates_as_torch_does_with_the_same_noise(checkpoint, exported):
    out, printed = exported
    assert "over 20 inputs; noise inputs 3" in printed
    assert float(printed.split("at most ")[1].split()[0]) < TOLERANCE
    opened, saved = open_exported(out), open_generator(checkpoint)
    assert (opened.size, opened.channels, opened.seed) == (SIZE, (3, 3), 4)
    assert (opened.dataset, opened.direction) == ("procedural", "labels->photo")
    names = [f"image {i}" for i in range(20)]
    ours, theirs = translated(opened, names), translated(saved, names)
    assert abs(ours - theirs).max() <= 1  # a value may be rounded the other way
    assert (ours != theirs).mean() < 0.001
    assert abs(translated(opened, names[::-1]) - theirs).max() > 1  # other noise


def test_the_demo_runs_on_an_exported_file(checkpoint, exported, tmp_path):
    out, saved = exported[0], open_generator(checkpoint)
    demo = load_demo(_parser().parse_args(["--checkpoint", str(out), "--threads", "1"]))
    labels = demo.example(0)
    ((_, expected),) = translate(
        saved.network, paint(labels, demo.entry)[None], ["7"], seed=4, device=torch.device("cpu")
    )
    shown = demo.models[0].translate(demo.drawing.image(labels), 7)
    assert abs(shown.astype(int) - expected).max() <= 1
    assert "was exported for 32×64" in refusal(
        lambda: load_demo(_parser().parse_args(["--checkpoint", str(out), "--size", "64"]))
    )
    other = tmp_path / "again.onnx"
    other.write_bytes(out.read_bytes()[:-100])
    assert "not an ONNX file" in refusal(lambda: open_exported(other))


@pytest.mark.slow
@pytest.mark.long
def test_fixed_noise_is_part_of_the_file(checkpoint, tmp_path):
    out = tmp_path / "g.onnx"
    options = ["--noise", "fixed", "--seed", "9", "--out", str(out)]
    assert main(["--checkpoint", str(checkpoint), *options]) == 0
    session = onnxruntime.InferenceSession(str(out))
    assert [one.name for one in session.get_inputs()] == ["image"]
    known = json.loads(session.get_modelmeta().custom_metadata_map[exporting.METADATA])
    assert known["noise"] == "fixed" and known["seed"] == 9 and known["size"] == [*SIZE]
    assert known["batch_norm"] == "the image's own statistics"
    image = torch.rand(1, 3, *SIZE) * 2 - 1
    with torch.no_grad():
        torch.manual_seed(exporting.noise_seed(9, exporting.FIXED_NAME))
        expected = open_generator(checkpoint).network(image)
    assert abs(session.run(None, {"image": image.numpy()})[0] - expected.numpy()).max() < TOLERANCE


@pytest.mark.slow
@pytest.mark.long
def test_the_ports_generator_with_running_statistics_has_no_noise(tmp_path):
    path = tmp_path / "latest_net_G.pth"
    torch.save(trained(5, 2).state_dict(), path)
    assert main(["--checkpoint", str(path), "--protocol", "port-eval"]) == 0
    session = onnxruntime.InferenceSession(str(path.with_suffix(".onnx")))
    known = json.loads(session.get_modelmeta().custom_metadata_map[exporting.METADATA])
    assert (known["batch_norm"], known["noise"]) == ("running statistics", "none")
    assert len(session.get_inputs()) == 1


def test_noise_is_what_torch_draws(checkpoint):
    network = open_generator(checkpoint).network
    inputs = noise_inputs(network, (3, *SIZE))
    assert [one.shape for one in inputs] == [(1, 32, 2, 4), (1, 16, 4, 8), (1, 8, 8, 16)]
    masks = draw_noise(inputs, 4, "a")
    assert all(set(mask.unique().tolist()) == {0.0, 2.0} for mask in masks)
    assert any((a != b).any() for a, b in zip(masks, draw_noise(inputs, 4, "b"), strict=True))


def refusal(action):
    with pytest.raises(UserError) as found:
        action()
    assert "\n" not in str(found.value)
    return str(found.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--size", "40"], "multiples of 32"),
        (["--protocol", "port-eval"], "running statistics"),
        (["--out", "{here}"], "exists already"),
        (["--checkpoint", "nowhere.pt"], "nowhere.pt"),
    ],
)
def test_mistakes_end_with_one_line_and_write_nothing(checkpoint, capsys, options, message):
    before = sorted(checkpoint.parent.iterdir())
    options = [option.format(here=checkpoint) for option in options]
    assert main(["--checkpoint", str(checkpoint), *options]) == 2
    found = capsys.readouterr().err
    assert found.count("\n") == 1 and message in found
    assert sorted(checkpoint.parent.iterdir()) == before


def test_a_file_that_differs_from_torch_is_not_written(exported, tmp_path, capsys, monkeypatch):
    """An exporter that writes the network of another checkpoint."""
    other = save(tmp_path, 1)
    monkeypatch.setattr(exporting, "write_onnx", lambda *a: shutil.copyfile(exported[0], a[2]))
    assert main(["--checkpoint", str(other)]) == 2
    assert "differs from torch" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["generator.pt"]
