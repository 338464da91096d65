"""The command as a user has it: real files, and a real process where that can matter."""

import json
import os
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from eval.__main__ import main
from eval.request import JPEG_EFFECT, check_cuda
from eval.scorer.fcn8s import FCN8s
from eval.scorer.file import save_scorer
from eval.scorer.train import ScorerSettings

ROOT = Path(__file__).resolve().parents[2]
SETS = """\
streets:
  layout: folders
  sides: {photo: {folder: "p/{split}"}, labels: {folder: "l/{split}", kind: index}}
  classes: {road: [128, 64, 128], sky: [70, 130, 180]}
"""
PAINT = np.array([[128, 64, 128], [70, 130, 180]], np.uint8)
SCORES = {"color.L", "color.a", "color.b", "pixel.l1", "pixel.psnr", "pixel.ssim"}


@pytest.fixture
def folders(tmp_path):
    generator = np.random.default_rng(0)
    for side in ("translations", "targets"):
        (tmp_path / side).mkdir()
        for name in "ab":
            pixels = generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / side / f"{name}.png")
    (tmp_path / "labels").mkdir()
    for name in "ab":
        Image.new("L", (16, 16), 1).save(tmp_path / "labels" / f"{name}.png")
    (tmp_path / "sets.yaml").write_text(SETS)
    return tmp_path


@pytest.fixture
def scorer(folders):
    return save(folders / "scorer.safetensors", {"file": "untrained"})


def save(path, source, names=("road", "sky")):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = FCN8s(len(names), width=2, batch_norm=True, padding="same")
    save_scorer(path, network, ScorerSettings(width=2), list(names), source)
    return path


def command(folders, *more) -> list[str]:
    sides = [f"--{s}={folders / s}" for s in ("translations", "targets")]
    return [*sides, *map(str, more)]


