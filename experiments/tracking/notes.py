"""The descriptions of runs in MLflow's web interface, as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from experiments.record import SuiteRecord
from experiments.tracking.store import SCORER
from experiments.tracking.text import as_text


def experiment_note(record: SuiteRecord) -> str:
    """The experiment: the suite's question. MLflow's list of experiments shows no Markdown."""
    title, question = record.title, record.question
    return f"{title}. {question}".strip()


def suite_note(
    record: SuiteRecord,
    verdicts: Mapping[str, str] | None = None,
    report: str | None = None,
    picture: str | None = None,
) -> str:
    """The parent run: the question, what was found, the data, the arms and the claims.

    Once a report is attached, `verdicts` is {claim: word}, `report` the artifact to open and
    `picture` an image's address. What was found stands first: MLflow folds long descriptions.
    """
    verdicts = verdicts or {}
    lines = [f"## {record.title}", "", record.question, ""]
    if verdicts:
        counts = Counter(verdicts.values())
        told = ", ".join(f"{n} {word}" for word, n in counts.items())
        lines += [f"**{told}** of {len(verdicts)} claim{'s' if len(verdicts) > 1 else ''}.", ""]
    if report:
        lines += [f"The whole report: tab *Artifacts*, `{report}`.", ""]
    if picture:
        lines += [f"![arms by inputs]({picture})", ""]
    facts = [
        f"data set {record.dataset}",
        record.direction,
        f"{record.variant} profile",
    ]
    facts += ["{}×{} pixels".format(*record.size)]
    # Arms of different lengths have no one number.
    facts += [f"{record.steps} steps" if record.steps else None]
    lines += [", ".join(fact for fact in facts if fact) + ".", ""]
    lines += ["| arm | changes |", "|---|---|"]
    lines += [f"| {arm.name} | {_changes(arm.changes)} |" for arm in record.arms]
    if record.claims:
        lines += ["", "Claims of the paper:", ""]
        for claim in record.claims:
            word = verdicts.get(claim)
            lines.append(f"- {claim}: **{word}**" if word else f"- {claim}")
    return "\n".join(lines)


def run_note(arm: str, seed: int | None, changes: dict[str, Any] | None) -> str:
    """A child run: what its arm changes; the ground truth and the scorer have no seed."""
    if arm == SCORER and seed is None:
        return (
            "The FCN-8s behind this suite's FCN-scores, trained on the real photos. "
            "`validation/…`: photos held out of its training; `fcn.…` and per_class.json: the real "
            "test photos, the ceiling of every arm."
        )
    if seed is None:
        return "The real photos' own scores: the ceiling of every arm."
    return f"Arm **{arm}**, seed {seed}: {_changes(changes)}."


def _changes(changes: dict[str, Any] | None) -> str:
    return ", ".join(f"`{k}` = {as_text(v)}" for k, v in (changes or {}).items()) or "the base"
