"""Progress of a study on stderr: a live table in a terminal, else plain lines."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from experiments.run.jobs import Job

REFRESHES_PER_SECOND = 2
SPARE_LINES = 5
"""Lines of the terminal that rows cannot use: head, foot and the prompt."""
BAR = 12
BAR_FROM = 100
"""A terminal needs so many columns for bars; otherwise scores get the room."""
STYLES = {"failed": "red", "done": "green", "stopped": "yellow", "waiting": "dim"}


class Progress(Protocol):
    """Receives the events of every job."""

    def __call__(self, job: Job, event: dict[str, Any]) -> None: ...
    def close(self) -> None: ...


def duration(seconds: float) -> str:
    """75 to '1m15s', 7380 to '2h03m'."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02d}s"
    return f"{seconds // 3600}h{seconds % 3600 // 60:02d}m"


def losses_text(values: dict[str, float]) -> str:
    """'L1 0.213  G 1.02  D 0.61/0.48': the terms in a fixed order, short."""
    parts = []
    if "g_l1" in values:
        parts.append(f"L1 {values['g_l1']:.3f}")
    if "g_gan" in values:
        parts.append(f"G {values['g_gan']:.2f}")
        parts.append(f"D {values['d_real']:.2f}/{values['d_fake']:.2f}")
    if "scorer" in values:
        parts.append(f"cross-entropy {values['scorer']:.3f}")
    return "  ".join(parts)


def set_aside_text(event: dict[str, Any]) -> str:
    """'checkpoint-0001500.pt.damaged set aside: not a readable checkpoint (…)'."""
    return f"{event['file']} set aside: {event['error']}"


def scores_text(values: dict[str, float]) -> str:
    """'FCN .813/.533/.430  Lab .91/.85/.86': short, in the order of the paper's tables."""
    parts = []
    for family, title, digits in (("fcn", "FCN", 3), ("labels", "labels", 3), ("color", "Lab", 2)):
        group = [value for name, value in values.items() if name.split(".")[0] == family]
        if group:
            shown = (f"{value:.{digits}f}".removeprefix("0") for value in group)
            parts.append(f"{title} {'/'.join(shown)}")
    if "lpips" in values:
        parts.append(f"LPIPS {values['lpips']:.3f}")
    return "  ".join(parts)


def execution_text(event: dict[str, Any]) -> str:
    """Why steps are slower than they could be; empty if they are not."""
    if "instead_of" not in event:
        return ""
    return f"slower steps: no CUDA graph could be captured ({event['error']})"


def done_text(event: dict[str, Any]) -> str:
    """'done in 3m10s, 6 % of it outside training steps'."""
    if not event.get("seconds"):
        return "done"
    text = f"done in {duration(event['seconds'])}"
    if "outside" in event:
        text += f", {100 * event['outside']:.0f} % of it outside training steps"
    return text


class Lines:
    """Prints a line for every tenth of a job, for its phases and for its end."""

    def __init__(self) -> None:
        self.totals: dict[str, int] = {}
        self.shown: dict[str, int] = {}
        self.phases: dict[str, str] = {}

    def __call__(self, job: Job, event: dict[str, Any]) -> None:
        key, kind = job.digest, event["event"]
        if kind == "phase":
            if "total" in event:
                self.totals[key], self.shown[key] = event["total"], -1
            if self.phases.get(key) != event["phase"]:
                self.phases[key] = event["phase"]
                self._print(job, event["phase"])
        elif kind == "losses" and self.totals.get(key):
            step, total = event["step"], self.totals[key]
            tenth = step * 10 // total
            if tenth > self.shown[key]:
                self.shown[key] = tenth
                left = duration((total - step) * event["seconds_per_step"])
                text = losses_text(event["values"])
                self._print(job, f"step {step}/{total}  {text}  {left} left")
        elif kind == "set aside":
            self._print(job, set_aside_text(event))
        elif kind == "start" and event.get("step"):
            self._print(job, f"resumes at step {event['step']}")
        elif kind == "scores":
            self._print(job, scores_text(event["values"]))
        elif kind == "failed":
            self._print(job, f"FAILED: {event['error']}")
        elif kind == "done":
            self._print(job, done_text(event))
        elif kind == "execution" and (text := execution_text(event)):
            self._print(job, text)

    def _print(self, job: Job, text: str) -> None:
        line = f"{time.strftime('%H:%M:%S')}  {job.title:<28} {text}"
        with contextlib.suppress(BrokenPipeError):  # the study goes on without a reader
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        pass