def as_user(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "eval", *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_prints_a_table_and_writes_the_json(folders, capsys):
    record = folders / "new" / "scores.json"
    assert main(command(folders, "--scores", "color,pixel", "--json", record)) == 0
    out, err = capsys.readouterr()
    assert "2 images of 16x16, matched by equal names" in out and err == ""
    assert "95% over images" in out and "pixel.psnr" in out and "dB" in out
    assert "bin width (Lab units)" in out and "not over trainings" in out
    written = json.loads(record.read_text())
    assert set(written["values"]) == set(written["intervals_over_images"]) == SCORES
    assert set(written["color_by_bin_width"]) == {"0.5", "1", "2", "4"}
    assert written["per_image"]["names"] == ["a", "b"]
    assert len(written["per_image"]["pixel.l1"]) == 2
    settings = written["settings"]
    assert settings["images"] == 2 and settings["matched_by"] == "equal names"
    assert settings["formats"] == {"translations": {"PNG": 2}, "targets": {"PNG": 2}}
    assert settings["bootstrap"]["resamples"] == 2000 and "numpy" in settings["versions"]
    assert settings["command"].startswith("python -m eval --translations=")


def test_scores_with_a_named_scorer(folders, scorer, capsys):
    more = ("--scores", "fcn", "--labels", folders / "labels", "--scorer", scorer)
    record = folders / "scores.json"
    assert main(command(folders, *more, "--json", record)) == 0
    out = capsys.readouterr().out
    # Untrained, every pixel is class 0, and every label is 1.
    assert "fcn.pixel_accuracy       0.0000" in out
    assert ["road", "absent", "0.0000"] in [line.split() for line in out.splitlines()]
    known = json.loads(record.read_text())["settings"]["scorer"]
    assert known["source"] == {"file": "untrained"} and len(known["file_sha256"]) == 64


def test_a_data_set_finds_its_scorer_and_names_it(folders, capsys, monkeypatch):
    monkeypatch.chdir(folders)
    (folders / "runs" / "scorers").mkdir(parents=True)
    data = ("--labels", "labels", "--dataset", "streets", "--datasets", "sets.yaml")
    assert main(command(folders, "--scores", "fcn", *data)) == 2
    error = capsys.readouterr().err
    assert "no scorer of streets at 16x16 in runs/scorers (found: nothing)" in error
    source = {"dataset": "streets", "fingerprint": "ab" * 32, "size": [16, 16]}
    save(folders / "runs" / "scorers" / "one.safetensors", source)
    assert main(command(folders, "--scores", "fcn", *data)) == 0
    out, err = capsys.readouterr()
    assert err.splitlines() == [
        "scorer: runs/scorers/one.safetensors",
        "note: labels: classes that never occur: road",
    ]
    assert "road" in out


def test_without_a_scorer_the_table_says_why_fcn_is_missing(folders, capsys, monkeypatch):
    monkeypatch.chdir(folders)
    monkeypatch.setenv("TORCH_HOME", str(folders))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there
    data = ("--labels", "labels", "--dataset", "streets", "--datasets", "sets.yaml")
    assert main(command(folders, *data)) == 0
    assert "fcn.class_iou         not measured: no scorer of streets" in capsys.readouterr().out


def test_painted_translations_are_scored_with_the_data_sets_palette(folders, capsys):
    for name in "ab":
        painted = np.broadcast_to(PAINT[1], (16, 16, 3)).copy()
        painted[:4] = PAINT[0]
        Image.fromarray(painted).save(folders / "translations" / f"{name}.png")
    labels = folders / "labels"  # as painted maps: read just like index maps
    Image.fromarray(np.broadcast_to(PAINT[1], (16, 16, 3)).copy()).save(labels / "a.png")
    data = ("--labels", labels, "--dataset", "streets", "--datasets", folders / "sets.yaml")
    assert main(command(folders, "--scores", "labels", *data)) == 0
    out = capsys.readouterr().out
    assert "labels.pixel_accuracy    0.7500" in out
    assert ["sky", "0.7500", "0.7500"] in [line.split() for line in out.splitlines()]


def test_a_scorer_of_another_size_gives_a_warning(folders, capsys):
    source = {"dataset": "streets", "fingerprint": "ab" * 32, "size": [64, 32]}
    path = save(folders / "s.safetensors", source)
    more = ("--scores", "fcn", "--labels", folders / "labels", "--scorer", path)
    assert main(command(folders, *more)) == 0
    warning = "warning: s.safetensors was trained at 64x32 pixels and scores images of "
    assert f"{warning}16x16:" in capsys.readouterr().err
    # The first image fits; another does not.
    source["size"] = [16, 16]
    save(path, source)
    assert main(command(folders, *more)) == 0
    assert "warning" not in capsys.readouterr().err
    for side, mode in (("translations", "RGB"), ("targets", "RGB"), ("labels", "L")):
        Image.new(mode, (20, 16)).save(folders / side / "c.png")
    assert main(command(folders, *more)) == 0
    assert "trained at 16x16 pixels and scores images of 16x16 to 16x20:" in capsys.readouterr().err


def test_lossy_label_maps_give_a_warning_with_the_ignored_share(folders, capsys):
    for name in "ab":
        painted = np.broadcast_to(PAINT[1], (16, 16, 3)).copy()
        if name == "a":
            painted[14:] = (0, 255, 0)  # a sixteenth of all pixels, and what JPEG smears
        (folders / "labels" / f"{name}.png").unlink()
        Image.fromarray(painted).save(folders / "labels" / f"{name}.jpg", quality=95)
    data = ("--labels", folders / "labels", "--dataset", "streets")
    more = ("--datasets", folders / "sets.yaml", "--json", folders / "x.json")
    for name in "ab":
        Image.new("RGB", (16, 16)).save(folders / "translations" / f"{name}.png")
    assert main(command(folders, "--scores", "labels", *data, *more)) == 0
    record = json.loads((folders / "x.json").read_text())["settings"]["label_maps"]
    assert record["read_as"] == "colours" and 0.05 < record["ignored_share"] < 0.13
    error = capsys.readouterr().err
    assert "warning: labels: 2 lossy files" in error
    assert f"{record['ignored_share']:.2%} of all label pixels are ignored" in error


def test_every_number_of_the_jpeg_warning_stands_in_the_table_of_effects():
    rows = (ROOT / "docs" / "scores.md").read_text().splitlines()
    for row in ("| untouched: the ceiling |", "| JPEG, quality 75 |"):
        (measured, *_) = [line for line in rows if line.startswith(row)]
        cells = [cell.strip() for cell in measured.split("|")[2:-1]]
        if "JPEG" in row:
            assert "{}/{}/{} in FCN-score".format(*cells[:3]) in JPEG_EFFECT
            assert "to {}, {} and {} in color.L, a and b".format(*cells[4:7]) in JPEG_EFFECT
            assert (
                "LPIPS {}, L1 {}, PSNR {} dB, SSIM {}.".format(*cells[3:4], *cells[7:])
                in JPEG_EFFECT
            )
        else:
            assert "go from {}/{}/{} to ".format(*cells[:3]) in JPEG_EFFECT


def test_jpeg_is_scored_with_a_warning_that_has_a_number(folders, capsys):
    for name in "ab":
        path = folders / "translations" / f"{name}.png"
        Image.open(path).save(path.with_suffix(".jpg"), quality=75)
        path.unlink()
    assert main(command(folders, "--scores", "pixel")) == 0
    error = capsys.readouterr().err
    assert error.startswith("warning: translations: 2 JPEG files. ") and "quality 75" in error
    assert error.count("\n") == 1


def test_a_gpu_computes_in_plain_single_precision(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        check_cuda()
        assert torch.get_float32_matmul_precision() == "highest"
        assert not torch.backends.cudnn.allow_tf32
    finally:
        torch.set_float32_matmul_precision(before)


def test_one_folder_of_the_pytorch_port_is_enough(folders, capsys):
    results = folders / "results"
    results.mkdir()
    for name in "ab":
        (folders / "translations" / f"{name}.png").rename(results / f"{name}_fake_B.png")
        (folders / "targets" / f"{name}.png").rename(results / f"{name}_real_B.png")
    assert main([f"--translations={results}", "--scores", "pixel"]) == 0
    assert "matched by NAME_fake_B with NAME_real_B (PyTorch port)" in capsys.readouterr().out


def test_an_inpainting_is_scored_in_its_holes(folders, capsys):
    holes = folders / "holes"
    holes.mkdir()
    paths = [holes / f"{name}.png" for name in "ab"]
    for path in paths:
        Image.new("L", (16, 16), 255).save(path)
    assert main(command(folders, "--holes", holes, "--scores", "pixel,hole")) == 0
    rows = {line.split()[0]: line.split()[1] for line in capsys.readouterr().out.splitlines()[3:9]}
    for score in ("l1", "psnr", "ssim"):
        assert float(rows[f"hole.{score}"]) == pytest.approx(
            float(rows[f"pixel.{score}"]), abs=1e-4
        )
    assert main(command(folders, "--scores", "hole")) == 2
    assert "--scores hole: needs --holes DIR" in capsys.readouterr().err
    Image.new("L", (16, 16)).save(paths[0])
    assert main(command(folders, "--holes", holes, "--scores", "hole")) == 2
    assert "a.png: is 0 everywhere" in capsys.readouterr().err
    Image.new("L", (16, 20), 255).save(paths[0])
    assert main(command(folders, "--holes", holes, "--scores", "hole")) == 2
    assert "a.png: must have 16x16 pixels" in capsys.readouterr().err
    paths[1].unlink()
    assert main(command(folders, "--holes", holes, "--scores", "hole")) == 2
    assert "holds no hole for b" in capsys.readouterr().err


def test_the_ceiling_is_named(folders, capsys):
    same = [f"--{side}={folders / 'targets'}" for side in ("translations", "targets")]
    assert main([*same, "--scores", "color,pixel"]) == 0
    out, err = capsys.readouterr()
    assert err == "note: translations and targets are one folder: these scores are a ceiling\n"
    assert "pixel.psnr             100.0000  100.0000 to 100.0000  dB   higher" in out


def test_says_why_lpips_is_not_measured(folders, capsys, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(folders))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there
    assert main(command(folders, "--scores", "lpips,color")) == 0
    assert "lpips                 not measured: the weights could not be" in capsys.readouterr().out
    assert main(command(folders, "--scores", "lpips")) == 2  # all that was asked for
    assert capsys.readouterr().err.startswith(
        "error: --scores lpips: nothing was scored: the weights"
    )


def gone(folders):
    (folders / "targets" / "a.png").unlink()


def extra(folders):
    Image.new("RGB", (16, 16)).save(folders / "targets" / "z.png")


def larger(folders):
    Image.new("RGB", (16, 17)).save(folders / "targets" / "b.png")


def truncated(folders):
    path = folders / "translations" / "b.png"
    path.write_bytes(path.read_bytes()[:-200])


def text(folders):
    (folders / "translations" / "b.png").write_text("not an image")


def transparent(folders):
    Image.new("RGBA", (16, 16)).save(folders / "translations" / "b.png")


def not_a_number(folders):
    (folders / "translations" / "b.png").unlink()
    Image.fromarray(np.full((16, 16), np.nan, np.float32)).save(folders / "translations" / "b.tif")


def class_2(folders):
    Image.new("L", (16, 16), 2).save(folders / "labels" / "b.png")


def painted_wrongly(folders):
    Image.new("RGB", (16, 16), (1, 2, 3)).save(folders / "labels" / "b.png")


def truncated_scorer(folders):
    path = folders / "scorer.safetensors"
    path.write_bytes(path.read_bytes()[:-50])


def altered_scorer(folders):
    path = folders / "scorer.safetensors"
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)


def pickle_scorer(folders):
    torch.save({"weights": torch.zeros(2)}, folders / "scorer.safetensors")


class Malice:
    """Unpickled, it would write a file."""

    def __reduce__(self):
        return (Path.write_text, (Path("it-ran"), "x"))


def malicious(folders):
    torch.save({"weights": Malice()}, folders / "scorer.safetensors")


def published(folders):
    source = {"caffemodel_sha256": "ab" * 32, "file": "fcn-8s-cityscapes.caffemodel"}
    save(folders / "scorer.safetensors", source)


def claims_too_much(folders):
    path = folders / "translations" / "b.png"
    content = bytearray(path.read_bytes())
    content[16:24] = (30_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)


def all_ignored(folders):
    for name in "ab":
        Image.new("L", (16, 16), 255).save(folders / "labels" / f"{name}.png")


def other_data(folders):
    source = {"dataset": "lanes", "fingerprint": "ab" * 32, "size": [16, 16]}
    save(folders / "scorer.safetensors", source)


def other_classes(folders):
    save(folders / "scorer.safetensors", {}, ("road", "tree"))


FCN = ("--scores", "fcn", "--labels", "labels", "--scorer", "scorer.safetensors")
DATA = ("--dataset", "streets", "--datasets", "sets.yaml")


@pytest.mark.parametrize(
    ("spoil", "more", "reason"),
    [
        (gone, ("--scores", "pixel"), "1 only in the translations of translations (a)"),
        (extra, ("--scores", "pixel"), "1 only in the targets of targets (z)"),
        (larger, ("--scores", "pixel"), "targets/b.png: must have 16x16 pixels"),
        (truncated, ("--scores", "pixel"), "translations/b.png: is damaged or cut off"),
        (text, ("--scores", "pixel"), "translations/b.png: is not an image"),
        (transparent, ("--scores", "pixel"), "has transparent pixels (mode RGBA)"),
        (not_a_number, ("--scores", "pixel"), "is 32-bit grey"),
        (class_2, FCN, "labels/b.png: class 2 is not one of the 2 classes"),
        (class_2, (*FCN, *DATA), "labels/b.png: has the value 2, which no class has"),
        (painted_wrongly, (*FCN, *DATA), "colour of no class, mostly (1, 2, 3)"),
        (painted_wrongly, FCN, "8-bit grey or palette is needed"),
        (truncated_scorer, FCN, "scorer.safetensors: not a scorer, or damaged"),
        (altered_scorer, FCN, "scorer.safetensors: altered"),
        (pickle_scorer, FCN, "scorer.safetensors: not a scorer, or damaged"),
        (other_data, (*FCN, *DATA), "trained with the dataset lanes, not streets"),
        (other_classes, (*FCN, *DATA), "its class 1 is tree, not sky"),
        (None, ("--scores", "fcn"), "needs --labels DIR and --scorer FILE or --dataset NAME"),
        (None, ("--scores", "labels", "--labels", "labels"), "a --dataset NAME with classes"),
        (None, ("--scores", "labels", "--labels", "labels", "--dataset", "maps"), "with classes"),
        (None, ("--labels", "labels"), "needs --scorer FILE or --dataset NAME"),
        (None, FCN[-2:], "--scorer: is for fcn"),
        (None, ("--protocol", "cityscapes-fcn8s"), "--protocol: is for fcn"),
        (None, ("--scores", "lpips", "--lpips-weights", "no.pth"), "no.pth: no such file"),
        (None, ("--dataset", "streetz", "--datasets", "sets.yaml"), "'streetz' is unknown"),
        (None, ("--datasets", "sets.yaml"), "--datasets: needs --dataset NAME"),
        (None, ("--scores", "pixel", "--json", "targets/a.png/x.json"), "a.png is not a writable"),
        (None, ("--scores", "pixel", "--json", "targets"), "--json targets: is a folder, or"),
        (None, ("--scores", "pixel", "--json", "targets/a.png"), "exists and is not a JSON file"),
        (None, ("--scores", "pixel", "--lpips-net", "vgg"), "--lpips-net: is for lpips"),
        (None, ("--scores", "pixel", "--lpips-weights", "x"), "--lpips-weights: is for lpips"),
        (None, ("--scores", "pixel", "--labels", "labels"), "--labels: is for fcn and labels"),
        (None, (*FCN, "--label-values", "own"), "--label-values: needs --labels DIR and a"),
        (None, (*FCN, *DATA, "--protocol", "cityscapes-fcn8s"), "--dataset: cannot go"),
        (published, FCN, "scorer.safetensors: is the published scorer; use it with --protocol"),
        (malicious, FCN, "scorer.safetensors: not a scorer, or damaged"),
        (claims_too_much, ("--scores", "pixel"), "than 64,000,000 pixels"),
        (all_ignored, FCN, "--scores fcn: nothing was scored: no pixel is labelled"),
        (None, (*FCN, "--device", "cuda"), "--device cuda: torch finds no CUDA device"),
        (None, (*FCN[:4], "--protocol", "cityscapes-fcn8s"), "needs --scorer FILE"),
    ],
)  # fmt: skip
def test_refuses_in_one_line_with_status_2(
    folders, scorer, capsys, monkeypatch, spoil, more, reason
):
    monkeypatch.chdir(folders)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # also where there is one
    if spoil:
        spoil(folders)
    before = {path: path.stat().st_mtime_ns for path in folders.rglob("*")}
    record = () if "--json" in more else ("--json", "record.json")
    sides = ("--translations", "translations", "--targets", "targets")
    assert main([*sides, *more, *record]) == 2
    out, error = capsys.readouterr()
    assert error.startswith("error: ") and error.count("\n") == 1 and out == ""
    assert reason in error
    assert {path: path.stat().st_mtime_ns for path in folders.rglob("*")} == before


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (("--scores", "fid"), "must be some of fcn,labels,lpips,color,pixel,hole (got 'fid')"),
        (("--workers", "0"), "must be a whole number from 1 (got '0')"),
        (("--protocol", "mine"), "invalid choice: 'mine'"),
        (("--lpips-net", "mine"), "invalid choice: 'mine'"),
    ],
)
def test_refuses_unknown_options(folders, capsys, more, reason):
    with pytest.raises(SystemExit) as stop:
        main(command(folders, *more))
    assert stop.value.code == 2 and reason in capsys.readouterr().err


