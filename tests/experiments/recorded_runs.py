"""Run directories as the runner leaves them, small: real journals, real PNG files; and MLflow
stores to mirror them into, copied from an empty one because its migrations take seconds."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from experiments.run.journal import Journal, write_json

SIDE = 16
IMAGES = tuple(f"scene_{i:02d}" for i in range(10))
FINGERPRINT = "ab12" * 16
REFERENCE = "ref"
PROVENANCE = {
    "commit": "0123abc",
    "device": "cpu",
    "versions": {"python": "3.11.2", "torch": "2.11.0"},
}


def paint(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (SIDE, SIDE)) -> None:
    """An image of one colour with a darker lower half."""
    pixels = np.full((*size, 3), colour, np.uint8)
    pixels[size[0] // 2 :] //= 2
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def config(digest: str, seed: int | None, **changes: Any) -> dict[str, Any]:
    return {
        "digest": digest,
        "seed": seed,
        "dataset": "procedural",
        "fingerprint": FINGERPRINT,
        "direction": "labels->photo",
        "size": [SIDE, SIDE],
        "generator": {"architecture": "unet", "width": 8, "depth": 4},
        "discriminator": {"patch": 70, "width": 8},
        "objective": {"gan": "conditional", "gan_loss": "cross-entropy", "l1": 100.0, "l2": 0.0},
        "training": {"steps": 400, "batch": 1, "learning_rate": 2e-4},
        "protocol": 1,
    } | changes


def begin(directory: Path, digest: str, seed: int | None, **changes: Any) -> Journal:
    """config.json and the first records of a cell's journal."""
    write_json(directory / "config.json", config(digest, seed, **changes))
    journal = Journal(directory)
    journal.append("start", provenance=PROVENANCE, step=0)
    journal.append("data", fingerprint=FINGERPRINT, train=40, val=10, test=len(IMAGES))
    journal.append("parameters", generator=1000, discriminator=200)
    return journal


def train(journal: Journal, start: int, stop: int, every: int = 50, sample: int = 200) -> None:
    """Loss records and sample grids of steps in (start, stop]."""
    for step in range(start + every, stop + 1, every):
        values = {"g_gan": 1.0 + 1 / step, "g_l1": 20.0 / step, "d_real": 0.5, "d_fake": 0.6}
        journal.append("losses", step=step, values=values, seconds_per_step=0.1, learning_rate=2e-4)
        if step % sample == 0:
            file = f"samples/step-{step:07d}.png"
            paint(journal.directory / file, (step % 256, 90, 90), (3 * SIDE, 4 * SIDE))
            journal.append("sample", step=step, file=file)
            journal.append("checkpoint", step=step)


def write_sheet(
    directory: Path,
    values: dict[str, float],
    not_measured: dict[str, str],
    reference: str = REFERENCE,
) -> None:
    """scores.json as the runner writes it."""
    settings = {"reference": reference}
    sheet = {"values": values, "not_measured": not_measured, "settings": settings}
    write_json(directory / "scores.json", sheet)


def score(
    journal: Journal,
    values: dict[str, float],
    not_measured: dict[str, str] | None = None,
    brightness: int = 100,
) -> None:
    """Score files of every test image and the `scores` record; every image has the same score."""
    directory = journal.directory
    missing = not_measured or {}
    write_sheet(directory, values, missing)
    with open(directory / "per_image.csv", "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["name", *values])
        rows.writerows([name, *values.values()] for name in IMAGES)
    lab = np.zeros((len(IMAGES), 3, 440), np.int64)
    lab[:, 0, brightness // 3 : brightness // 3 + 20] = 3
    lab[:, 1:, 100 : 100 + brightness // 4] = 2
    confusion = np.tile(np.diag([5, 6, 7]), (len(IMAGES), 1, 1))
    np.savez(directory / "per_image.npz", names=np.array(IMAGES), lab=lab, confusion=confusion)
    journal.append("scores", values=values, not_measured=missing)


def finish_cell(
    journal: Journal,
    values: dict[str, float],
    not_measured: dict[str, str] | None = None,
    brightness: int = 100,
) -> None:
    """Everything after the last step: translations, scores, done."""
    journal.append("trained", step=400, seconds=40.0, peak_memory_mib=300.0)
    for i, name in enumerate(IMAGES):
        paint(journal.directory / "translations" / f"{name}.png", (brightness, 10 * i, 80))
    score(journal, values, not_measured, brightness)
    journal.append("done", seconds=45.0)


def cell(
    out: Path,
    digest: str,
    seed: int,
    values: dict[str, float],
    not_measured: dict[str, str] | None = None,
    brightness: int = 100,
) -> Path:
    """A whole finished cell of 400 steps."""
    journal = begin(out / "cells" / digest, digest, seed)
    train(journal, 0, 400)
    finish_cell(journal, values, not_measured, brightness)
    return journal.directory


def failed_cell(out: Path, digest: str, seed: int) -> Path:
    """A cell that stopped at step 100."""
    journal = begin(out / "cells" / digest, digest, seed)
    train(journal, 0, 100)
    journal.append("failed", error="step 101: g_l1 is not a number", log="line 1\nline 2")
    return journal.directory


def reference(out: Path, digest: str, values: dict[str, float]) -> Path:
    """The real photos' own scores."""
    directory = out / "references" / digest
    write_json(directory / "config.json", {"digest": digest, "fingerprint": FINGERPRINT})
    journal = Journal(directory)
    journal.append("start", provenance=PROVENANCE, step=0)
    for i, name in enumerate(IMAGES):
        paint(directory / "inputs" / f"{name}.png", (0, 20 * i, 255))
        paint(directory / "targets" / f"{name}.png", (150, 20 * i, 100))
    score(journal, values, None, brightness=150)
    journal.append("done", seconds=3.0)
    return directory


def suite_record(
    out: Path, cells: list[tuple[str, int, str]], *, reference: str | None, **fields: Any
) -> Path:
    """The suite record of these (arm, seed, digest), written where the runner puts it."""
    arms = list(dict.fromkeys(arm for arm, _, _ in cells))
    record = {
        "suite": "patch_size",
        "title": "Patch size",
        "question": "How large must the discriminator's receptive field be?",
        "dataset": "procedural",
        "variant": "quick",
        "direction": "labels->photo",
        "overrides": {},
        "commit": "0123abc",
        "arms": [
            {"name": arm, "changes": {"discriminator.patch": int(arm.split("x")[0])}}
            if arm[0].isdigit()
            else {"name": arm, "changes": {}}
            for arm in arms
        ],
        "cells": [{"arm": a, "seed": s, "digest": d} for a, s, d in cells],
        "reference": reference,
        "scores": ["fcn", "lpips", "color", "pixel"],
        "published": None,
        "claims": [],
        "deviations": [f"{SIDE}×{SIDE} instead of 256×256"],
        "fingerprint": FINGERPRINT,
        "size": [SIDE, SIDE],
        "steps": 400,
    } | fields
    path = out / "suites" / record["suite"] / f"{record['dataset']}-{record['variant']}.json"
    write_json(path, record)
    return path


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from experiments.tracking.store import open_store

    database = tmp_path_factory.mktemp("store") / "mlflow.db"
    store = open_store(f"sqlite:///{database}", create=True)
    store.experiments()
    return database


@pytest.fixture
def store(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of the test's own; MLFLOW_TRACKING_URI names it. The path of its database."""
    database = tmp_path / "mlflow.db"
    shutil.copyfile(empty_store, database)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    return database
