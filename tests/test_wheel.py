"""The wheel in an environment of its own, used in a folder whose files have our packages' names."""

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
SOURCES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "run_ablations.py")
PACKAGES = ("pix2pix", "eval", "experiments", "reports")
THEIRS = ("eval.py", "random.py", "experiments/__init__.py", "reports/__init__.py")


def command(*words, cwd=None, **variables):
    """What a command prints; none of this process's settings of Python reaches it."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_TRACKING", "PYTHON"))}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**clean, "CUDA_VISIBLE_DEVICES": "", **variables},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def installed(tmp_path):
    """The bin folder of an environment with the wheel, and with what it requires by reference."""
    source, bin_folder = tmp_path / "source", tmp_path / "user/.venv/bin"
    for name in PACKAGES:  # a copy: building writes beside the sources
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in SOURCES:
        shutil.copy(ROOT / name, source)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q")
    command(*pip, "wheel", "--no-deps", "-w", tmp_path, source)
    venv.create(bin_folder.parent, symlinks=True)
    (wheel,) = tmp_path.glob("*.whl")
    command(*pip, "--python", bin_folder / "python", "install", "--no-deps", wheel)
    (packages,) = bin_folder.parent.glob("lib/python*/site-packages")
    required = [path for path in sys.path if Path(path).name == "site-packages"]
    (packages / "required.pth").write_text("\n".join(required))
    return bin_folder


@pytest.mark.slow
def test_the_installed_wheel_runs_a_suite_beside_files_of_our_names(tmp_path, installed):
    user = tmp_path / "user"
    for name in THEIRS:
        (user / name).parent.mkdir(exist_ok=True)
        (user / name).write_text(f"raise SystemExit('ran {name}')")
    rng = np.random.default_rng(0)
    for side in "AB":
        (user / "data" / side).mkdir(parents=True)
        for index in range(4):
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(user / "data" / side / f"{index}.png")
    command("git", "init", "-q", user)
    author = ("-c", "user.name=me", "-c", "user.email=me@localhost")
    command("git", *author, "commit", "-q", "--allow-empty", "-m", "my own project", cwd=user)
    here = {"cwd": user, "HOME": str(user / "home")}

    listed = command(installed / "python", "-m", "run_ablations", "--list", **here)
    assert "camvid" in listed and "patch_size" in listed
    told = command(
        *(installed / "run_ablations", "--suite", "losses", "--arms", "L1", "--profile", "smoke"),
        *("--dataset", "folder", "--data-root", "data", "--set", "size=32", "--out=~/runs"),
        *("--set", "training.steps=2", "--reports=~/reports"),
        **here,
    )
    assert "| L1 " in told
    assert (next((user / "home").glob("reports/*/losses")) / "index.html").is_file()
    (record,) = (user / "home/runs/suites/losses").glob("*.json")
    assert json.loads(record.read_text())["commit"] == "unknown", "not the user's own commit"
    (translations,) = (user / "home").glob("runs/cells/*/translations")
    (targets,) = (user / "home").glob("runs/references/*/targets")
    scored = command(
        *(installed / "python", "-P", "-m", "eval", "--translations", translations),
        *("--targets", targets, "--scores", "pixel"),
        **here,
    )
    assert "pixel.l1" in scored
    assert not (user / "~").exists()
