import hashlib
import io
import json
import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from profiles import profile

from pix2pix import translate as translating
from pix2pix.checkpoint import save, save_generator
from pix2pix.config import GeneratorSettings
from pix2pix.data.cache import prepare
from pix2pix.data.labels import paint
from pix2pix.data.registry import DatasetEntry, load_registry
from pix2pix.generator_files import open_generator
from pix2pix.networks import UNetGenerator
from pix2pix.translation import noise_seed, translate

from .port_reference import port_translation, trained

CPU = torch.device("cpu")


def photo(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write(path, image, **options):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(image).save(path, **options)


def png(path):
    return np.asarray(Image.open(path))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a small checkpoint of each kind and three inputs that fit ours."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    network = UNetGenerator(width=4, depth=5)
    origin = {"digest": "0123abc", "dataset": "streets", "direction": "labels->photo", "seed": 4}
    save_generator(
        tmp_path / "generator.pt",
        network,
        GeneratorSettings(width=4),
        channels=(3, 3),
        size=(32, 32),
        origin=origin,
    )
    torch.save(trained(7, 2).state_dict(), tmp_path / "latest_net_G.pth")
    for index, name in enumerate(("a", "b", "c")):
        write(tmp_path / "in" / f"{name}.png", photo(32, 32, index))
    return tmp_path


def run(*extra, checkpoint="generator.pt", inputs="in", out="out"):
    return translating.main(["--checkpoint", checkpoint, "--inputs", inputs, "--out", out, *extra])


def test_our_generator_translates_with_its_own_seed(place, capsys):
    assert run() == 0
    saved = open_generator(place / "generator.pt")
    inputs = np.stack([photo(32, 32, i) for i in range(3)])
    for name, image in translate(saved.network, inputs, "abc", seed=4, device=CPU):
        assert np.array_equal(png(place / "out" / f"{name}.png"), image)
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "generator.pt: this suite's unet of depth 5, width 4, trained on streets labels->photo at"
        " 32×32 with seed 4, cell 0123abc, dropout on decoder outputs of size 2, 4, 8",
        "the data set streets is not in datasets.yaml: images are taken as they are; give"
        " --datasets FILE so that label maps are read as in its training",
        "3 translations in out",
    ]
    assert said.err == "", "quiet where there is no terminal"


def test_an_ascii_terminal_is_no_error(place, monkeypatch):
    said = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(said, encoding="ascii"))
    assert run() == 0
    assert b"at 32?32 with seed 4" in said.getvalue()


def test_the_ports_generator_writes_the_ports_bytes(place, capsys):
    left, right = photo(100, 90, 1), photo(100, 90, 2)
    write(place / "pairs" / "street.png", np.hstack([left, right]))
    network = trained(7, 2)
    for protocol in ("port", "port-eval"):
        assert (
            run(
                *("--protocol", protocol, "--size", "128", "--side", "right", "--seed", "9"),
                checkpoint="latest_net_G.pth",
                inputs="pairs",
                out=protocol,
            )
            == 0
        )
        resized = np.asarray(Image.fromarray(right).resize((128, 128), Image.Resampling.BICUBIC))
        network.load_state_dict(trained(7, 2).state_dict())
        with torch.random.fork_rng():
            torch.manual_seed(noise_seed(9, "street"))
            expected = port_translation(network, resized, protocol == "port-eval")
        assert np.array_equal(png(place / protocol / "street.png"), expected)
    assert "U-Net 128, width 2, BatchNorm" in capsys.readouterr().out


def test_the_protocols_differ_by_what_they_say(place):
    for protocol in ("paper", "port"):
        assert run("--protocol", protocol, out=protocol) == 0
    paper, port = (png(place / p / "a.png").astype(int) for p in ("paper", "port"))
    assert set(np.unique(paper - port)) == {0, 1}, "rounded against cut off"


def test_label_maps_are_resized_by_nearest_pixels(place):
    labels = np.repeat(photo(8, 8), 2, axis=0)
    write(place / "maps" / "m.png", labels)
    assert run("--size", "32x64", "--labels", inputs="maps") == 0
    saved = open_generator(place / "generator.pt")
    nearest = np.repeat(np.repeat(labels, 2, axis=0), 8, axis=1)
    ((_, image),) = translate(saved.network, nearest[None], "m", seed=4, device=CPU)
    assert np.array_equal(png(place / "out/m.png"), image)


