"""Mirrors run directories into MLflow: an experiment a suite, a child run an arm × seed.

    python -m experiments.tracking.mirror --out runs [--suite-record FILE ...] [--follow]
    python -m experiments.tracking.mirror --check

The run directories are the truth; MLflow is a copy that may be away, locked or deleted and then
catches up at the next pass. With --follow passes repeat until standard input ends, so that the
mirror outlives its launcher by one last pass and no more. --check opens the store, initialises a
new one and mirrors nothing: an address that is none is noticed before anything is trained.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.record import SuiteRecord, read_suite_record, suite_records
from experiments.run.journal import last, read_records
from experiments.tracking import store as tracking_store
from experiments.tracking.address import VARIABLE, tracking_uri
from experiments.tracking.doubles import one_of_each
from experiments.tracking.follow import follow
from experiments.tracking.notes import run_note, suite_note
from experiments.tracking.run import RunMirror, log, log_data_set
from experiments.tracking.scores import (
    OTHER_REFERENCE,
    ceiling_sheet,
    read_sheet,
    reference_of,
    unscored,
    with_sheet,
)
from experiments.tracking.store import (
    GROUND_TRUTH,
    MLFLOW_ERRORS,
    SCORER,
    Run,
    Store,
    StoreError,
    first_line,
)
from experiments.tracking.text import milliseconds
from experiments.tracking.views import experiment_tags
from pix2pix.common.errors import UserError

DOUBLED = 3
"""Times that a pass is done again because runs stood twice."""


class MirrorError(Exception):
    """Some run directories could not be mirrored; all the others were."""


def mirror(out: Path, records: Sequence[Path] = ()) -> None:
    """One idempotent pass of every cell of the suite records (all below `out` where none named).

    Raises UserError for a suite record that is not one, MirrorError after the pass where a run
    directory could not be read, and whatever MLflow raises when it is away.
    """
    uri = tracking_uri()
    # Of two that mirror the same run directories each would log what the other is logging.
    with tracking_store.alone(out / "mirror.lock"), tracking_store.writing(uri):
        store = tracking_store.open_store(uri, create=True)
        problems: list[str] = []
        for path in list(records) or suite_records(out):
            problems += _mirror_suite(store, out, read_suite_record(path))
    if problems:
        raise MirrorError("; ".join(problems))


def _mirror_suite(store: Store, out: Path, record: SuiteRecord, again: int = DOUBLED) -> list[str]:
    """One suite's pass; what could not be read. Done `again` where runs were found to stand twice,
    which a server that does not delete would else ask for without end."""
    experiment_id = store.experiment(record.suite, create=True)
    assert experiment_id is not None
    key = {"suite": record.suite, "dataset": record.dataset, "profile": record.variant}
    known, _ = one_of_each(store, experiment_id, key)
    parent = known.pop(("", "", ""), None) or store.client.create_run(
        experiment_id,
        tags=key | {"role": "suite"},
        run_name=f"{record.dataset}-{record.variant}",
    )
    _describe(store, parent, record)

    problems: list[str] = []
    statuses: list[str] = []
    wanted = [_Child(c.arm, c.seed, c.digest, out / "cells") for c in record.cells]
    if record.reference:
        wanted.append(_Child(GROUND_TRUTH, None, record.reference, out / "references"))
        scorer = _Child(SCORER, None, record.reference, out / "scorers")
        if scorer.directory.is_dir():  # photo→labels, or no labels at all: there is none
            wanted.append(scorer)
    for child in wanted:
        run = known.pop(child.identity, None)
        try:
            statuses.append(_mirror_child(store, parent, run, child, key, record))
        except Exception as error:  # a damaged file may raise anything, at whatever reads it
            if isinstance(error, (*MLFLOW_ERRORS, StoreError)) and not _refused(error):
                raise  # the store is what fails: every other run would too
            statuses.append("RUNNING")
            problems.append(f"{child.directory}: {type(error).__name__}: {first_line(error)}")
    for run in known.values():  # an earlier digest of an arm, or an arm that is no longer asked for
        if run.data.tags.get("current") != "no":
            store.client.set_tag(run.info.run_id, "current", "no")
    status = next((s for s in ("RUNNING", "FAILED") if s in statuses), "FINISHED")
    if status != parent.info.status:
        if status == "RUNNING":
            store.client.update_run(parent.info.run_id, status)
        else:
            store.client.set_terminated(parent.info.run_id, status)
    # Of each two the other one may have been filled.
    if one_of_each(store, experiment_id, key)[1] and again:
        return _mirror_suite(store, out, record, again - 1)
    return problems


def _refused(error: Exception) -> bool:
    """Whether MLflow turned down what a run directory holds, and not us."""
    return getattr(error, "error_code", "") == "INVALID_PARAMETER_VALUE"


class _Child:
    """An arm × seed of a suite record, its ground truth, or its scorer (both of seed None)."""

    def __init__(self, arm: str, seed: int | None, digest: str, folder: Path) -> None:
        self.arm = arm
        self.seed = seed
        self.digest = digest
        self.directory = folder / digest
        self.tags = {"arm": arm, "seed": "" if seed is None else str(seed), "digest": digest}
        self.identity = (arm, self.tags["seed"], digest)
        self.name = arm if seed is None else f"{arm} seed {seed}"
        self.role = folder.name.removesuffix("s")
        self.ceiling = folder.parent / "references" / digest if self.role == "scorer" else None


def _mirror_child(
    store: Store,
    parent: Run,
    run: Run | None,
    child: _Child,
    key: dict[str, str],
    record: SuiteRecord,
) -> str:
    """Bring one child up to date; its MLflow status, RUNNING while it has not begun.

    Scores of another reference than the record's are another scorer's: the child has none then.
    """
    journal = child.directory / "journal.jsonl"
    if not journal.is_file() or not (child.directory / "config.json").is_file():
        return "RUNNING"
    size = journal.stat().st_size  # before reading: what is appended meanwhile is a later pass's
    records = read_records(journal)
    if not records:
        return "RUNNING"
    sheet = ceiling_sheet(child.ceiling) if child.ceiling else read_sheet(child.directory)
    wanted = record.reference if child.role == "cell" else None
    foreign = bool(wanted and sheet) and reference_of(sheet) != wanted
    records = unscored(records) if foreign else with_sheet(records, sheet)
    if run is None:
        changes = record.changes.get(child.arm)
        run = store.client.create_run(
            parent.info.experiment_id,
            start_time=milliseconds(records[0]["time"]),
            run_name=child.name,
            tags=key
            | child.tags
            | {"role": child.role, "mlflow.parentRunId": parent.info.run_id, "current": "yes"}
            | {"mlflow.note.content": run_note(child.arm, child.seed, changes)}
            | {"mlflow.source.type": "LOCAL", "mlflow.source.name": "run_ablations.py"},
        )
    else:
        for tag, value in (("current", "yes"), ("mlflow.parentRunId", parent.info.run_id)):
            if run.data.tags.get(tag) != value:
                store.client.set_tag(run.info.run_id, tag, value)
    tags = run.data.tags
    if foreign and run.info.status == "FINISHED" and tags.get("mirrored.reference") == wanted:
        return "FINISHED"  # another suite had the cell scored since; MLflow holds our own scores
    stamp = f"{size}, {OTHER_REFERENCE}" if foreign else str(size)
    RunMirror(store.client, run, child.directory, child.ceiling).update(
        records,
        f"{stamp}, with its ceiling" if child.ceiling and sheet else stamp,
        record.dataset,
        remark=OTHER_REFERENCE if foreign else None,
        reference=reference_of(sheet),
    )
    data = last(records, "data")
    # MLflow knows equal inputs again, so every child with all the splits may say it.
    if data is not None and child.role != "scorer":
        log_data_set(store.client, parent, record.dataset, data)
    return {"done": "FINISHED", "failed": "FAILED"}.get(records[-1]["event"], "RUNNING")


def _describe(store: Store, parent: Run, record: SuiteRecord) -> None:
    """The suite record as artifact, description and tags of the parent, when it has changed; what
    its experiment lacks."""
    text = record.model_dump_json(indent=1)
    stamp = hashlib.sha256(text.encode()).hexdigest()[:16]
    if parent.data.tags.get("mirrored.record") == stamp:
        return
    run_id = parent.info.run_id
    experiment = store.client.get_experiment(parent.info.experiment_id)
    for key, value in experiment_tags(experiment, record).items():
        store.client.set_experiment_tag(experiment.experiment_id, key, value)
    store.client.log_text(run_id, text, "suite.json")
    log(
        store.client,
        run_id,
        tags={
            "mlflow.note.content": suite_note(record),
            "fingerprint": record.fingerprint,
            "provenance.commit": record.commit,
            "mirrored.record": stamp,
            "mlflow.source.type": "LOCAL",
            "mlflow.source.name": "run_ablations.py",
        },
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 up to date, 1 MLflow or a run directory failed, 2 bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.tracking.mirror", description=__doc__
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, default=Path("runs"), help="the run directories")
    parser.add_argument(
        "--suite-record", type=Path, action="append", default=[], metavar="FILE", dest="records"
    )
    parser.add_argument("--follow", action="store_true", help="until standard input ends")
    parser.add_argument("--check", action="store_true", help="only open or initialise the store")
    options = parser.parse_args(arguments)
    if options.check:
        return check()
    if options.follow:
        return follow(lambda: mirror(options.out, options.records))
    try:
        mirror(options.out, options.records)
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # MLflow raises many kinds; none is worth a traceback here
        if isinstance(error, UserError) and not isinstance(error, StoreError):
            print(f"error: {error}", file=sys.stderr)
            return 2
        print(f"mlflow: not up to date: {first_line(error)}", file=sys.stderr)
        return 1
    return 0


def check() -> int:
    """Whether a suite could be mirrored: 0, or 1 with one line that says why not."""
    try:
        tracking_store.check_store()
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # as above
        said = first_line(error)
        named = "" if VARIABLE in said or not os.environ.get(VARIABLE) else f"{VARIABLE}: "
        print(f"error: {named}{said}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
