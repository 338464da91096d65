"""The descriptions of runs in MLflow's web interface, as Markdown."""

from __future__ import annotations

from typing import Any

from experiments.tracking_store import SCORER
from experiments.tracking_text import as_text


def suite_note(record: dict[str, Any]) -> str:
    """The parent run: the question, the data, the arms and the claims."""
    lines = [f"## {record.get('title') or record['suite']}", "", record.get("question") or "", ""]
    size = record.get("size")
    facts = [
        f"data set {record['dataset']}",
        record.get("direction"),
        f"{record['profile']} profile",
    ]
    facts += [f"{size[0]}×{size[1]} pixels" if size else None]
    # Arms of different lengths have no one number.
    facts += [f"{record['steps']} steps" if isinstance(record.get("steps"), int) else None]
    lines += [", ".join(fact for fact in facts if fact) + ".", ""]
    lines += ["| arm | changes |", "|---|---|"]
    lines += [f"| {arm['name']} | {_changes(arm.get('changes'))} |" for arm in record["arms"]]
    if record.get("claims"):
        lines += ["", "Claims of the paper:", ""] + [f"- {claim}" for claim in record["claims"]]
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