def of_data_set(place, dataset):
    """The checkpoint, as one of another data set."""
    content = torch.load(place / "generator.pt", weights_only=True)
    content["origin"]["dataset"] = dataset
    torch.save(content, place / "generator.pt")


def test_index_maps_are_painted_in_the_colours_of_the_generators_data_set(place, capsys):
    """A generator from labels to photos sees colours in training; indices would be nearly black."""
    of_data_set(place, "camvid")
    entry = load_registry()["camvid"]
    maps = [photo(32, 32, i)[..., 0] % 12 for i in range(3)]
    for name, indices in zip("abc", maps, strict=True):
        painted = np.where((indices == 11)[..., None], 0, paint(np.minimum(indices, 10), entry))
        write(place / f"in/{name}.png", painted.astype(np.uint8))
    assert run(out="painted") == 0 and "index maps" not in capsys.readouterr().out
    forms = (lambda m: m, lambda m: np.stack([m] * 3, -1), lambda m: Image.fromarray(m, "P"))
    for name, indices, form in zip("abc", maps, forms, strict=True):
        (place / f"in/{name}.png").unlink()
        image = form(indices)
        if isinstance(image, Image.Image):
            image.putpalette(list(range(256)) * 3)
            image.save(place / f"in/{name}.png")
        else:
            write(place / f"in/{name}.png", image)
    assert run() == 0
    said = capsys.readouterr().out
    assert "in: 3 files: index maps, painted in the colours of camvid's classes" in said
    for name in "abc":
        assert np.array_equal(png(place / f"out/{name}.png"), png(place / f"painted/{name}.png"))


@pytest.mark.parametrize("kind", ["palette", "index"])
@pytest.mark.parametrize("form", ["greys", "another profile", "JPEG"])
def test_label_maps_are_read_as_in_the_training(tmp_path, kind, form):
    """The same file in a data set and for its generator: masks in black and white, colours that
    are names whatever the profile, smeared edges."""
    half = np.array([[0] * 8 + [1] * 8] * 16, np.uint8)
    greys = form == "greys" and kind == "palette"
    colours = np.array([[0] * 3, [255] * 3] if greys else [[200, 30, 40], [20, 180, 60]], np.uint8)
    image = Image.fromarray(half * 255 if greys else half if form == "greys" else colours[half])
    options = {"icc_profile": profile("Display P3")} if form == "another profile" else {}
    for index in range(3):
        write(tmp_path / f"photo/{index}.png", photo(16, 16))
        (tmp_path / "maps").mkdir(exist_ok=True)
        image.save(tmp_path / f"maps/{index}.png", "JPEG" if form == "JPEG" else "PNG", **options)
    entry = DatasetEntry.model_validate(
        {
            "name": "mine",
            "layout": "folders",
            "path": ".",
            "sides": {
                "photo": {"folder": "photo"},
                "labels": {"kind": kind, "folder": "maps"},
            },
            "classes": {"back": colours[0].tolist(), "front": colours[1].tolist()},
        }
    )
    trained_on = prepare(entry, tmp_path, (16, 16), None, tmp_path / "cache").train.inputs[0]
    given = SimpleNamespace(side=None, size=None, labels=False, protocol="paper", fit=None)
    generator = SimpleNamespace(channels=(3, 3), multiple=1)
    pixels, _ = translating.read_input(str(tmp_path / "maps/0.png"), given, generator, entry)
    assert np.array_equal(pixels[0], trained_on)


def test_label_maps_of_a_jpeg_are_taken_from_a_png_too(place, capsys):
    """The inputs that a run keeps of facades, and what somebody has resized."""
    of_data_set(place, "facades")
    classes = np.kron(np.arange(100).reshape(10, 10) % 12, np.ones((13, 13), int))[:128, :128]
    painted = Image.fromarray(paint(classes, load_registry()["facades"]))
    painted.save(place / "m.jpg", quality=75)
    write(place / "in/a.png", np.asarray(Image.open(place / "m.jpg")))
    write(place / "in/b.png", np.asarray(Image.open(place / "m.jpg").resize((64, 64), 0)))
    (place / "in/c.png").unlink()
    assert run() == 0
    assert "2 files: label maps with the smeared colours of JPEG" in capsys.readouterr().out
    write(place / "in/b.png", photo(64, 64))
    assert run(out="none") == 2
    assert "in/b.png: " in (said := capsys.readouterr().err) and "a colour of no class" in said