def test_the_real_command_teaches_scores_and_refuses(folders):
    helped = as_user(folders, "--help")
    assert helped.returncode == 0 and "examples:" in helped.stdout
    # Without torch, which takes seconds to start; test_score.py has the other families.
    sides = ("--translations", "translations", "--targets", "targets", "--scores", "color")
    one = as_user(folders, *sides, "--json", "one.json")
    two = as_user(folders, *sides, "--json", "two.json", "--workers", 2)
    assert (one.returncode, two.returncode) == (0, 0) and one.stderr == two.stderr == ""
    records = [json.loads((folders / f"{name}.json").read_text()) for name in ("one", "two")]
    for record in records:
        del record["settings"]["command"]
    assert records[0] == records[1]
    text(folders)
    refused = as_user(folders, *sides, "--workers", 2, "--json", "three.json")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and not refused.stdout
    assert not (folders / "three.json").exists()


BLOCKED = """
import os, signal, sys
from pathlib import Path
import eval.request
from eval.__main__ import main

class Blocked:
    "Stands in for LPIPS: every process that measures says so, and then never finishes."
    def __call__(self, translations, targets):
        Path(f"measuring-{os.getpid()}").touch()
        while True:
            signal.pause()

if __name__ == "__main__":
    eval.request.load_lpips = lambda *_, **__: Blocked()
    sys.exit(main())
"""


