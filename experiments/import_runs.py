"""Takes finished runs of another machine into a project: `python -m experiments.import_runs`.

Only what the same command would have made here is taken: the same protocol, data set and versions,
scored by the same scorer. Digests, provenance and scores stay as they are.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from eval.scorer.file import recorded_sha256
from experiments.record import (
    SuiteRecord,
    check_mergeable,
    merge_record,
    read_suite_record,
    suite_records,
)
from experiments.run.jobs import SCORES_PROTOCOL, ReferenceConfig, sheet_checksums
from experiments.run.journal import last, read_records
from pix2pix.common.errors import UserError, exit_status
from pix2pix.common.files import home_path, make_folder, read_json
from pix2pix.common.yaml_files import first_problem
from pix2pix.config import PROTOCOL, CellConfig

LEFT_BEHIND = ("checkpoint*", "*.lock*", ".*", "*.damaged", "*.foreign")
"""What a finished run does not need."""


@dataclass(frozen=True)
class Run:
    """A finished run directory whose records agree with each other."""

    directory: Path
    config: CellConfig | ReferenceConfig
    torch: str
    """The version that trained it, such as 2.11."""
    reference: str
    """Digest of the reference that it was scored against."""
    scorer: str | None
    """SHA-256 of the scorer's weights; None without an FCN-score."""


def read_run(directory: Path) -> Run | None:
    """A finished run; None if it is not finished. UserError if it is not of this version."""
    kind: Any = CellConfig if directory.parent.name == "cells" else ReferenceConfig
    records = read_records(directory / "journal.jsonl")
    if not records or records[-1]["event"] != "done":
        return None
    path = directory / "config.json"
    try:
        content = read_json(path)
        named = content.pop("digest")
        _check_protocol(path, content.get("protocol"), kind)
        config = kind.model_validate_json(json.dumps(content))
        settings = read_json(directory / "scores.json")["settings"]
        start, scores = last(records, "start") or {}, last(records, "scores") or {}
        version = _minor(start["provenance"]["versions"]["torch"])
        reference = directory.name if kind is ReferenceConfig else settings["reference"]
        scorer = (settings.get("fcn") or {}).get("weights_sha256")
    except ValidationError as error:
        raise UserError(f"{path}: settings of another version: {first_problem(error)}") from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{directory}: not a finished run of this version: {error!r}") from None
    if not named == config.digest == directory.name:
        raise UserError(f"{path}: its settings have the digest {config.digest}: they were changed")
    if scores.get("sha256") != sheet_checksums(directory):
        raise UserError(f"{directory}: its scores are not those that its journal recorded")
    return Run(directory, config, version, reference, scorer)


def _check_protocol(path: Path, found: Any, kind: type) -> None:
    wanted = PROTOCOL if kind is CellConfig else SCORES_PROTOCOL
    if found != wanted:
        raise UserError(
            f"{path}: protocol {found}, and this version has {wanted}: train it with this version"
        )


def _minor(version: str) -> str:
    """`2.11` of `2.11.0+cu130`."""
    return ".".join(version.split("+")[0].split(".")[:2])


def check_runs(runs: list[Run], records: list[SuiteRecord], out: Path) -> None:
    """UserError if a run cannot stand beside those of `out`; `records`: the imported suites'."""
    here = _minor(importlib.metadata.version("torch"))
    known = [(r, "imported suites") for r in records]
    known += [(read_suite_record(path), str(path)) for path in suite_records(out)]
    scorers = {run.reference: run.scorer for run in runs if isinstance(run.config, ReferenceConfig)}
    for directory in sorted(out.glob("references/*")):
        with contextlib.suppress(UserError):  # of an earlier version: no imported run needs it
            if mine := read_run(directory):
                scorers[directory.name] = mine.scorer
    for run in runs:
        config, where = run.config, run.directory
        if run.torch != here:
            raise UserError(f"{where}: torch {run.torch}, and this project has {here}")
        for record, name in known:
            same = (record.dataset, record.direction, record.size)
            if same != (config.dataset, config.direction, config.size):
                continue
            if record.fingerprint != config.fingerprint:
                raise UserError(
                    f"{where}: data set {config.dataset} with the fingerprint "
                    f"{config.fingerprint[:12]}; {name} has {record.fingerprint[:12]}"
                )
        if run.reference not in scorers:
            raise UserError(
                f"{where}: scored against the reference {run.reference}, which is neither imported "
                f"nor in {out}"
            )
        if run.scorer != scorers[run.reference]:
            raise UserError(
                f"{where}: its scorer has other weights than that of "
                f"{out / 'references' / run.reference}: the scores cannot be compared"
            )
        file = run.directory.parents[1] / "scorers" / f"{run.reference}.safetensors"
        if file.exists() and recorded_sha256(file) != run.scorer:
            raise UserError(f"{file}: not the scorer of {where}")


def import_runs(folder: Path, out: Path) -> list[str]:
    """Copy the finished runs of `folder` into `out`; what was done, line by line.

    UserError, before anything is copied, if one cannot be taken.
    """
    directories = sorted(p.parent for p in folder.glob("[cr]*/*/journal.jsonl"))
    directories = [d for d in directories if d.parent.name in ("cells", "references")]
    if not directories:
        raise UserError(f"{folder}: no run directories (cells/DIGEST, references/DIGEST)")
    found = {directory: read_run(directory) for directory in directories}
    records = [read_suite_record(path) for path in suite_records(folder)]
    runs = [run for run in found.values() if run is not None]
    check_runs(runs, records, out)
    for record in records:
        check_mergeable(record, out)
    merged = [merge_record(record, out) for record in records]
    lines = [f"{d}: not finished, left out" for d, run in found.items() if run is None]
    for run in runs:
        kind, digest = run.directory.parent.name, run.directory.name
        if (out / kind / digest / "journal.jsonl").exists():
            lines.append(f"{out / kind / digest}: is there already, kept")
            continue
        _copy(run.directory, out / kind / digest)
        if kind == "references":
            for name in (digest, f"{digest}.safetensors"):
                _copy(folder / "scorers" / name, out / "scorers" / name)
        lines.append(f"{out / kind / digest}: imported")
    return lines + [f"{path}: written" for path in merged]


def _copy(source: Path, target: Path) -> None:
    """Copy a run directory or file, if there is one; the copy is there whole or not at all."""
    if target.exists() or not source.exists():
        return
    make_folder(target.parent)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".import") as folder:
        beside = Path(folder) / target.name
        if source.is_dir():
            shutil.copytree(source, beside, ignore=shutil.ignore_patterns(*LEFT_BEHIND))
        else:
            shutil.copyfile(source, beside)
        beside.rename(target)


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.import_runs", description=(__doc__ or "").partition("\n\n")[2]
    )
    parser.add_argument("folder", type=home_path, help="the --out of a study on another machine")
    parser.add_argument(
        "--out", type=home_path, default=Path("runs"), help="this project's run directories"
    )
    options = parser.parse_args(argv)

    def act() -> None:
        print("\n".join(import_runs(options.folder, options.out)))
        print(f"next: python run_ablations.py --report-only --out {options.out}")

    return exit_status(act, "interrupted; start it again")


if __name__ == "__main__":
    sys.exit(main())
