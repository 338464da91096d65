"""Names come out of a Markdown renderer as they were written, wherever they stand."""

from __future__ import annotations

import re
from html import unescape

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from suites import PIXEL, arms, run, suite

from reports.pages.content import gather
from reports.pages.markdown import aligned, code, escape
from reports.pages.markdown_page import markdown_page

RENDERER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
"""What GitHub's pages have beyond CommonMark, its links from bare addresses aside: those show the
address as it is written."""
CASES = (
    "a|b",
    "a\\|b",
    "ends in \\",
    "*bold* and **bold**",
    "_x_ __y__ a_b fcn.class_iou _",
    "<script>alert(1)</script>",
    "a<b> <!-- c --> <https://example.org> <",
    "A < B > C",
    "[text](https://example.org) ![image](x.png) [^1]",
    "`code` ``more`` `",
    "~~gone~~ ~/.cache",
    "&lt; &amp;amp; &#60; R&D & co",
    "$x_{$ and $y$",
    "# no heading #",
    "Zürich #3",
    "C #",
    "> no quotation",
    "- no list",
    "+ no list",
    "* no list",
    "1. no list",
    "12) no list",
    "---",
    "===",
    "```",
    "    no code",
    "two\nlines\r\n\tand a tab",
    "[ ] no task",
    "日本語 ∩ ± →",
)


def folded(text: str) -> str:
    return re.sub(r"[ \t\n\r\f\v]+", " ", text).strip(" ")


def shown(markdown: str, element: str) -> list[str]:
    """The text of every such element, which must hold no other element."""
    html = RENDERER.render(markdown)
    found = re.findall(rf"<{element}(?: [^>]*)?>(.*?)</{element}>", html, re.DOTALL)
    assert all("<" not in text for text in found), html
    return [folded(unescape(text)) for text in found]


def everywhere(text: str) -> None:
    """In a paragraph, a heading, a list item with and without words around, and in cells."""
    escaped = escape(text)
    assert shown(escaped, "p") == [folded(text)]
    assert shown(f"# {escaped}", "h1") == [folded(text)]
    assert shown(f"- {escaped}", "li") == [folded(text)]
    assert shown(f"- {escaped}: {escaped}.", "li") == [folded(f"{folded(text)}: {folded(text)}.")]
    table = aligned([escaped, "head"], [[escaped, f"**{escape('x')}**"], ["x", escaped]])
    assert shown(table, "th") == [folded(text), "head"]
    cells = re.findall(r"<td[^>]*>(.*?)</td>", RENDERER.render(table))
    assert [unescape(cells[0]), cells[1], cells[2], unescape(cells[3])] == [
        folded(text), "<strong>x</strong>", "x", folded(text)
    ]  # fmt: skip


@pytest.mark.parametrize("text", CASES)
def test_a_name_comes_out_as_it_was_written(text: str) -> None:
    everywhere(text)


TEXTS = st.text(st.sampled_from("\\`*_{}[]<>()#+-.!|~$&=:;\"'/ @^%0a1é\n"), min_size=1, max_size=24)


@given(TEXTS.filter(folded))
@example("_a_b_")
@example("&_;")
def test_any_text_of_markups_own_characters_comes_out(text: str) -> None:
    everywhere(text)


@given(TEXTS.filter(folded))
def test_code_comes_out_too(text: str) -> None:
    html = RENDERER.render(f"- {code(text)}.")
    (inner,) = re.findall(r"<code>(.*?)</code>", html, re.DOTALL)
    assert unescape(inner).strip() == folded(text)


def test_plain_names_stay_readable_in_the_file_itself() -> None:
    for text in ("L1+cGAN > L1", "70x70", "fcn.class_iou", "A < B", "U-Net (L1), 0.5 ± 0.1"):
        assert escape(text) == text


def test_names_in_a_whole_page() -> None:
    names = ("<b>*L1*</b>", "a_|_`b`")
    runs = suite(
        *arms({names[0]: [0.8, 0.81], names[1]: [0.7, 0.72]}),
        run("[x](y)", 1, None, status="failed", error="step 7: <nan> in `g_l1`"),
        claims=[f"{names[0]} > {names[1]} on {PIXEL}"],
        title="<i>Own</i> suite",
        question="What *is* it?",
    )
    html = RENDERER.render(markdown_page(gather(runs), {}))
    assert "&lt;i&gt;Own&lt;/i&gt; suite</h1>" in html and "<p>What *is* it?</p>" in html
    for name in (*names, "[x](y)"):
        assert html.count(f">{_html(name)}</td>") >= 1
    assert f">{_html(names[0])} &gt; {_html(names[1])} on FCN per-pixel acc.</td>" in html
    assert "failed: [x](y) seed 1: step 7: &lt;nan&gt; in `g_l1`." in html
    assert "<b>" not in html and "<a " not in html and "<em>" not in html


def _html(text: str) -> str:
    return text.replace("<", "&lt;").replace(">", "&gt;")
