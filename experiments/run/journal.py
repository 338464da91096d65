"""The run directory: the record of a cell that survives anything.

A run directory holds one cell (a training), one reference (the real photos' own scores) or one
in-suite scorer (config.json and journal.jsonl alone):

    config.json        what was run, with its digest
    journal.jsonl      one JSON object a line, appended and never rewritten
    samples/           step-0001000.png: inputs, translations, targets of fixed validation pairs
    translations/      NAME.png, the whole test split
    scores.json        values, intervals_over_images, not_measured, per_class, color_by_bin_width,
                       settings (eval.results)
    per_image.csv      a row an image, a column a score
    per_image.npz      names, values/SCORE (N,), confusion (N, C, C) int64, and lab, lab_targets
                       (N, 3, bins) int32 with lab_bin_width, where measured

Records carry `event` and `time` (Unix seconds). The events, in the order in which they appear:

    start        provenance {…}, step (where training goes on from)
    set aside    file (its new name), error, step (where training goes on from): a damaged file
    data         fingerprint, train, val, test (numbers of pairs)
    parameters   generator, discriminator (numbers of weights; discriminator 0 where there is none),
                 or scorer
    execution    engine, precision (pix2pix/fast_step.py); instead_of, error where a CUDA graph
                 could not be captured, or was not the step
    losses       step, values {term: mean since the last record}, seconds_per_step, learning_rate
    validation   step, values {FCN-score: of the photos held out} (a scorer's)
    sample       step, file (relative to the run directory)
    checkpoint   step
    trained      step, seconds (in training steps, all sittings), peak_memory_mib; of a scorer:
                 step, seconds (this sitting), kept_step (the best validation's)
    scores       values {name: float}, not_measured {name: why}, sha256 {file: of the sheet's files}
    done         seconds (all sittings), outside (of a cell: the share that was no training step)
    failed       error (one line), log (the last lines)

A cell killed after a checkpoint repeats some steps; `replay` gives each step once.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

from pix2pix.common.files import flush_folder, make_folder, naming, parse_json, write_whole

Record = dict[str, Any]

OF_A_STEP = ("losses", "validation", "sample", "checkpoint", "trained")
"""Events of a step, which a later sitting may repeat."""
LOOSE = ("losses", "validation", "sample")
"""Events that wait for the next other one before they are flushed to the disk."""


class Journal:
    """Appends records to `journal.jsonl`, a line each, in one write."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "journal.jsonl"
        make_folder(directory)

    def append(self, event: str, **fields: Any) -> None:
        """Write one record. A torn last line, left by a crash, is closed off first; where the disk
        is full nothing is added and OSError names the file."""
        record = {"event": event, "time": round(time.time(), 3), **fields}
        line = (json.dumps(record, allow_nan=False, default=str) + "\n").encode()
        with naming(self.path), open(self.path, "ab+", buffering=0) as file:
            whole = file.seek(0, os.SEEK_END)
            if whole:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    line = b"\n" + line
            try:
                written = file.write(line)
                if written < len(line):  # the disk is nearly full: the rest says that it is
                    file.write(line[written:])
                if event not in LOOSE:
                    os.fsync(file.fileno())
                if not whole:
                    flush_folder(self.directory)
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(whole)
                raise

    def flush(self) -> None:
        """Put everything that was appended on the disk."""
        with naming(self.path), open(self.path, "ab") as file:
            os.fsync(file.fileno())

    def records(self) -> list[Record]:
        return read_records(self.path)


def read_records(path: Path) -> list[Record]:
    """Every whole record of a journal."""
    return parse_records(path.read_bytes()) if path.exists() else []


def parse_records(content: bytes) -> list[Record]:
    """The records of whole lines; torn and damaged ones are passed over."""
    records = []
    for line in content.split(b"\n")[:-1]:
        with contextlib.suppress(ValueError):
            records.append(parse_json(line))
    return [record for record in records if is_record(record)]


def is_record(record: Any) -> bool:
    """Whether a line names an event, and the step if it needs one."""
    if not isinstance(record, dict) or not isinstance(record.get("event"), str):
        return False
    return type(record.get("step", None if record["event"] in OF_A_STEP else 0)) is int


def replay(records: list[Record]) -> list[Record]:
    """The records of one uninterrupted run: each step of each OF_A_STEP event once, in order.

    When a cell goes on from step s, what was recorded beyond s belongs to steps that are now
    done again, so it is dropped; of what is recorded again at s itself, the newest counts.
    """
    kept: dict[tuple[str, int], Record] = {}
    for number, record in enumerate(records):
        event = record["event"]
        if event == "start":
            resumed_at = record.get("step", 0)
            kept = {k: r for k, r in kept.items() if k[0] not in OF_A_STEP or k[1] <= resumed_at}
        key = (event, record["step"] if event in OF_A_STEP else number)
        kept.pop(key, None)  # the newest takes its own place in the order
        kept[key] = record
    return list(kept.values())


def last(records: list[Record], event: str) -> Record | None:
    """The newest record of an event, or None."""
    return next((r for r in reversed(records) if r["event"] == event), None)


def is_done(directory: Path) -> bool:
    """Whether a run directory's last word is `done`."""
    records = read_records(directory / "journal.jsonl")
    return bool(records) and records[-1]["event"] == "done"


def log_tail(directory: Path, characters: int = 2000) -> str:
    """The end of a run directory's log.txt, with which a failure is recorded."""
    try:
        with open(directory / "log.txt", "rb") as file:
            file.seek(max(0, file.seek(0, 2) - 4 * characters))
            return file.read().decode(errors="replace")[-characters:]
    except OSError:
        return ""


def clear_leftovers(folder: Path, name: str = "") -> None:
    """Delete what a writer of `name` (of anything, if that is empty) left when it was killed, but
    not what belongs to a lock."""
    for leftover in folder.glob(f".{name}*.tmp"):
        if ".lock." not in leftover.name:
            leftover.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that a reader never sees half of it."""
    write_whole(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())
