"""What a run directory holds, in the names and texts that MLflow takes."""

from __future__ import annotations

import json
import re
from typing import Any

from experiments.run.journal import Record, last


def provenance_tags(records: list[Record]) -> dict[str, str]:
    """Commit, device and versions of every sitting, each once, and the scores' commit if other."""
    seen: dict[str, dict[str, None]] = {}
    for record in records:
        if record["event"] == "start":
            for key, value in flatten(record.get("provenance") or {}).items():
                seen.setdefault(key, {})[value] = None
        elif record["event"] == "execution":
            seen.setdefault("engine", {})[_engine(record)] = None
    tags = {f"provenance.{key}": ", ".join(values) for key, values in seen.items()}
    if seen.get("commit"):
        tags["mlflow.source.git.commit"] = list(seen["commit"])[-1]
    scores = last(records, "scores") or {}
    commit = (scores.get("provenance") or {}).get("commit")
    if commit and commit != tags.get("provenance.commit"):
        tags["provenance.scores_commit"] = commit
    return tags


def _engine(record: Record) -> str:
    """'graph', or 'reference instead of graph: why'."""
    said = str(record.get("engine"))
    if record.get("instead_of"):
        said += f" instead of {record['instead_of']}: {record.get('error')}"
    return said


def flatten(value: Any, prefix: str = "") -> dict[str, str]:
    """{"a": {"b": 1}} to {"a.b": "1"}; None is "none", lists are JSON."""
    if isinstance(value, dict):
        flat: dict[str, str] = {}
        for key, inner in value.items():
            flat |= flatten(inner, f"{prefix}.{key}" if prefix else metric_name(str(key)))
        return flat
    return {prefix: as_text(value)}


def as_text(value: Any) -> str:
    """A value as MLflow shows it."""
    if isinstance(value, str):
        return value
    return "none" if value is None else json.dumps(value)


def metric_name(name: str) -> str:
    """A name with the characters that MLflow refuses replaced."""
    return re.sub(r"[^\w\-. :/]", "_", name)


def milliseconds(seconds: float) -> int:
    """Unix seconds to MLflow's Unix milliseconds."""
    return round(seconds * 1000)
