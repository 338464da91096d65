"""Whole reports from a real MLflow store, without the run directories."""

from __future__ import annotations

import contextlib
import csv
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import recorded_runs as recorded
from PIL import Image

from experiments.tracking.mirror import mirror
from pix2pix.common.errors import UserError
from reports.__main__ import main
from reports.figures.style import COLUMN_WIDTH, DPI, IN_COLUMN, PAGE_WIDTH
from reports.write import write_report

ROOT = Path(__file__).resolve().parents[2]
KEY = ("patch_size", "procedural", "quick")
FIGURES = ("arms_by_inputs", "seeds", "classes", "lab_histograms", "curves")
BESIDE = 10
"""Pages, tables and the like."""
WHY = {"lpips": "no backbone: put alexnet.pth into the hub cache"}


def values(pixel: float) -> dict[str, float]:
    scores = {"fcn.pixel_accuracy": pixel, "fcn.class_accuracy": 0.5, "fcn.class_iou": 0.4}
    return scores | {"color.L": 0.8, "color.a": 0.7, "color.b": 0.6, "pixel.psnr": 15.0}


@pytest.fixture
def suite(tmp_path: Path, store: Path) -> Path:
    """Three finished seeds of one arm, one finished and one failed of another; no run
    directories left."""
    out = tmp_path / "runs"
    cells = [("70x70", seed, f"d70-{seed}") for seed in (1, 2, 3)]
    for (_, seed, digest), pixel in zip(cells, (0.80, 0.82, 0.87), strict=True):
        recorded.cell(out, digest, seed, values(pixel), WHY, brightness=120)
    recorded.cell(out, "d1-1", 1, values(0.5), WHY, brightness=90)
    recorded.failed_cell(out, "d1-2", 2)
    recorded.reference(out, "ref", values(0.9))
    cells += [("1x1", 1, "d1-1"), ("1x1", 2, "d1-2")]
    recorded.suite_record(
        out,
        cells,
        reference="ref",
        claims=["70x70 > 1x1 on fcn.pixel_accuracy"],
        published={"source": "Table 3", "rows": {"70x70": {"fcn.pixel_accuracy": 0.66}}},
    )
    mirror(out)
    shutil.rmtree(out)
    return tmp_path


def test_a_whole_report(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--suite", "all", "--out", str(suite / "out")]) == 0
    folder = suite / "out" / "procedural-quick" / "patch_size"
    assert capsys.readouterr().out.strip() == str(folder / "table.md")
    text = (folder / "table.md").read_text(encoding="utf-8")
    assert re.search(r"\| 70x70 +\| +3 \| +0\.830 ± 0\.090 \| +0\.66 \|", text)
    assert re.search(r"\| 1x1 +\| +1 of 2 \| +0\.500 \|", text)
    assert "failed: 1x1 seed 2: step 101: g_l1 is not a number" in text
    assert re.search(
        r"\| 70x70 > 1x1 on FCN per-pixel acc. \| +\*\*undecided\*\* +\| +\+0\.330", text
    )
    assert "3 and 1 seed (1 seed in common); the means are ordered as claimed" in text
    assert "one seed shows no spread; 4 seeds unpaired could decide" in text
    assert "LPIPS: not measured: no backbone" in text
    assert "commit: 0123abc" in text
    assert recorded.FINGERPRINT in text
    assert "seed 2 d70-2" in text

    with open(folder / "results.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["suite", "dataset", "profile", "arm", "seed", "score", "value"]
    assert len(rows) == (3 + 1 + 1) * 7
    chosen = [r for r in rows if r["score"] == "fcn.pixel_accuracy"]
    assert [(r["arm"], r["seed"], float(r["value"])) for r in chosen] == [
        ("70x70", "1", 0.80),
        ("70x70", "2", 0.82),
        ("70x70", "3", 0.87),
        ("1x1", "1", 0.5),
        ("ground truth", "", 0.9),
    ]
    tex = (folder / "table.tex").read_text(encoding="utf-8")
    assert r"over n~=~1--3 seeds" in tex
    assert r"g\_l1" in tex

    for name in FIGURES:
        with Image.open(folder / f"{name}.png") as image:
            pixels = np.asarray(image.convert("RGB"))
        assert pixels.shape[1] == pytest.approx(PAGE_WIDTH * DPI, abs=2) or name == FIGURES[0]
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 5
        for file, width in ((name, PAGE_WIDTH), (f"{name}{IN_COLUMN}", COLUMN_WIDTH)):
            pdf = (folder / f"{file}.pdf").read_bytes()
            assert pdf.startswith(b"%PDF")
            assert b"/Type3" not in pdf  # fonts are embedded as TrueType
            box = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+) ?\]", pdf)
            inches = [float(side) / 72 for side in box.groups()]
            assert inches[0] <= width + 1e-6 and inches[1] <= 8.875
            assert inches[0] > width - 0.1 or name == FIGURES[0]
    # 4 columns of at most 1.6 inches: input, ground truth, two arms
    with Image.open(folder / "arms_by_inputs.png") as image:
        assert image.width == pytest.approx((4 * 1.6 + 3 * 0.03) * DPI, abs=2)
        column = (1.6 + 0.03) * DPI
        colours = [image.convert("RGB").getpixel((int((c + 0.5) * column), 120)) for c in range(4)]
    assert colours == [(0, 0, 255), (150, 0, 100), (120, 0, 80), (90, 0, 80)]