@dataclass
class Row:
    """The state of one job."""

    title: str
    kind: str = "cell"
    phase: str = "starting"
    step: int = 0
    total: int = 0
    """Steps of the phase; 0 if it has none."""
    losses: str = ""
    pace: float | None = None
    """Seconds per step."""
    scores: str = ""
    error: str = ""
    state: str = "waiting"
    """waiting, running, done, failed or stopped."""
    order: int = 0
    """Rises with every change of a state; ended jobs are sorted by it."""
    began: float = 0.0
    seconds: float | None = None

    @property
    def left(self) -> float | None:
        """Seconds until the phase's last step."""
        if self.state != "running" or self.pace is None or not self.total:
            return None
        return max(0, self.total - self.step) * self.pace


class LiveTable:
    """Receives the events of every job and redraws; ended jobs on top, waiting ones below."""

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
            refresh_per_second=REFRESHES_PER_SECOND,
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
            self._set_state(row, "running")
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
            self._set_state(row, "failed")
        elif kind == "execution" and (text := execution_text(event)):
            self.live.console.print(Text(f"{row.title}: {text}", "yellow"))
        elif kind == "done":
            row.seconds = event.get("seconds")
            self._set_state(row, "done")
        elif kind == "ended" and row.state == "running":
            self._set_state(row, event["outcome"])

    def _set_state(self, row: Row, state: str) -> None:
        self.changes += 1
        row.state, row.order = state, self.changes

    def draw(self) -> Group:
        """The table now: at most as high as the terminal, but complete once it is closed."""
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
        """One line per row; in a narrow terminal the last column is cut."""
        width = self.console.width
        longest = max((len(row.title) for row in self.rows.values()), default=0)
        name = min(longest, max(18, width // 4))
        table = Table(box=None, pad_edge=False, header_style="dim", expand=False)
        table.add_column("cell", no_wrap=True, min_width=name)
        table.add_column("step", no_wrap=True, justify="right", min_width=9)
        if width >= BAR_FROM:
            table.add_column("", no_wrap=True, min_width=BAR)
        table.add_column("time", no_wrap=True, justify="right", min_width=10)
        table.add_column("losses, then scores")  # shrinks if the terminal is narrow
        for row in rows:
            style = STYLES.get(row.state, "")
            # Text, not markup: an arm may be called [red].
            cells = [shortened(row.title, name), _steps(row)]
            cells += [_bar(row)] if width >= BAR_FROM else []
            cells += [_time(row), _text(row)]
            table.add_row(*(Text(c, style, no_wrap=True, overflow="ellipsis") for c in cells))
        return table

    def _foot(self, ended: int, hidden: int, running: list[Row], waiting: list[Row]) -> str:
        failed = sum(row.state == "failed" for row in self.rows.values())
        text = f"{ended} of {len(self.rows)} ended"
        text += f" ({failed} failed)" if failed else ""
        if self.closed:
            return f"{text}, {len(waiting)} not started" if waiting else text
        text += f", {len(running)} running, {len(waiting)} waiting"
        text += f"; {hidden} earlier ones not shown" if hidden else ""
        left = self._left(running, len(waiting))
        return f"{text}; about {duration(left)} left" if left is not None else text

    def _left(self, running: list[Row], waiting: int) -> float | None:
        """Seconds left. A job takes as long as the finished ones did, or as its steps will."""
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
        """Leave the final table on the screen, with every job."""
        with self.lock:
            self.closed = True
        self.live.stop()


def shortened(title: str, width: int) -> str:
    """A title without its middle if it is too long; its end, the seed, is kept."""
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


def _text(row: Row) -> str:
    if row.state == "failed":
        return f"failed: {row.error}"
    if row.state == "running":
        return row.losses or row.phase
    return row.scores or row.state


def make_progress(jobs: Sequence[Job], workers: int) -> Progress:
    """A live table if stderr is a terminal, else plain lines."""
    return LiveTable(jobs, workers) if sys.stderr.isatty() and jobs else Lines()