def test_index_maps_for_an_unknown_data_set_are_refused(place, capsys):
    write(place / "in/b.png", np.full((32, 32), 200, np.uint8))
    assert run() == 2
    assert "in/b.png: is an index map, and the data set streets is not" in capsys.readouterr().err


def test_edges_of_an_unknown_data_set_are_not_drawn_again(place, capsys):
    content = torch.load(place / "generator.pt")
    content["origin"] |= {"dataset": "mine", "direction": "edges->photo"}
    save(place / "generator.pt", content)
    assert run() == 2
    assert "whether edges are files or derived" in capsys.readouterr().err
    sides = "{edges: {folder: a}, photo: {folder: b}}"
    (place / "mine.yaml").write_text(f"mine: {{layout: folders, sides: {sides}}}")
    assert run("--datasets", "mine.yaml") == 0
    assert "derived" not in capsys.readouterr().out


def test_what_is_passed_over_or_read_in_another_form_is_said(place, capsys):
    Image.fromarray(photo(32, 32)).save(place / "in/d.jfif", "JPEG")
    Image.fromarray(photo(32, 32)).quantize(9).save(place / "in/e.png")
    (place / "in/f.gif").touch()
    assert run() == 0
    said = capsys.readouterr().out
    assert "in: passed over: 1 .gif (f.gif)" in said and "1 file: palette, read as RGB" in said
    assert "5 translations in out" in said


def test_inputs_of_any_size_are_padded_and_cut_off_again(place, capsys):
    write(place / "in/d.png", photo(40, 70))
    assert (
        run() == 2 and "--size 32x64, or keep the pixels with --fit pad" in capsys.readouterr().err
    )
    assert run("--fit", "pad") == 0
    assert png(place / "out/d.png").shape == (40, 70, 3)
    # What fits is translated as without the option, and the rest as if the user had padded it.
    padded = np.pad(photo(40, 70), ((0, 24), (0, 26), (0, 0)), mode="reflect")
    write(place / "in/d.png", padded)
    assert run(out="whole") == 0
    assert np.array_equal(png(place / "whole/d.png")[:40, :70], png(place / "out/d.png"))
    assert np.array_equal(png(place / "whole/a.png"), png(place / "out/a.png"))
    assert json.loads((place / "out" / "translation.json").read_text())["fit"] == "pad"


def test_a_generator_of_grey_images(place):
    torch.save(trained(5, 2, channels=(1, 1)).state_dict(), place / "grey.pth")
    write(place / "grey" / "g.png", photo(32, 32)[..., 0])
    assert run(checkpoint="grey.pth", inputs="grey") == 0
    image = png(place / "out/g.png")
    assert image.shape == (32, 32, 3) and (image == image[..., :1]).all(), "RGB, to be scored"


def test_colours_for_a_generator_of_grey_images_are_one_line(place, capsys):
    torch.save(trained(5, 2, channels=(1, 1)).state_dict(), place / "grey.pth")
    assert run(checkpoint="grey.pth") == 2
    error = capsys.readouterr().err
    assert "a.png: is 8-bit RGB (mode RGB); 8-bit grey is needed" in error
    assert "Traceback" not in error


def test_protocols_draw_the_same_noise_and_differ_by_their_arithmetic_alone(place):
    """Of our own generators: values cut off in place of rounded are one unit apart at most."""
    images = {}
    for protocol in ("paper", "port"):
        assert run("--protocol", protocol, out=f"out-{protocol}") == 0
        paths = sorted((place / f"out-{protocol}").glob("*.png"))
        images[protocol] = np.stack([png(path) for path in paths]).astype(int)
    difference = np.abs(images["paper"] - images["port"])
    assert 0 < difference.max() <= 1


def test_a_record_beside_the_images_names_what_made_them(place):
    assert run("--seed", "5") == 0
    record = json.loads((place / "out/translation.json").read_text())
    checkpoint = (place / "generator.pt").read_bytes()
    assert record["checkpoint"] == hashlib.sha256(checkpoint).hexdigest()
    assert record["seed"] == 5 and record["protocol"] == "paper"
    assert torch.__version__.startswith(record["versions"]["torch"])


