"""One live table of a suite in a terminal: arms, steps, losses, time left, scores as they come."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from experiments.progress import (
    Lines,
    Progress,
    duration,
    execution_text,
    losses_text,
    scores_text,
    set_aside_text,
)
from experiments.run.jobs import Job

REFRESHES_A_SECOND = 2
SPARE_LINES = 5
"""Of the terminal's height: head, foot and the prompt."""
BAR = 12
BAR_FROM = 100
"""Columns of a terminal that has room for bars; scores come first."""
STYLES = {"failed": "red", "done": "green", "stopped": "yellow", "waiting": "dim"}


@dataclass
class Row:
    """What is known of a job."""

    title: str
    kind: str = "cell"
    phase: str = "starting"
    step: int = 0
    total: int = 0
    """Steps of the phase; 0 in one that has none."""
    losses: str = ""
    pace: float | None = None
    """Seconds a step."""
    scores: str = ""
    error: str = ""
    state: str = "waiting"
    """waiting, running, done, failed or stopped."""
    order: int = 0
    """When it last changed its state."""
    began: float = 0.0
    seconds: float | None = None

    @property
    def left(self) -> float | None:
        """Seconds until the phase's last step."""
        if self.state != "running" or self.pace is None or not self.total:
            return None
        return max(0, self.total - self.step) * self.pace


class LiveTable:
    """Receives the events of every job and redraws; jobs that ended stand above those that run,
    those that wait below."""

    def __init__(self, jobs: Sequence[Job], workers: int, console: Console | None = None) -> None:
        self.rows = {job.digest: Row(job.title, job.kind) for job in jobs}
        self.workers = workers
        self.changes = 0
        self.closed = False
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
            self._take(self.rows.setdefault(job.digest, Row(job.title, job.kind)), event)

    def _take(self, row: Row, event: dict[str, Any]) -> None:
        kind = event["event"]
        if row.state == "waiting":
            row.began = time.monotonic()
            self._turn(row, "running")
        if kind == "phase":
            row.phase = event["phase"]
            row.total, row.step, row.pace, row.losses = event.get("total", 0), 0, None, ""
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
        elif kind == "execution" and (text := execution_text(event)):
            self.live.console.print(Text(f"{row.title}: {text}", "yellow"))
        elif kind == "done":
            row.seconds = event.get("seconds")
            self._turn(row, "done")
        elif kind == "ended" and row.state == "running":
            self._turn(row, event["outcome"])

    def _turn(self, row: Row, state: str) -> None:
        self.changes += 1
        row.state, row.order = state, self.changes

    def draw(self) -> Group:
        """The table as it stands now: no higher than the terminal, but whole once it is closed."""
        with self.lock:
            running = [row for row in self.rows.values() if row.state == "running"]
            ended = [row for row in self.rows.values() if row.state not in ("running", "waiting")]
            waiting = [row for row in self.rows.values() if row.state == "waiting"]
            ended.sort(key=lambda row: row.order)
            room = max(1, self.console.height - SPARE_LINES - len(running))
            if self.closed:
                room = len(self.rows)
            shown = ended[-room:]
            later = waiting[: max(0, room - len(shown))]
            rows = [*shown, *running, *later]
            return Group(
                self._table(rows),
                Text(self._foot(len(ended), len(ended) - len(shown), running, waiting), "dim"),
            )

    def _table(self, rows: Sequence[Row]) -> Table:
        """Nothing wraps: where the terminal is narrow, what is told of a cell ends early."""
        width = self.console.width
        longest = max((len(row.title) for row in self.rows.values()), default=0)
        name = min(longest, max(18, width // 4))
        table = Table(box=None, pad_edge=False, header_style="dim", expand=False)
        table.add_column("cell", no_wrap=True, min_width=name)
        table.add_column("step", no_wrap=True, justify="right", min_width=9)
        if width >= BAR_FROM:
            table.add_column("", no_wrap=True, min_width=BAR)
        table.add_column("time", no_wrap=True, justify="right", min_width=10)
        table.add_column("losses, then scores")  # the one that shrinks
        for row in rows:
            style = STYLES.get(row.state, "")
            # Text, not markup: an arm may be called [red].
            cells = [shortened(row.title, name), _steps(row)]
            cells += [_bar(row)] if width >= BAR_FROM else []
            cells += [_time(row), _told(row)]
            table.add_row(*(Text(c, style, no_wrap=True, overflow="ellipsis") for c in cells))
        return table

    def _foot(self, ended: int, hidden: int, running: list[Row], waiting: list[Row]) -> str:
        failed = sum(row.state == "failed" for row in self.rows.values())
        said = f"{ended} of {len(self.rows)} ended"
        said += f" ({failed} failed)" if failed else ""
        if self.closed:
            return f"{said}, {len(waiting)} not begun" if waiting else said
        said += f", {len(running)} running, {len(waiting)} waiting"
        said += f"; {hidden} earlier ones not shown" if hidden else ""
        left = self._left(running, len(waiting))
        return f"{said}; about {duration(left)} left" if left is not None else said

    def _left(self, running: list[Row], waiting: int) -> float | None:
        """Seconds for what is left: a job takes what the others took, or what its steps will."""
        took = [row.seconds for row in self.rows.values() if row.seconds and row.kind == "cell"]
        usual = sum(took) / len(took) if took else 0.0
        now = time.monotonic()
        rest = []
        for row in running:
            still = usual - (now - row.began) if row.kind == "cell" else 0.0
            if row.left is not None or still > 0:
                rest.append(max(row.left or 0.0, still))
        ahead = [row.total * row.pace for row in running if row.pace and row.total]
        usual = usual or (sum(ahead) / len(ahead) if ahead else 0.0)
        if (waiting and not usual) or (not waiting and not rest):
            return None
        work = sum(rest) + waiting * usual
        return max(work / max(1, self.workers), max(rest, default=0.0))

    def close(self) -> None:
        """Leave the last state on the screen, every cell in it."""
        with self.lock:
            self.closed = True
        self.live.stop()


def shortened(title: str, width: int) -> str:
    """A title that fits, its middle left out: the seed at its end tells cells apart."""
    if len(title) <= width:
        return title
    head = max(1, width // 5)
    return f"{title[:head]}…{title[head + 1 - width :]}"


def _steps(row: Row) -> str:
    return f"{row.step}/{row.total}" if row.state == "running" and row.total else ""


def _bar(row: Row) -> str:
    if row.state != "running" or not row.total:
        return ""
    filled = round(BAR * row.step / row.total)
    return "━" * filled + "╌" * (BAR - filled)


def _time(row: Row) -> str:
    if row.state == "done" and row.seconds:
        return f"took {duration(row.seconds)}"
    return "" if row.left is None else f"{duration(row.left)} left"


def _told(row: Row) -> str:
    if row.state == "failed":
        return f"failed: {row.error}"
    if row.state == "running":
        return row.losses or row.phase
    return row.scores or row.state


def make_progress(jobs: Sequence[Job], workers: int) -> Progress:
    """A live table where stderr is a terminal, else plain lines."""
    return LiveTable(jobs, workers) if sys.stderr.isatty() and jobs else Lines()
