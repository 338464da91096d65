"""The suite record: which cells, numbers and claims a report is made of."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from experiments.deviations import deviations, of_settings
from experiments.plan import Cell, Plan
from experiments.run.jobs import reference_config
from experiments.run.journal import write_json
from experiments.spec import suite_names
from pix2pix.common.errors import UserError
from pix2pix.common.json_files import read_json
from pix2pix.common.ownership import owning
from pix2pix.config import digest
from pix2pix.data.registry import load_registry


def record_path(out: Path, suite: str, dataset: str, profile: str) -> Path:
    """Where the record of a suite on a data set under a profile lies."""
    return out / "suites" / suite / f"{dataset}-{profile}.json"


def suite_records(out: Path) -> list[Path]:
    """Every suite record in `out`."""
    return sorted(out.glob("suites/*/*.json"))


def write_record(
    plan: Plan,
    cells: list[Cell],
    fingerprint: str,
    out: Path,
    commit: str,
    pairs: dict[str, int] | None = None,
) -> Path:
    """Write the record, keeping earlier cells (other seeds, other arms) of the same settings.

    `pairs`: how many each split has.
    """
    path = record_path(out, plan.suite.name, plan.entry.name, plan.variant)
    with owning(path.with_name(f".{path.name}.lock")):  # another start may add seeds just now
        _write(path, plan, cells, fingerprint, commit, pairs)
    return path


def _write(
    path: Path,
    plan: Plan,
    cells: list[Cell],
    fingerprint: str,
    commit: str,
    pairs: dict[str, int] | None,
) -> None:
    arms = [_arm(plan, arm, fingerprint) for arm in plan.suite.arms]
    mine = [{"arm": c.arm, "seed": c.seed, "digest": c.config.digest} for c in cells]
    reference = digest(reference_config(plan, fingerprint))
    kept = _kept(path, arms, reference, {(c["arm"], c["seed"]) for c in mine})
    order = list(plan.suite.arms)
    published = plan.suite.published
    lengths = {(c.config.training.steps, c.config.training.epochs) for c in cells}
    record: dict[str, Any] = {
        "suite": plan.suite.name,
        "title": plan.suite.title,
        "question": plan.suite.question,
        "dataset": plan.entry.name,
        "profile": plan.variant,
        "own": _own(plan),
        "direction": plan.direction,
        "overrides": plan.overrides,
        "commit": commit,
        "fingerprint": fingerprint,
        "size": list(plan.size),
        "pairs": pairs,
        "steps": next(iter(lengths))[0] if len(lengths) == 1 else None,
        "epochs": next(iter(lengths))[1] if len(lengths) == 1 else None,
        "arms": arms,
        "cells": sorted(kept + mine, key=lambda c: (order.index(c["arm"]), c["seed"])),
        "reference": reference,
        "scores": list(plan.suite.scores),
        "published": None
        if published is None
        else {
            "source": published.source,
            "rows": {
                arm: dict(zip(published.columns, row, strict=True))
                for arm, row in published.rows.items()
            },
        },
        "claims": list(plan.suite.claims),
        "deviations": deviations(plan),
        "other_settings": of_settings(plan),
    }
    write_json(path, record)


def _own(plan: Plan) -> list[str]:
    """What does not come with the package: `suite`, `dataset`. Their names cannot be taken."""
    theirs = {
        "suite": plan.suite.name in suite_names(),
        "dataset": plan.entry.name in load_registry(),
    }
    return [what for what, shipped in theirs.items() if not shipped]


def _arm(plan: Plan, arm: str, fingerprint: str) -> dict[str, Any]:
    changes = plan.suite.arms[arm]
    whole = plan.cell(arm, 0, fingerprint).config
    return {"name": arm, "changes": changes, "identity": whole.digest}


def _kept(path: Path, arms: list[dict], reference: str, mine: set[tuple[str, int]]) -> list[dict]:
    """Cells of an earlier record whose arm still means the same, scored by the same scorer."""
    try:
        earlier = check_record(read_json(path))
    except (OSError, ValueError):
        return []
    if earlier.get("reference") != reference:
        return []
    identities = {a["name"]: a["identity"] for a in arms}
    same = {
        a["name"]
        for a in earlier["arms"]
        if a["name"] in identities and identities[a["name"]] == a.get("identity")
    }
    return [c for c in earlier["cells"] if c["arm"] in same and (c["arm"], c["seed"]) not in mine]


def read_suite_record(path: Path) -> dict[str, Any]:
    """A suite record; UserError names the file where it is none."""
    try:
        return check_record(read_json(path))
    except (OSError, ValueError) as error:
        said = str(error).partition("\n")[0]
        raise UserError(f"{path}: not a suite record: {said}; move it away") from None


def check_record(record: Any) -> dict[str, Any]:
    """A record that was read back; ValueError says what it lacks that every reader relies on."""
    needed = ("suite", "dataset", "profile", "arms", "cells")
    missing = [key for key in needed if not isinstance(record, dict) or key not in record]
    if missing:
        raise ValueError(f"{', '.join(missing)} missing")
    for key in ("suite", "dataset", "profile"):
        if not isinstance(record[key], str) or not re.fullmatch(r"[\w.=+-]{1,1000}", record[key]):
            raise ValueError(f"{key}: must be a name")
    for key in ("arms", "cells"):
        if not isinstance(record[key], list) or not all(isinstance(o, dict) for o in record[key]):
            raise ValueError(f"{key}: must be a list of objects")
    if not all(isinstance(arm.get("name"), str) for arm in record["arms"]):
        raise ValueError("arms: each must have a name")
    for cell in record["cells"]:
        names = isinstance(cell.get("arm"), str) and isinstance(cell.get("digest"), str)
        if not names or not cell["arm"] or type(cell.get("seed")) is not int or cell["seed"] < 0:
            raise ValueError("cells: each must have arm, seed and digest")
        if not re.fullmatch(r"[\w-]{1,64}", cell["digest"]):
            raise ValueError("cells: a digest is one word")
    return record
