"""Which scores of a run directory are a suite's own.

A run directory may serve suites whose scorers differ, but holds one sheet of scores: the newest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.run.journal import Record, last
from pix2pix.common.files import read_json

OTHER_REFERENCE = "scored against another reference"


def read_sheet(directory: Path) -> dict[str, Any] | None:
    """The content of scores.json, None where there is none; ValueError where it is no sheet."""
    try:
        sheet = read_json(directory / "scores.json")
    except FileNotFoundError:
        return None
    if not isinstance(sheet, dict):
        raise ValueError("scores.json: not a sheet of scores")
    for key in ("values", "not_measured", "settings"):
        if not isinstance(sheet.get(key, {}), dict):
            raise ValueError(f"scores.json: {key}: must be an object")
    for name, value in sheet.get("values", {}).items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"scores.json: values: {name[:60]!r}: must be a number")
    return sheet


def reference_of(sheet: dict[str, Any] | None) -> str | None:
    """The digest of the reference that a sheet was scored against."""
    return ((sheet or {}).get("settings") or {}).get("reference")


def image_intervals(sheet: dict[str, Any] | None) -> dict[str, tuple[float, float]]:
    """{score: (low, high)}, 95 % over test images; empty where a sheet has none."""
    stored = (sheet or {}).get("intervals_over_images") or {}
    return {name: (float(low), float(high)) for name, (low, high) in stored.items()}


def ceiling_sheet(reference: Path) -> dict[str, Any] | None:
    """The FCN-scores that a reference's scores.json holds: what its scorer reaches."""
    sheet = read_sheet(reference)
    return sheet and {
        key: {name: v for name, v in sheet[key].items() if name.startswith("fcn.")}
        for key in ("values", "not_measured")
    } | {"settings": sheet.get("settings")}


def unscored(records: list[Record]) -> list[Record]:
    """A journal's records as if nothing had been scored yet."""
    return [record for record in records if record["event"] not in ("scores", "done")]


def with_sheet(records: list[Record], sheet: dict[str, Any] | None) -> list[Record]:
    """A journal's records with the `scores` that scores.json holds.

    scores.json is written just before the journal's `scores`. Where a kill fell between the two,
    the sitting that wrote `done` found the sheet whole and scored no more; where no `done`
    follows yet, neither can be trusted to belong to the other.
    """
    newest = last(records, "scores")
    told = ("values", "not_measured")
    if sheet is None or (newest and all(newest.get(key) == sheet.get(key) for key in told)):
        return records
    if not records or records[-1]["event"] != "done":
        return [record for record in records if record["event"] != "scores"]
    done = records[-1]
    late = {"event": "scores", "time": done["time"], **{key: sheet.get(key, {}) for key in told}}
    return [*records[:-1], late, done]
