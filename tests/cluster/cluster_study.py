"""The fault tests' study, run by an engine."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from fault_compare import Facts, facts, mirrored
from fault_study import PATIENCE, Started, Study

from experiments.run.journal import last, read_records

LONG = int(os.environ.get("CLUSTER_STEPS", "1200"))
"""Steps of a training that exceeds Slurm's shortest limit, a minute; more on a fast machine."""
SEEDS = ("--seeds", "6")
"""For enough trainings that the second node has one after each of four strikes."""


class ClusterStudy(Study):
    """A study whose command has the options of an engine; without any it runs on this machine."""

    def __init__(self, folder: Path, store: Path) -> None:
        super().__init__(folder, store)
        self.engine: tuple[str, ...] = ()
        self.environment["PYTHONPATH"] = ""  # nothing watches or strikes from inside

    def command(self, *more: str) -> list[str]:
        words = super().command()
        place = words.index("--workers")
        if self.engine:
            words[place : place + 2] = self.engine
        return [*words, *more]

    def everything(self) -> Facts:
        """All that a finished study holds: weights, images, scores, losses, report, MLflow."""
        (table,) = (self.folder / "reports").rglob("results.csv")
        return facts(self) | mirrored(self.folder / "mlflow.db") | {"report": table.read_text()}

    def wait_for(self, started: Started, arm: str, event: str, seconds: float = 240) -> Any:
        """The first record of an event in an arm's journal, as soon as it is there."""
        deadline = time.monotonic() + seconds * PATIENCE
        while True:
            assert time.monotonic() < deadline and started.process.poll() is None, started.said
            try:
                if record := last(read_records(self.cells()[arm] / "journal.jsonl"), event):
                    return record
            except (ValueError, OSError):  # no suite record yet
                pass
            time.sleep(0.2)

    def reached(self) -> int:
        """Steps of all arms up to their newest checkpoints."""
        try:
            journals = [read_records(c / "journal.jsonl") for c in self.cells().values()]
        except (ValueError, OSError):  # no suite record yet
            return 0
        newest = [last(records, "checkpoint") for records in journals]
        return sum(record["step"] for record in newest if record)

    def lost_steps(self) -> list[str]:
        """Where a session did not go on from the newest checkpoint of the one before."""
        wrong = []
        for arm, cell in self.cells().items():
            newest = 0
            for record in read_records(cell / "journal.jsonl"):
                if record["event"] == "checkpoint":
                    newest = record["step"]
                elif record["event"] == "start" and record["step"] < newest:
                    wrong.append(f"{arm}: from {record['step']}, not {newest}")
        return wrong

    def sessions(self, arm: str) -> int:
        """How often an arm was begun or taken up again."""
        records = read_records(self.cells()[arm] / "journal.jsonl")
        return sum(record["event"] == "start" for record in records)
