"""What a suite shows while it runs: live bars in a terminal, else a plain line now and then."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as RichProgress

from experiments.jobs import Job


class Progress(Protocol):
    """Receives the events of every job."""

    def __call__(self, job: Job, event: dict[str, Any]) -> None: ...
    def close(self) -> None: ...


def make_progress(quiet: bool = False) -> Progress:
    """Bars where stderr is a terminal, else plain lines."""
    if sys.stderr.isatty() and not quiet:
        return Bars()
    return Lines()


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


class Lines:
    """A line at every tenth of a job, and at its phases and end."""

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
                self._say(job, event["phase"])
        elif kind == "losses" and self.totals.get(key):
            step, total = event["step"], self.totals[key]
            tenth = step * 10 // total
            if tenth > self.shown[key]:
                self.shown[key] = tenth
                left = duration((total - step) * event["seconds_per_step"])
                text = losses_text(event["values"])
                self._say(job, f"step {step}/{total}  {text}  {left} left")
        elif kind == "set aside":
            self._say(job, set_aside_text(event))
        elif kind == "start" and event.get("step"):
            self._say(job, f"goes on from step {event['step']}")
        elif kind == "failed":
            self._say(job, f"FAILED: {event['error']}")
        elif kind == "done":
            self._say(job, "done")

    def _say(self, job: Job, text: str) -> None:
        line = f"{time.strftime('%H:%M:%S')}  {job.title:<28} {text}"
        with contextlib.suppress(BrokenPipeError):  # nobody listens; the work goes on
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        pass


class Bars:
    """A bar a job, with losses and the time that is left."""

    def __init__(self) -> None:
        self.bars = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            console=Console(stderr=True),
        )
        self.tasks: dict[str, Any] = {}
        self.bars.start()

    def __call__(self, job: Job, event: dict[str, Any]) -> None:
        task = self.tasks.get(job.digest)
        if task is None:
            task = self.bars.add_task(escape(job.title), total=None, text="starting")
            self.tasks[job.digest] = task
        kind = event["event"]
        if kind == "phase":
            self.bars.update(task, text=event["phase"])
            if "total" in event:
                self.bars.update(task, total=event["total"])
        elif kind == "start":
            self.bars.update(task, completed=event.get("step", 0))
        elif kind == "losses":
            total = self.bars.tasks[self.bars.task_ids.index(task)].total or event["step"]
            left = duration((total - event["step"]) * event["seconds_per_step"])
            text = f"{losses_text(event['values'])}  {left} left"
            self.bars.update(task, completed=event["step"], text=text)
        elif kind == "set aside":
            self.bars.console.print(f"{escape(job.title)}: {escape(set_aside_text(event))}")
        elif kind == "failed":
            self.bars.update(task, text=f"[red]FAILED[/]: {escape(event['error'][:100])}")
        elif kind == "done":
            self.bars.update(task, text="done")

    def close(self) -> None:
        self.bars.stop()