def test_a_failure_leaves_nothing_and_the_same_command_then_makes_all(place):
    whole = (place / "in/c.png").read_bytes()
    (place / "in/c.png").write_bytes(whole[:-900])
    before = sorted(place.iterdir())
    assert run() == 2 and sorted(place.iterdir()) == before
    (place / "in/c.png").write_bytes(whole)
    (place / "out").mkdir()
    for part, out in (("out/.part", "out"), (".new.part", "new")):
        write(place / part / "old.png", photo(8, 8))  # of a command that was killed
        assert run(out=out) == 0
        assert len(list((place / out).iterdir())) == 4
        assert not (place / part).exists()


def test_an_empty_folder_is_filled_and_stays_the_same_folder(place, monkeypatch):
    """It may be a mount point or the current folder, which cannot be replaced."""
    (place / "out").mkdir()
    before = (place / "out").stat().st_ino
    monkeypatch.chdir(place / "out")
    assert run(checkpoint="../generator.pt", inputs="../in", out=".") == 0
    assert (place / "out").stat().st_ino == before
    assert len(list((place / "out").glob("*.png"))) == 3


def without_an_engine(*_, **__):
    raise RuntimeError("GET was unable to find an engine to execute this computation")


def without_memory(*_, **__):
    torch.empty(2**46, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (without_memory, "error: the memory is too small; try --device cpu or a smaller --size"),
        (without_an_engine, "error: cuDNN: GET was unable to find an engine to execute"),
    ],
)
def test_a_lack_of_memory_is_one_line(place, capsys, monkeypatch, cause, said):
    monkeypatch.setattr(translating, "translate", cause)
    assert run() == 2
    assert capsys.readouterr().err.startswith(said)
    assert not (place / "out").exists()


