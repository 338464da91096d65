"""The fault tests' study, run by an engine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from fault_compare import Facts, facts, mirrored
from fault_study import PATIENCE, Started, Study

from experiments.run.journal import last, read_records

LONG = 1200
"""Steps of a training that takes longer than Slurm's shortest time limit, a minute."""


class ClusterStudy(Study):
    """A study whose command has the options of an engine; without any it runs on this machine."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
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

    def sessions(self, arm: str) -> int:
        """How often an arm was begun or taken up again."""
        records = read_records(self.cells()[arm] / "journal.jsonl")
        return sum(record["event"] == "start" for record in records)
