"""The comparison as a Markdown page and as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.tracking.reader import GROUND_TRUTH
from reports.analysis.formatting import title
from reports.pages import compare_answer
from reports.pages import compare_content as content
from reports.pages.compare_content import FACTS, Setting
from reports.pages.html import render
from reports.pages.markdown import aligned, escape
from reports.pages.verdict_text import claim_words

ORDERS_NOTE = (
    "Orders of the means, best first, over the arms that all settings have; Kendall's τ is 1 for "
    "the same order and −1 for the opposite one. Whether a difference is more than chance, only "
    "the verdicts say."
)


def markdown(settings: Sequence[Setting]) -> str:
    """Reads well in a terminal, and in a pull request."""
    record = settings[0].runs.record
    letters = content.lettered(settings)
    told, claims = compare_answer.answer(settings)
    lines = [f"# {escape(heading(settings))}", "", escape(record.question), ""]
    lines += [aligned(FACTS, [[*map(escape, row)] for row in content.facts(settings)]), ""]
    lines += ["## Does the ordering carry over?", "", escape(told)]
    lines += ["", *(f"- {escape(line)}" for line in claims)] if claims else []
    lines += ["", "## What can be compared", ""]
    lines += [f"- {escape(line)}" for line in compare_answer.limits(settings)]
    lines += ["", "## Verdicts side by side", ""]
    rows = [
        [escape(claim_words(c)), *(escape(content.verdict_cell(one, c)) for one in settings)]
        for c in content.claims_of(settings)
    ]
    lines += [aligned(["claim", *letters], rows)] if rows else ["The suite states no claims."]
    advice = compare_answer.advice(settings)
    lines += ["", *(f"- {escape(line)}" for line in advice)] if advice else []
    found = content.orders(settings)
    if found:
        rows = [
            [escape(title(one.score)), *map(escape, one.orders), escape("; ".join(one.agreement))]
            for one in found
        ]
        lines += ["", "## Orders side by side", "", ORDERS_NOTE, ""]
        lines += [aligned(["score", *letters, "agreement"], rows)]
    for score in content.scores_of(settings):
        lines += ["", f"## {title(score)}", ""]
        rows = []
        for arm in content.arms_of(settings):
            values = [content.value(one, arm, score) for one in settings]
            cells = [f"**{escape(text)}**" if bold else escape(text) for text, bold in values]
            rows.append([escape(arm), *cells])
        lines += [aligned(["arm", *letters], rows)]
    lines += ["", "## What is missing", ""]
    lines += [f"- {escape(gap)}" for gap in content.gaps(settings)] or ["Nothing."]
    return "\n".join([*lines, ""])


def html(settings: Sequence[Setting]) -> str:
    """The same for a browser."""
    told, claims = compare_answer.answer(settings)
    scores = content.scores_of(settings)
    found = content.orders(settings)
    gaps = content.gaps(settings)
    sections = [
        (anchor, text)
        for anchor, text, there in (
            ("answer", "Answer", True),
            ("verdicts", "Verdicts", content.claims_of(settings)),
            ("orders", "Orders", found),
            ("scores", "Scores", scores),
            ("missing", "Missing", gaps),
        )
        if there
    ]
    return render(
        "comparison.html.j2",
        sections,
        heading=heading(settings),
        question=settings[0].runs.record.question,
        letters=content.lettered(settings),
        fact_titles=FACTS,
        facts=content.facts(settings),
        answer=told,
        claims=claims,
        limits=compare_answer.limits(settings),
        verdicts=[
            (claim_words(claim), [_verdict(one, claim) for one in settings])
            for claim in content.claims_of(settings)
        ],
        advice=compare_answer.advice(settings),
        orders=[(title(one.score), one.orders, one.agreement) for one in found],
        orders_note=ORDERS_NOTE,
        scores=[(title(score), _values(settings, score)) for score in scores],
        gaps=gaps,
    )


def heading(settings: Sequence[Setting]) -> str:
    """`Table 1: objectives, camvid (quick) beside procedural (quick)`."""
    record = settings[0].runs.record
    suite = record.title
    return f"{suite}, {' beside '.join(one.name for one in settings)}"


def _verdict(setting: Setting, claim: str) -> dict[str, str]:
    text = content.verdict_cell(setting, claim)
    verdict = setting.verdicts.get(claim)
    word = verdict.word if verdict else ""
    return {"word": word, "rest": text.removeprefix(word).lstrip(": ")}


def _values(settings: Sequence[Setting], score: str) -> list[tuple[str, bool, list]]:
    return [
        (arm, arm == GROUND_TRUTH, [content.value(one, arm, score) for one in settings])
        for arm in content.arms_of(settings)
    ]