@pytest.mark.slow
def test_interrupted_it_leaves_nothing_behind(folders):
    """As Ctrl-C does, the signal reaches the command and all of its processes."""
    (folders / "blocked.py").write_text(BLOCKED)
    sides = ("--translations", "translations", "--targets", "targets", "--scores", "lpips")
    process = subprocess.Popen(
        [sys.executable, "blocked.py", *sides, "--workers", "2", "--json", "a.json"],
        cwd=folders,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait_for(lambda: process.poll() is not None or len(measuring(folders)) == 2)
        assert process.poll() is None and len(measuring(folders)) == 2
        os.killpg(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=600)
    finally:
        process.kill()
    assert process.returncode == 130 and error == "interrupted: nothing was written\n"
    assert not (folders / "a.json").exists()
    assert not any(map(alive, measuring(folders)))


@pytest.mark.slow
def test_killed_its_workers_end(folders):
    (folders / "blocked.py").write_text(BLOCKED)
    sides = ("--translations", "translations", "--targets", "targets", "--scores", "lpips")
    process = subprocess.Popen(
        [sys.executable, "blocked.py", *sides, "--workers", "2"],
        cwd=folders,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: process.poll() is not None or len(measuring(folders)) == 2)
    finally:
        process.kill()
    process.wait()
    workers = measuring(folders)
    assert len(workers) == 2
    wait_for(lambda: not any(map(alive, workers)))


def measuring(folder):
    return [int(path.name.partition("-")[2]) for path in folder.glob("measuring-*")]


def wait_for(condition):
    """Polls until the condition holds; the limit is for hangs, however busy the machine is."""
    deadline = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
