"""Mirrors run directories into MLflow: one experiment per suite, one child run per arm and seed.

    python -m experiments.tracking.mirror --out runs [SUITE_RECORD ...]

The run directories are the truth. MLflow holds a copy: if the store is away, locked or deleted,
the next pass brings it up to date. The pass is repeated until standard input ends, and then once
more, so that the mirror outlives its launcher by one pass only.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlflow.entities import Run

from experiments.record import SuiteRecord, read_suite_record, suite_records
from experiments.run.journal import Record, last, read_records
from experiments.spec import GROUND_TRUTH
from experiments.tracking import store as tracking_store
from experiments.tracking.process import tracking_uri
from experiments.tracking.report import experiment_tags, run_note, suite_note
from experiments.tracking.run import (
    STATUS,
    RunMirror,
    log,
    log_data_set,
    milliseconds,
    read_scores,
    set_status,
)
from experiments.tracking.store import MLFLOW_ERRORS, SCORER, Store, StoreError, first_line
from pix2pix.common.files import home_path
from pix2pix.common.locks import owner_of

SECONDS_BETWEEN_PASSES = 5.0
MOST_SECONDS_BETWEEN_PASSES = 60.0
SHARE = 0.02
"""Of a core that passes may take, as far as MOST_SECONDS_BETWEEN_PASSES allows."""
FIRST_RETRY = 0.5
"""Seconds before a pass that failed is repeated; twice as long after each further failure."""
LAST_ATTEMPTS = 6
"""Failures in a row after which the pass that follows the end of standard input is given up."""
WAITING = "waiting"
"""Of a run that has not begun, in the place of an MLflow status."""
OTHER_REFERENCE = "scored against another reference"
SOURCE = {"mlflow.source.type": "LOCAL", "mlflow.source.name": "run_ablations.py"}


class MirrorError(Exception):
    """Some run directories could not be mirrored; all others were."""


def mirror(out: Path, records: Sequence[Path] = (), is_last: bool = False) -> None:
    """One pass over every cell of the suite records (without `records`, of all below `out`).

    In the last pass, runs that have begun and that no process works on any more become KILLED;
    when they are resumed, RUNNING again. A second pass changes nothing. Raises UserError for a
    file that is not a suite record, MirrorError after the pass if a run directory could not be
    read, and MLFLOW_ERRORS or StoreError if the store is away.
    """
    uri = tracking_uri()
    # Two mirrors of the same run directories would log the same things at once.
    with tracking_store.alone(out / "mirror.lock"), tracking_store.writing(uri):
        store = tracking_store.open_store(uri, create=True)
        problems: list[str] = []
        for path in list(records) or suite_records(out):
            problems += _mirror_suite(store, out, read_suite_record(path), is_last)
    if problems:
        raise MirrorError("; ".join(problems))


@dataclass(frozen=True)
class _Child:
    """What becomes a child run: an arm with one seed, the ground truth, or the scorer.

    Only arms have a seed. `ceiling`, for the scorer only: the directory of the reference, which
    holds the scores of the real photos.
    """

    role: str
    arm: str
    seed: int | None
    directory: Path
    ceiling: Path | None = None

    @property
    def tags(self) -> dict[str, str]:
        """The tags by which the run is found again."""
        seed = "" if self.seed is None else str(self.seed)
        return {"arm": self.arm, "seed": seed, "digest": self.directory.name}


def _children(record: SuiteRecord, out: Path) -> list[_Child]:
    """Everything that a suite record wants to see in MLflow."""
    children = [_Child("cell", c.arm, c.seed, out / "cells" / c.digest) for c in record.cells]
    if record.reference:
        reference = out / "references" / record.reference
        children.append(_Child("reference", GROUND_TRUTH, None, reference))
        scorer = out / "scorers" / record.reference
        if scorer.is_dir():  # photo→labels and data without labels need none
            children.append(_Child("scorer", SCORER, None, scorer, reference))
    return children


def _mirror_suite(store: Store, out: Path, record: SuiteRecord, is_last: bool) -> list[str]:
    """One pass over one suite; returns what could not be read."""
    experiment_id = store.experiment(record.suite, create=True)
    assert experiment_id is not None
    key = {"suite": record.suite, "dataset": record.dataset, "profile": record.variant}
    known = _known_runs(store, experiment_id, key)
    parent = known.pop(("", "", ""), None) or store.client.create_run(
        experiment_id, tags=key | {"role": "suite"}, run_name=f"{record.dataset}-{record.variant}"
    )
    _describe(store, parent, record)

    problems: list[str] = []
    statuses: list[str] = []
    for child in _children(record, out):
        run = known.pop(tuple(child.tags.values()), None)
        try:
            statuses.append(_mirror_child(store, parent, run, child, key, record, is_last))
        except Exception as error:  # a damaged file raises whatever its reader raises
            refused = getattr(error, "error_code", "") == "INVALID_PARAMETER_VALUE"
            if isinstance(error, (*MLFLOW_ERRORS, StoreError)) and not refused:
                raise  # the store failed, and would fail for every other run
            statuses.append(WAITING)
            problems.append(f"{child.directory}: {type(error).__name__}: {first_line(error)}")
    for run in known.values():  # an earlier digest of an arm, or an arm that is no longer wanted
        if run.data.tags.get("current") != "no":
            store.client.set_tag(run.info.run_id, "current", "no")
    words = ("RUNNING", "FAILED", "KILLED", WAITING)
    status = next((s for s in words if s in statuses), "FINISHED")
    status = "RUNNING" if status == WAITING else status
    if status != parent.info.status:
        set_status(store.client, parent, status)
    return problems


def _known_runs(
    store: Store, experiment_id: str, key: dict[str, str]
) -> dict[tuple[str, ...], Run]:
    """{(arm, seed, digest): run} of a suite; the suite's own run has three empty strings.

    A server that was slow to create a run may have created it twice. The oldest is kept, so that
    every pass keeps the same one.
    """
    known: dict[tuple[str, ...], Run] = {}
    for run in store.runs(experiment_id, key):  # newest first
        identity = tuple(run.data.tags.get(name, "") for name in ("arm", "seed", "digest"))
        if identity in known:
            store.client.delete_run(known[identity].info.run_id)
        known[identity] = run
    return known


def _mirror_child(
    store: Store,
    parent: Run,
    run: Run | None,
    child: _Child,
    key: dict[str, str],
    record: SuiteRecord,
    is_last: bool,
) -> str:
    """Bring one child run up to date; returns its MLflow status, WAITING if it has not begun.

    Several suites may share a cell but score it with different scorers, and its directory holds
    the newest scores only. Scores against another reference than the record's are left out.
    """
    journal = child.directory / "journal.jsonl"
    if not journal.is_file() or not (child.directory / "config.json").is_file():
        return WAITING
    stamp = str(journal.stat().st_size)  # before reading: a later pass takes what is added now
    records = read_records(journal)
    if not records:
        return WAITING
    scores = read_scores(child.ceiling or child.directory)
    wanted = record.reference_of(child.arm) if child.role == "cell" else None
    is_foreign = bool(wanted and scores) and scores["settings"].get("reference") != wanted
    if is_foreign:
        records = [r for r in records if r["event"] not in ("scores", "done")]
        stamp += f", {OTHER_REFERENCE}"
    elif records[-1]["event"] == "done" and (reached := _fcn_scores(child.ceiling)):
        records = [*records[:-1], reached, records[-1]]
        stamp += ", with its ceiling"
    if run is None:
        run = store.client.create_run(
            parent.info.experiment_id,
            start_time=milliseconds(records[0]["time"]),
            run_name=child.arm if child.seed is None else f"{child.arm} seed {child.seed}",
            tags=key
            | child.tags
            | {"role": child.role, "mlflow.parentRunId": parent.info.run_id, "current": "yes"}
            | {"mlflow.note.content": run_note(child.arm, child.seed, record)}
            | SOURCE,
        )
    else:
        for tag, value in (("current", "yes"), ("mlflow.parentRunId", parent.info.run_id)):
            if run.data.tags.get(tag) != value:
                store.client.set_tag(run.info.run_id, tag, value)
    held = run.data.tags.get("mirrored.reference")
    if is_foreign and run.info.status == "FINISHED" and held == wanted:
        return "FINISHED"  # MLflow holds this suite's scores; another suite has re-scored the cell
    RunMirror(store.client, run, child.directory, scores, child.ceiling).update(
        records, stamp, record.dataset, OTHER_REFERENCE if is_foreign else None
    )
    data = last(records, "data")
    if data is not None and child.role != "scorer":  # a scorer has no validation and test split
        log_data_set(store.client, parent, record.dataset, data)
    status = STATUS.get(records[-1]["event"], "RUNNING")
    if is_last and status == "RUNNING" and owner_of(child.directory / "owner.lock") is None:
        status = "KILLED"
        if run.info.status != status:
            set_status(store.client, run, status, records[-1]["time"])
    return status


def _fcn_scores(ceiling: Path | None) -> Record | None:
    """The newest `scores` of a reference, of which a scorer gave only the FCN-scores."""
    newest = last(read_records(ceiling / "journal.jsonl"), "scores") if ceiling else None
    return newest and newest | {
        part: {name: value for name, value in newest[part].items() if name.startswith("fcn.")}
        for part in ("values", "not_measured")
    }


def _describe(store: Store, parent: Run, record: SuiteRecord) -> None:
    """Bring the suite's own run and its experiment up to date, if the record has changed."""
    text = record.model_dump_json(indent=1)
    stamp = hashlib.sha256(text.encode()).hexdigest()[:16]
    if parent.data.tags.get("mirrored.record") == stamp:
        return
    run_id = parent.info.run_id
    experiment = store.client.get_experiment(parent.info.experiment_id)
    for name, value in experiment_tags(experiment, record).items():
        store.client.set_experiment_tag(experiment.experiment_id, name, value)
    store.client.log_text(run_id, text, "suite.json")
    tags = {
        "mlflow.note.content": suite_note(record),
        "fingerprint": record.fingerprint,
        "provenance.commit": record.commit,
        "mirrored.record": stamp,
    }
    log(store.client, run_id, tags | SOURCE)


