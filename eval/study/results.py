"""The results of a study as text for a terminal, and as JSON."""

from __future__ import annotations

from typing import Any

from eval.study.analysis import ArmResult, Comparison, Results
from eval.study.design import Study
from eval.study.published import published_for

HEAD = ("arm", "people", "trials", "fooled", "over participants", "over images")


def table(study: Study, results: Results) -> list[list[str]]:
    """Rows of plain text, the head first: one per arm, with the paper's numbers beside ours."""
    published = published_for(study.arms)
    rows = [[*HEAD, *(f"paper: {task}" for task in published)]]
    for one in results.arms:
        papers = [
            f"{rows[one.arm][0]} ± {rows[one.arm][1]} %" if one.arm in rows else ""
            for rows in published.values()
        ]
        people = str(len(one.rates))
        ends = [_interval(i) for i in (one.over_participants, one.over_images)]
        rows.append([one.arm, people, str(one.trials), fooled(one), *ends, *papers])
    return rows


def fooled(one: ArmResult) -> str:
    """`18.9 ± 2.5 %`, or a dash without participants."""
    if one.interval is None:
        return "—"
    width = one.interval.half_width
    return f"{one.interval.mean:.1f}" + (f" ± {width:.1f} %" if width is not None else " %")


def sentence(one: Comparison) -> str:
    """What a comparison says, in one line."""
    parts = [f"{one.verdict}: {one.first} − {one.second} = {one.difference.effect:+.1f} %"]
    if one.difference.interval:
        low, high = one.difference.interval
        parts.append(f"95 % interval {low:+.1f} to {high:+.1f}")
    if one.p_holm is not None:
        after = "p < 0.0001" if one.p_holm < 0.0001 else f"p = {one.p_holm:.4f}"
        parts.append(f"{one.difference.test}, {after} after Holm")
    if one.source:
        parts.append(f"the paper's order ({one.source}): {one.word}")
    return "; ".join([*parts, *([one.advice] if one.advice else [])])


def text(study: Study, results: Results) -> str:
    """Everything, for a terminal."""
    rows = table(study, results)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    lines += [
        "",
        "± is the 95 % t-interval over participants; then 95 % bootstrap intervals.",
        "Table numbers are those of arXiv v3.",
        "",
    ]
    lines += map(sentence, results.comparisons)
    lines += ["", "Left out, by rules fixed beforehand:"]
    lines += [f"  {count}: {rule}" for rule, count in results.excluded]
    return "\n".join(lines)


def as_json(study: Study, results: Results) -> dict[str, Any]:
    """Everything, in percent, ready for JSON."""
    arms = {
        one.arm: {
            "participants": len(one.rates),
            "trials": one.trials,
            "fooled": one.interval.mean if one.interval else None,
            "half_width": one.interval.half_width if one.interval else None,
            "over_participants": one.over_participants,
            "over_images": one.over_images,
            "rates": one.rates,
        }
        for one in results.arms
    }
    comparisons = [
        {
            "first": one.first,
            "second": one.second,
            "difference": one.difference.effect,
            "interval": one.difference.interval,
            "test": one.difference.test,
            "p": one.difference.p,
            "p_holm": one.p_holm,
            "verdict": one.verdict,
            "paper": one.source,
            "word": one.word,
            "needed": one.needed,
        }
        for one in results.comparisons
    ]
    settings = study.model_dump(mode="json", exclude={"names", "consent"})
    excluded = [{"rule": rule, "count": count} for rule, count in results.excluded]
    return {"arms": arms, "comparisons": comparisons, "excluded": excluded, "settings": settings}


def _interval(ends: tuple[float, float] | None) -> str:
    return f"{ends[0]:.1f} to {ends[1]:.1f}" if ends else "—"
