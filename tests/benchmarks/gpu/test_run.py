"""The script for a GPU machine, run on the CPU with tiny settings (DRY=1)."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PARTS = ("pix2pix", "eval", "experiments", "reports", "benchmarks", "tests/pix2pix")
FILES = ("run_ablations.py", "datasets.yaml", "setup.cfg", "tests/conftest.py")
BARE = "import sys\nsys.modules.update(dict.fromkeys(('mlflow', 'lpips')))\n"
"""A sitecustomize that hides what a GPU machine need not have."""

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path):
    """A copy of the project, so that its runs/ stays as it is."""
    folder = tmp_path / "project"
    for part in PARTS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / part, folder / part, ignore=ignored)
    for name in FILES:
        shutil.copyfile(ROOT / name, folder / name)
    (folder / ".gpu" / "site").mkdir(parents=True)
    (folder / ".gpu" / "site" / "sitecustomize.py").write_text(BARE)
    return folder


def run(project, *stages):
    """The script's output, after it wrote its results to project/out."""
    done = subprocess.run(
        ["bash", "benchmarks/gpu/run", *stages],
        cwd=project,
        env=os.environ | {"DRY": "1", "OUT": "out", "PYTHON": sys.executable},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_every_stage_runs_and_leaves_its_results(project):
    (project / ".gpu" / "commit").write_text("0123abc\n")
    text = run(project, "machine", "tests", "steps", "probe", "cells", "train")
    for stage in ("machine", "tests of the GPU path", "steps", "probe", "cells", "train"):
        assert f"=== {stage}: exit 0" in text, text
    results = {path.name: path for path in (project / "out").iterdir()}
    assert set(results) == {
        *("log.txt", "tests.txt", "steps.json", "probe.json", "cells.json"),
        *("training.json", "samples.png", "runs.tar.gz"),
    }
    assert "passed" in results["tests.txt"].read_text()
    steps, probe, cells, training = (
        json.loads(results[f"{name}.json"].read_text())
        for name in ("steps", "probe", "cells", "training")
    )
    assert steps["variants"][0]["variant"] == "float32, reference"
    assert set(probe) == {"variants", "streams", "kernels", "host", "weights"}
    failed = [
        value for section in probe.values() for value in section.values() if "failed" in str(value)
    ]
    assert not failed
    assert probe["weights"]["float32, graph, Adam beside"] == 0.0
    assert cells["cells"][0]["images_per_second"] > 0
    (row,) = training["cells"]
    assert (row["arm"], row["step"], row["failed"]) == ("L1+GAN", 6, [])
    assert row["scores"].keys() >= {"fcn.class_iou", "pixel.l1"}
    journal = project / "runs" / "gpu" / "runs" / "cells" / row["digest"] / "journal.jsonl"
    assert '"commit": "0123abc"' in journal.read_text()
    with tarfile.open(results["runs.tar.gz"]) as archive:
        names = archive.getnames()
    for name in ("config.json", "journal.jsonl", "scores.json", "per_image.npz", "samples"):
        assert any(n.startswith(f"cells/{row['digest']}/{name}") for n in names), name
    assert any(name.startswith("scorers/") and name.endswith(".safetensors") for name in names)
    assert not any("generator" in name for name in names)


def test_a_failing_stage_does_not_stop_the_next(project):
    (project / "benchmarks" / "steps.py").write_text("raise SystemExit(3)\n")
    (project / "benchmarks" / "cells.py").write_text("print('the next one')\n")
    text = run(project, "steps", "cells")
    assert "=== steps: exit 3" in text and "the next one" in text and "=== cells: exit 0" in text


def choose(results, seconds):
    script = ROOT / "benchmarks" / "gpu" / "choose.py"
    command = [sys.executable, str(script), str(results), str(seconds)]
    environment = {k: v for k, v in os.environ.items() if k != "DRY"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return tuple(map(int, done.stdout.split()))


def test_the_training_is_as_long_as_the_measured_speed_allows(tmp_path):
    assert choose(tmp_path, 210) == (3000, 2)  # nothing measured: 4 ms per step
    variants = [{"variant": "tf32, reference", "seconds_per_step": 0.0058}]
    (tmp_path / "steps.json").write_text(json.dumps({"variants": variants}))
    assert choose(tmp_path, 210) == (2500, 2)  # no graph could be captured
    variants += [{"variant": "tf32, graph", "seconds_per_step": 0.0016}]
    (tmp_path / "steps.json").write_text(json.dumps({"variants": variants}))
    assert choose(tmp_path, 210) == (8000, 2)
    cells = [{"cells": 1, "images_per_second": 500}, {"cells": 4, "images_per_second": 540}]
    (tmp_path / "cells.json").write_text(json.dumps({"cells": cells}))
    assert choose(tmp_path, 210) == (8000, 4)
    assert choose(tmp_path, 10) == (800, 4)
