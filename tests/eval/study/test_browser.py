"""The pages in a real Chromium, driven by Playwright; skipped where either is absent."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from served_study import arguments, paint, running

from eval.study.answers import Answers
from eval.study.design import Study, timing_failed

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from browser import chromium, watched  # noqa: F401

WATCH = """() => {
  window.seen = [];
  let since = null;
  const look = (now) => {
    const shown = getComputedStyle(document.getElementById("pictures")).visibility === "visible";
    if (shown && since === null) since = now;
    if (!shown && since !== null) { window.seen.push(now - since); since = null; }
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}"""
"""Measures, apart from the page's own clock, for how many milliseconds each pair was visible."""


def see(page):
    """See the next pair; feedback and other cards are clicked away."""
    page.locator("#next:visible, .choice:enabled >> nth=0").first.wait_for()
    while page.locator("#next").is_visible():
        page.click("#next")
        page.locator("#next:visible, .choice:enabled >> nth=0").first.wait_for()


def trial(page, choice):
    """One trial, from the pair to the answer."""
    see(page)
    if choice in "AB":
        page.click(f"#choice{choice}")
    else:
        page.keyboard.press(choice)


def table_of(folder):
    answers = Answers(folder, Study.read(folder))
    table = answers.table()
    answers.close()
    return table


def test_a_session_with_a_reload_in_the_middle(study_server, chromium):  # noqa: F811
    with watched(chromium, study_server.address) as page:
        page.click("text=I agree")
        trial(page, "A")
        page.get_by_text("was generated.").wait_for()
        assert re.fullmatch("Right|Wrong", page.inner_text("#heading"))
        trial(page, "ArrowRight")
        page.get_by_text("was generated.").wait_for()
        page.reload()
        page.get_by_text("Welcome back").wait_for()
        assert page.inner_text("#where") == "Practice 3 of 3"
        page.goto(study_server.address)  # as after closing the tab
        trial(page, "B")
        see(page)
        page.reload()  # and see it again
        for choice in ("a", "b"):
            trial(page, choice)
        page.get_by_text("Thank you").wait_for()
        code = page.inner_text("#code")
    rows = table_of(study_server.out).query(f"code == '{code}'")
    assert "".join(rows.choice) == "ABBAB"
    assert rows.sent.tolist() == [1, 1, 1, 2, 1]
    assert rows.answer_ms.between(0, 60_000).all()
    assert (rows.shown_ms.dropna() > 950).all()


def test_a_phone_shows_everything_without_scrolling(study_server, chromium):  # noqa: F811
    phone = {"viewport": {"width": 400, "height": 800}, "has_touch": True, "is_mobile": True}
    with watched(chromium, study_server.address, **phone) as page:
        page.tap("text=I agree")
        page.tap("#next")
        page.wait_for_selector("#pictures.shown")
        for name in ("pictureA", "pictureB", "choiceA", "choiceB"):
            box = page.locator(f"#{name}").bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= 400
            assert box["y"] >= 0 and box["y"] + box["height"] <= 800
        page.locator("#choiceA:enabled").wait_for()
        page.tap("#choiceA")
        page.get_by_text("was generated.").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 400


@pytest.mark.slow
@pytest.mark.long
def test_a_server_that_comes_back_is_noticed(tmp_path, chromium):  # noqa: F811
    options = [*arguments(paint(tmp_path / "images", 4)), "--practice=0", "--trials=2"]
    out = tmp_path / "study"
    with running(["eval.study", "serve", f"--out={out}", *options]) as server:
        server._command = [*server._command[:4], f"--out={out}"]
        with watched(chromium, server.address, expected=("Failed to load resource",)) as page:
            page.click("text=I agree")
            page.click("#next")
            page.locator("#choiceA:enabled").wait_for()
            server.kill()
            page.click("#choiceA")
            page.get_by_text("Trying again").wait_for()
            server.start()
            trial(page, "B")
            page.get_by_text("Thank you").wait_for()
    assert "".join(table_of(out).choice) == "AB"


@pytest.mark.slow
@pytest.mark.long
def test_a_hundred_trials_are_shown_for_one_second(tmp_path, chromium, figures):  # noqa: F811
    """A session of 50 trials, and 50 more by another participant; the page's own times and those
    that an observer in the browser sees."""
    options = arguments(paint(tmp_path / "images", 50, (256, 256)))
    seen: list[float] = []
    with running(["eval.study", "serve", f"--out={tmp_path / 'study'}", *options]) as server:
        for _ in range(2):
            with watched(chromium, server.address) as page:
                page.click("text=I agree")
                page.evaluate(WATCH)
                for number in range(50):
                    trial(page, "AB"[number % 2])
                page.get_by_text("Thank you").wait_for()
                seen += page.evaluate("window.seen")
    shown = table_of(tmp_path / "study").shown_ms.to_numpy()
    assert len(shown) == len(seen) == 100
    told = np.isfinite(shown)  # the others are marked: a frame beside them was too late
    observed = np.array(seen)[told]
    figures.append(
        f"one second over 100 trials, {(~told).sum()} of them marked:"
        f" {shown[told].min():.0f} to {shown[told].max():.0f} ms by the page,"
        f" {observed.min():.0f} to {observed.max():.0f} ms as observed"
    )
    failed = np.array([timing_failed(value) for value in shown[told]])
    assert (abs(observed[~failed] - 1000) <= 50).all()
    assert failed.sum() + (~told).sum() <= 10  # more only on a machine that is very busy