def test_bad_input_is_one_line_and_status_2(
    tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(*arguments: str) -> str:
        assert main(["--out", str(tmp_path / "out"), *arguments]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    assert "MLflow holds no suite" in said("--suite", "all")
    out = tmp_path / "runs"
    recorded.failed_cell(out, "aaa", 1)
    recorded.suite_record(out, [("70x70", 1, "aaa")], reference=None)
    mirror(out)
    assert "no finished cell: 70x70 seed 1 failed" in said("--suite", "patch_size")
    page = (tmp_path / "out" / "procedural-quick" / "patch_size" / "table.md").read_text("utf-8")
    assert "No training is finished" in page and "| 70x70 | 0 of 1 | " in page
    assert "failed: 70x70 seed 1: step 101: g_l1 is not a number" in page
    assert "suite losses: nothing recorded; there is patch_size" in said("--suite", "losses")
    assert "nothing recorded on camvid" in said("--suite", "patch_size", "--dataset", "camvid")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none.db")
    assert "no MLflow store" in said("--suite", "all")


def test_a_folder_that_cannot_be_written(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (suite / "out").write_text("a file")
    assert main(["--suite", "patch_size", "--out", str(suite / "out")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_an_arms_name_may_hold_dollars(tmp_path: Path, store: Path) -> None:
    out = tmp_path / "runs"
    names = ("$x_{$", "L1→\\$cGAN$")
    for digest in ("aaa", "bbb"):
        recorded.cell(out, digest, 1, values(0.8), WHY)
    cells = [(names[0], 1, "aaa"), (names[1], 1, "bbb")]
    recorded.reference(out, "ref", values(0.9))
    recorded.suite_record(out, cells, reference="ref")
    mirror(out)
    folder = write_report(*KEY, tmp_path / "out")
    assert all((folder / f"{name}.pdf").is_file() for name in FIGURES)
    assert r"| \$x\_{\$ " in (folder / "table.md").read_text(encoding="utf-8")
    assert r"\$x\_\{\$ &" in (folder / "table.tex").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_report_is_the_same_twice_and_utf_8_whatever_the_locale(suite: Path) -> None:
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "reports", "--suite", "all", "--out", str(suite / "plain")],
        env={**os.environ, **locale, "PYTHONPATH": str(ROOT)},
        cwd=suite,
        capture_output=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    here = write_report(*KEY, suite / "here")
    plain = suite / "plain" / "procedural-quick" / "patch_size"
    names = sorted(path.name for path in here.iterdir())
    assert len(names) == BESIDE + 4 * len(FIGURES) - 1  # the grid of pictures has no SVG
    for name in names:
        assert (plain / name).read_bytes() == (here / name).read_bytes(), name
    assert "±" in (plain / "table.md").read_bytes().decode("utf-8")


def test_a_store_that_is_away_or_broken_is_one_line(
    suite: Path, store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def said() -> str:
        assert main(["--suite", "patch_size", "--out", str(suite / "out")]) == 1
        with pytest.raises(UserError) as raised:
            write_report(*KEY, suite / "out")
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "\n" not in str(raised.value)
        return error

    with contextlib.closing(sqlite3.connect(store)) as database, database:
        database.execute("ALTER TABLE metrics RENAME TO elsewhere")
        database.execute("ALTER TABLE latest_metrics RENAME TO elsewhere_too")
    assert "no such table" in said()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert "failed with exception" in said()


def test_without_mlflow_it_is_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['mlflow'] = None")
    done = subprocess.run(
        [sys.executable, "-m", "reports", "--suite", "all"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr == "error: reports are read from MLflow; mlflow is not installed here\n"


def test_a_damaged_artifact_is_named(suite: Path) -> None:
    (damaged, *_) = sorted(suite.glob("mlruns/*/*/artifacts/histograms.json"))
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"histograms\.json: not JSON"):
        write_report(*KEY, suite / "out")
    damaged.write_bytes(whole)
    for image in suite.glob("mlruns/*/*/artifacts/translations/*.png"):
        image.write_bytes(b"not a PNG")
    with pytest.raises(UserError, match=r"\.png: is not an image that can be read"):
        write_report(*KEY, suite / "out")
