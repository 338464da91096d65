"""The report of the miniature study, word for word and figure for figure.

`make_miniature.py` made the study. After a wanted change of the report:

    GOLDEN=write python -m pytest tests/reports/test_golden.py

and read what changed in `golden/` before it is committed.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import imagehash
import pytest
from PIL import Image

from experiments.tracking.reader import list_suites, read_suite
from reports.figures.draw import FIGURES, drawings
from reports.figures.style import COLUMN_WIDTH, IN_COLUMN, save
from reports.write import write_report

HERE = Path(__file__).parent
GOLDEN = HERE / "golden"
TEXTS = ("table.md", "table.tex", "verdicts.tex", "table.csv", "verdicts.csv", "checklist.md")
LARGEST_DISTANCE = 6
"""Of 256 bits. Fonts' rasters differ by 0 to 2 between versions; another curve by 20 or more."""


@pytest.fixture(scope="module")
def report(tmp_path_factory, miniature) -> Path:
    """The report, and beside it the figures at column width as PNG."""
    folder = tmp_path_factory.mktemp("golden")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", miniature)
        ((suite, dataset, profile),) = list_suites()
        written = write_report(suite, dataset, profile, folder)
        for name, figure, _ in drawings(read_suite(suite, dataset, profile), COLUMN_WIDTH):
            save(figure, written, f"{name}{IN_COLUMN}", "png")
    return written


def figure_hashes(report: Path) -> dict[str, str]:
    """{figure: perceptual hash, 256 bits as hex}"""
    hashes = {}
    for path in sorted(report.glob("*.png")):
        with Image.open(path) as image:
            hashes[path.stem] = str(imagehash.phash(image, hash_size=16))
    assert len(hashes) == 2 * len(FIGURES)
    return hashes


def test_the_report_is_the_one_that_was_read(report):
    if os.environ.get("GOLDEN") == "write":
        GOLDEN.mkdir(exist_ok=True)
        for name in TEXTS:
            shutil.copyfile(report / name, GOLDEN / name)
        hashes = json.dumps(figure_hashes(report), indent=1)
        (GOLDEN / "figures.json").write_text(hashes + "\n")
    for name in TEXTS:
        wanted = (GOLDEN / name).read_text(encoding="utf-8")
        assert (report / name).read_text(encoding="utf-8") == wanted, name


def test_every_figure_looks_as_it_did(report):
    wanted = json.loads((GOLDEN / "figures.json").read_text())
    found = figure_hashes(report)
    assert found.keys() == wanted.keys()
    for name, text in found.items():
        distance = imagehash.hex_to_hash(text) - imagehash.hex_to_hash(wanted[name])
        assert distance <= LARGEST_DISTANCE, (name, distance)


def test_the_hash_sees_another_figure(report):
    """Else the test above could not fail."""
    found = {name: imagehash.hex_to_hash(text) for name, text in figure_hashes(report).items()}
    names = list(found)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    assert min(found[a] - found[b] for a, b in pairs) > 3 * LARGEST_DISTANCE
