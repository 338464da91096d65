import json

import numpy as np
import pytest
from PIL import Image

from eval.__main__ import main
from eval.fcn import FCN8s
from eval.scorer import ScorerSettings, save_scorer


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
    return tmp_path


def command(folders, *more) -> list[str]:
    sides = [f"--{s}={folders / s}" for s in ("translations", "targets")]
    return [*sides, *map(str, more)]


def test_prints_a_table_and_writes_the_json(folders, capsys):
    record = folders / "new" / "scores.json"
    assert main(command(folders, "--scores", "color,pixel", "--json", record)) == 0
    printed = capsys.readouterr().out
    assert "2 images" in printed and "pixel.psnr" in printed and "higher is better" in printed
    values = json.loads(record.read_text())["values"]
    assert set(values) == {"color.L", "color.a", "color.b", "pixel.l1", "pixel.psnr", "pixel.ssim"}


def test_scores_with_a_saved_scorer(folders, capsys):
    scorer = folders / "scorer.safetensors"
    network = FCN8s(2, width=2, batch_norm=True, padding="same")
    save_scorer(scorer, network, ScorerSettings(width=2), ["a", "b"], "untrained")
    more = ("--scores", "fcn", "--labels", folders / "labels", "--scorer", scorer)
    assert main(command(folders, *more)) == 0
    # Untrained, every pixel is class 0, and every label is 1.
    assert "fcn.pixel_accuracy      0.0000" in capsys.readouterr().out


def test_says_why_lpips_is_not_measured(folders, capsys, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(folders))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there
    assert main(command(folders, "--scores", "lpips")) == 0
    assert "lpips                not measured: no " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("spoil", "more", "message"),
    [
        ("targets/a.png", ("--scores", "pixel"), "unmatched images"),
        (None, ("--scores", "lpips", "--lpips-weights", "no.pth"), "no.pth: no such file"),
        (None, ("--scores", "fcn"), "needs --labels DIR and --scorer FILE"),
        (None, ("--scores", "pixel", "--json", "targets/a.png/x.json"), "x.json"),
    ],
)
def test_refuses_in_one_line_with_status_2(folders, capsys, monkeypatch, spoil, more, message):
    monkeypatch.chdir(folders)
    if spoil:
        (folders / spoil).unlink()
    assert main(command(folders, *more)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1


def test_refuses_unknown_scores(folders, capsys):
    with pytest.raises(SystemExit) as stop:
        main(command(folders, "--scores", "fid"))
    assert stop.value.code == 2
    assert "must be of fcn,lpips,color,pixel (got 'fid')" in capsys.readouterr().err