def test_other_errors_are_not_called_a_lack_of_memory(place, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(translating, "translate", fail)
    with pytest.raises(RuntimeError, match="illegal"):
        run()


def damaged(place, name, change):
    content = torch.load(place / "generator.pt", weights_only=True)
    change(content)
    del content["format"]
    save(place / name, content)


def no_number(content):
    content["weights"]["encoder.0.0.weight"][0, 0, 0, 0] = torch.nan


def to_bytes(place, name, count):
    (place / name).write_bytes((place / "generator.pt").read_bytes()[:count])


class Payload:
    def __reduce__(self):
        return os.system, ("touch ran",)


RGB = photo(32, 32)
BAD = {
    "no folder": (None, {"inputs": "none"}, "there is no folder none"),
    "a file": (None, {"inputs": "generator.pt"}, "there is no folder generator.pt"),
    "no image": (
        lambda p: [f.rename(f.with_suffix(".txt")) for f in p.glob("in/*.png")],
        {},
        "--inputs in: holds no image (.png, .jpg",
    ),
    "two of one stem": (
        lambda p: write(p / "in/b.jpg", RGB),
        {},
        "in/b.",
    ),
    "text": (lambda p: (p / "in/b.png").write_text("x"), {}, "in/b.png: is not an image"),
    "cut off": (
        lambda p: (p / "in/c.png").write_bytes((p / "in/c.png").read_bytes()[:-900]),
        {},
        "in/c.png: is damaged or cut off",
    ),
    "an index map": (
        lambda p: write(p / "in/b.png", RGB[..., 0] % 12),
        {},
        "in/b.png: is an index map, and the data set streets is not in datasets.yaml",
    ),
    "16-bit": (
        lambda p: write(p / "in/b.png", RGB[..., 0].astype(np.uint16) * 256),
        {},
        "in/b.png: is 16-bit (mode I;16), and its values are not 8-bit ones times 257",
    ),
    "alpha": (
        lambda p: write(p / "in/b.png", np.dstack([RGB, RGB[..., 0]])),
        {},
        "in/b.png: has transparent pixels",
    ),
    "other size": (
        lambda p: write(p / "in/b.png", photo(100, 32)),
        {},
        "in/b.png: 100×32 pixels (height × width); this generator takes sides that are multiples"
        " of 32; resize with --size 96x32",
    ),
    "--size": (None, {"extra": ["--size", "40"]}, "in/a.png: 40×40 pixels"),
    "odd pair": (
        lambda p: write(p / "in/b.png", photo(32, 63)),
        {"extra": ["--side", "left", "--size", "32"]},
        "in/b.png: is 63 pixels wide; two halves need an even width",
    ),
    "in is out": (None, {"out": "in"}, "--out in: exists and is not empty"),
    "out is a file": (None, {"out": "generator.pt"}, "--out generator.pt: exists and is not empty"),
    "unwritable": (None, {"out": "/proc/nowhere"}, "/proc/.nowhere.part: No such file"),
    "images of others": (
        lambda p: write(p / "out/a.png", RGB),
        {},
        "--out out: exists and is not empty; give another folder",
    ),
    "another seed": (
        lambda p: run("--seed", "5"),
        {},
        "--out out: exists and is not empty; give another folder",
    ),
    "no checkpoint": (None, {"checkpoint": "none.pt"}, "none.pt: cannot be read (No such file"),
    "a folder": (None, {"checkpoint": "in"}, "in: cannot be read (Is a directory)"),
    "cut checkpoint": (
        lambda p: to_bytes(p, "cut.pt", 3000),
        {"checkpoint": "cut.pt"},
        "cut.pt: not a readable checkpoint (PytorchStreamReader failed",
    ),
    "a program": (
        lambda p: torch.save(Payload(), p / "bad.pt"),
        {"checkpoint": "bad.pt"},
        "bad.pt: not a readable checkpoint (it holds more than tensors and plain values;"
        " nothing of it was run: save the network's state_dict() alone)",
    ),
    "NaN": (
        lambda p: damaged(p, "nan.pt", no_number),
        {"checkpoint": "nan.pt"},
        "nan.pt: encoder.0.0.weight holds values that are not finite numbers",
    ),
    "a weight less": (
        lambda p: damaged(p, "less.pt", lambda c: c["weights"].popitem()),
        {"checkpoint": "less.pt"},
        'less.pt: not a generator that can be built (RuntimeError: Missing key(s) in state_dict: "',
    ),
    "no settings": (
        lambda p: damaged(p, "bare.pt", lambda c: c.pop("settings")),
        {"checkpoint": "bare.pt"},
        "bare.pt: not a generator that can be built (KeyError: 'settings')",
    ),
    "another kind": (
        lambda p: damaged(p, "other.pt", lambda c: c.update(kind="training")),
        {"checkpoint": "other.pt"},
        "other.pt: a checkpoint, but not of a generator",
    ),
    "InstanceNorm": (
        lambda p: torch.save(
            trained(7, 2, norm=torch.nn.InstanceNorm2d).state_dict(), p / "instance.pth"
        ),
        {"checkpoint": "instance.pth"},
        "instance.pth: not the PyTorch port's U-Net generator with BatchNorm",
    ),
    "two channels": (
        lambda p: torch.save(trained(5, 2, channels=(1, 2)).state_dict(), p / "ab.pth"),
        {"checkpoint": "ab.pth"},
        "ab.pth: translates 1 channels to 2; images have 1 or 3",
    ),
    "ours with --eval": (
        None,
        {"extra": ["--protocol", "port-eval"]},
        "generator.pt: keeps no running statistics, which --protocol port-eval needs",
    ),
    "ours with --no-dropout": (
        None,
        {"extra": ["--no-dropout"]},
        "generator.pt: records its own dropout",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_line_and_status_2(place, capsys, what):
    prepare, where, message = BAD[what]
    if prepare:
        prepare(place)
    capsys.readouterr()
    before = sorted(place.rglob("*"))
    arguments = {k: v for k, v in where.items() if k != "extra"}
    assert run(*where.get("extra", []), **arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {message}"), said
    assert len(said.splitlines()) == 1
    assert sorted(place.rglob("*")) == before, "nothing is left"


@pytest.mark.parametrize(
    "arguments",
    [["--size", "0"], ["--size", "axb"], ["--size", "32x"], ["--seed", "x"], ["--threads", "x"]],
)
def test_bad_usage_is_status_2(place, capsys, arguments):
    with pytest.raises(SystemExit) as stopped:
        run(*arguments)
    assert stopped.value.code == 2
    assert f"argument {arguments[0]}: " in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(place, capsys):
    assert run("--device", "cuda") == 2
    assert "--device cuda: there is no GPU" in capsys.readouterr().err