def follow(one_pass: Callable[[bool], None], seconds: float = SECONDS_BETWEEN_PASSES) -> int:
    """Repeat a pass until standard input ends, then once more; returns the exit status.

    `one_pass` is told whether it is the last. A pass that fails is repeated soon. A problem is
    reported once, and again if the last pass ends with it. Ctrl-C, which may reach the whole
    process group, is ignored.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ended = threading.Event()
    threading.Thread(target=_wait_for_end, args=(ended,), daemon=True).start()
    reported = ""
    failures = 0
    while True:
        is_last = ended.is_set()
        problem = ""
        began = time.process_time()
        try:
            one_pass(is_last)
            failures = 0
        except Exception as error:  # whatever keeps MLflow away: the run directories are safe
            problem = first_line(error)
            failures = min(failures + 1, LAST_ATTEMPTS)
            if isinstance(error, MirrorError):  # another attempt does not repair a run directory
                failures = LAST_ATTEMPTS
        is_over = is_last and (not problem or failures == LAST_ATTEMPTS)
        if problem and (problem != reported or is_over):
            retry = "" if is_over else " (will be tried again until the suite ends)"
            with contextlib.suppress(BrokenPipeError):  # the launcher may have been killed
                print(f"mlflow: not up to date: {problem}{retry}", file=sys.stderr, flush=True)
        reported = problem
        if is_over:
            return 1 if problem else 0
        spent = time.process_time() - began
        (time.sleep if is_last else ended.wait)(_pause(seconds, failures, spent))


def _pause(seconds: float, failures: int, spent: float) -> float:
    """Seconds until the next pass: few after a failure, more after one that took much CPU time."""
    if failures:
        return min(seconds, FIRST_RETRY * 2 ** (failures - 1))
    return max(seconds, min(MOST_SECONDS_BETWEEN_PASSES, spent / SHARE))


def _wait_for_end(ended: threading.Event) -> None:
    """Set the event when standard input ends."""
    # os.read: a thread inside sys.stdin's buffer would block the interpreter's end.
    with contextlib.suppress(OSError):  # standard input may be closed already
        while os.read(0, 4096):
            pass
    ended.set()


def main() -> int:
    """The command line. Returns 0 if MLflow is up to date, 1 if MLflow or a file failed."""
    parser = argparse.ArgumentParser(prog="python -m experiments.tracking.mirror")
    parser.add_argument(
        "--out", type=home_path, required=True, help="folder of the run directories"
    )
    parser.add_argument(
        "records", type=home_path, nargs="*", help="suite records to mirror (default: all of --out)"
    )
    options = parser.parse_args()
    # A client that repeats a request may create a run twice. A pass is repeated instead: it first
    # asks which runs there are.
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    return follow(lambda is_last: mirror(options.out, options.records, is_last))


if __name__ == "__main__":
    sys.exit(main())
