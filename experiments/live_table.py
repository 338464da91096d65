"""One live table of a suite in a terminal: arms, steps, losses, time left, scores as they come."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from experiments.jobs import Job
from experiments.progress import duration, losses_text, scores_text, set_aside_text

REFRESHES_A_SECOND = 2
SPARE_LINES = 5
"""Of the terminal's height: head, foot and the prompt."""
BAR = 12


@dataclass
class Row:
    """What is known of a job."""

    title: str
    phase: str = "waiting"
    step: int = 0
    total: int = 0
    losses: str = ""
    pace: float | None = None
    scores: str = ""
    error: str = ""
    state: str = "waiting"
    """waiting, running, done, failed or stopped."""
    order: int = 0
    """When it last changed its state."""
    seconds: float | None = field(default=None)

    @property
    def left(self) -> float | None:
        """Seconds until its last step."""
        if self.state != "running" or self.pace is None or not self.total:
            return None
        return max(0, self.total - self.step) * self.pace


class LiveTable:
    """Receives the events of every job and redraws; running jobs stand below those that ended."""

    def __init__(self, jobs: Sequence[Job], workers: int, console: Console | None = None) -> None:
        self.rows = {job.digest: Row(job.title) for job in jobs}
        self.workers = workers
        self.changes = 0
        self.lock = threading.Lock()
        self.console = console or Console(stderr=True)
        self.live = Live(
            get_renderable=self.draw,
            console=self.console,
            refresh_per_second=REFRESHES_A_SECOND,
            redirect_stdout=False,
        )
        self.live.start()

    def __call__(self, job: Job, event: dict[str, Any]) -> None:
        with self.lock:
            self._take(self.rows.setdefault(job.digest, Row(job.title)), event)

    def _take(self, row: Row, event: dict[str, Any]) -> None:
        kind = event["event"]
        if row.state == "waiting":
            self._turn(row, "running")
        if kind == "phase":
            row.phase = event["phase"]
            if "total" in event:
                row.total, row.step = event["total"], 0
        elif kind == "start":
            row.step = event.get("step", 0)
        elif kind == "losses":
            row.step, row.pace = event["step"], event["seconds_per_step"]
            row.losses = losses_text(event["values"])
        elif kind == "scores":
            row.scores = scores_text(event["values"])
        elif kind == "set aside":
            self.live.console.print(Text(f"{row.title}: {set_aside_text(event)}", "yellow"))
        elif kind == "failed":
            row.error = event["error"]
            self._turn(row, "failed")
        elif kind == "done":
            row.seconds = event.get("seconds")
            self._turn(row, "done")
        elif kind == "ended" and row.state == "running":
            self._turn(row, event["outcome"])

    def _turn(self, row: Row, state: str) -> None:
        self.changes += 1
        row.state, row.order = state, self.changes

    def draw(self) -> Group:
        """The table as it stands now, no higher than the terminal."""
        with self.lock:
            running = [row for row in self.rows.values() if row.state == "running"]
            ended = [row for row in self.rows.values() if row.state not in ("running", "waiting")]
            waiting = sum(row.state == "waiting" for row in self.rows.values())
            ended.sort(key=lambda row: row.order)
            room = max(1, self.console.height - SPARE_LINES - len(running))
            hidden = len(ended) - len(ended[-room:])
            table = Table(box=None, pad_edge=False, header_style="dim", expand=False)
            table.add_column("cell", no_wrap=True, overflow="ellipsis", max_width=28)
            table.add_column("step", no_wrap=True, justify="right")
            table.add_column("", no_wrap=True)
            table.add_column("left", no_wrap=True, justify="right")
            table.add_column("losses, scores", no_wrap=True, overflow="ellipsis")
            for row in [*ended[-room:], *running]:
                table.add_row(*_cells(row))
            return Group(table, Text(self._foot(len(ended), hidden, running, waiting), "dim"))

    def _foot(self, ended: int, hidden: int, running: list[Row], waiting: int) -> str:
        failed = sum(row.state == "failed" for row in self.rows.values())
        said = f"{ended} of {len(self.rows)} ended"
        said += f" ({failed} failed)" if failed else ""
        said += f", {len(running)} running, {waiting} waiting"
        said += f"; {hidden} earlier ones not shown" if hidden else ""
        left = self._left(running, waiting)
        return f"{said}; about {duration(left)} left" if left is not None else said

    def _left(self, running: list[Row], waiting: int) -> float | None:
        """Seconds for what is left: a waiting job takes what the others took, or will take."""
        took = [row.seconds for row in self.rows.values() if row.seconds]
        took = took or [row.total * row.pace for row in running if row.pace and row.total]
        rest = [row.left for row in running if row.left is not None]
        if (waiting and not took) or (not waiting and not rest):
            return None
        work = sum(rest) + (waiting * sum(took) / len(took) if waiting else 0.0)
        return max(work / max(1, self.workers), max(rest, default=0.0))

    def close(self) -> None:
        """Leave the last state on the screen."""
        self.live.stop()


def _cells(row: Row) -> tuple[Text, ...]:
    style = {"failed": "red", "done": "green", "stopped": "yellow"}.get(row.state, "")
    steps = f"{row.step}/{row.total}" if row.total else ""
    filled = round(BAR * row.step / row.total) if row.total else 0
    bar = "━" * filled + "╌" * (BAR - filled) if row.state == "running" and row.total else ""
    if row.state == "failed":
        told = f"failed: {row.error}"
    elif row.state == "running":
        inside = row.phase == "training" or "scorer" in row.phase
        told = row.losses if inside and row.losses else row.phase
    else:
        told = row.scores or row.state
    left = "" if row.left is None else duration(row.left)
    if row.state == "done" and row.seconds:
        left = f"took {duration(row.seconds)}"
    # Text, not markup: an arm may be called [red].
    return tuple(Text(cell, style) for cell in (row.title, steps, bar, left, told))
