"""Progress of a study on stderr: lines, and in a terminal a bar per running job below them."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from experiments.run.jobs import Job

STYLES = {"failed": "red", "done": "green", "set aside": "yellow", "execution": "yellow"}


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
    if "g_cycle" in values or "g_cycle_back" in values:
        cycle = [values[name] for name in ("g_cycle", "g_cycle_back") if name in values]
        parts.append("cycle " + "/".join(f"{value:.3f}" for value in cycle))
    if "g_gan" in values:
        parts.append(f"G {values['g_gan']:.2f}")
        parts.append(f"D {values['d_real']:.2f}/{values['d_fake']:.2f}")
    if "scorer" in values:
        parts.append(f"cross-entropy {values['scorer']:.3f}")
    return "  ".join(parts)


def scores_text(values: dict[str, float]) -> str:
    """'FCN .813/.533/.430  Lab .91/.85/.86': short, in the order of the paper's tables; without
    those of other scorers and of other images."""
    values = {name: value for name, value in values.items() if "/" not in name}
    parts = []
    for family, title, digits in (("fcn", "FCN", 3), ("labels", "labels", 3), ("color", "Lab", 2)):
        group = [value for name, value in values.items() if name.split(".")[0] == family]
        if group:
            shown = (f"{value:.{digits}f}".removeprefix("0") for value in group)
            parts.append(f"{title} {'/'.join(shown)}")
    if "lpips" in values:
        parts.append(f"LPIPS {values['lpips']:.3f}")
    return "  ".join(parts)


def event_text(event: dict[str, Any]) -> str:
    """One line about an event; empty if there is nothing to say."""
    kind = event["event"]
    if kind == "phase":
        return event["phase"]
    if kind == "start" and event.get("step"):
        return f"resumes at step {event['step']}"
    if kind == "scores":
        return scores_text(event["values"])
    if kind == "gamut":
        return f"{event['beyond']:.2%} of the pixels are beyond sRGB's gamut, and clipped"
    if kind == "set aside":
        return f"{event['file']} set aside: {event['error']}"
    if kind == "execution" and "instead_of" in event:
        return f"slower steps, without a CUDA graph: {event['error']}"
    if kind == "failed":
        return f"FAILED: {event['error']}"
    if kind != "done" or not event.get("seconds"):
        return "done" if kind == "done" else ""
    text = f"done in {duration(event['seconds'])}"
    if "outside" in event:
        text += f", {100 * event['outside']:.0f} % of it outside training steps"
    return text


class Lines:
    """Prints a line for every tenth of a job, for its phases and for its end."""

    tenths = True

    def __init__(self) -> None:
        self.totals: dict[str, int] = {}
        """{digest: steps of the phase}"""
        self.shown: dict[str, str | int] = {}
        """{digest: the text or the tenth that was printed last}"""

    def __call__(self, job: Job, event: dict[str, Any]) -> None:
        key, text = job.digest, event_text(event)
        news: str | int = text
        if "total" in event:
            self.totals[key] = event["total"]
        if event["event"] == "losses" and self.totals.get(key):
            step, total = event["step"], self.totals[key]
            news = step * 10 // total if self.tenths else step
            left = duration((total - step) * event["seconds_per_step"])
            text = f"step {step}/{total}  {left} left  {losses_text(event['values'])}"
        if text and self.shown.get(key) != news:
            self.shown[key] = news
            self.print(job, event["event"], text)

    def print(self, job: Job, kind: str, text: str) -> None:
        line = f"{time.strftime('%H:%M:%S')}  {job.title:<28} {text}"
        with contextlib.suppress(OSError):  # the study goes on without a reader or a terminal
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        pass


class Bars(Lines):
    """A bar per running job at the foot of a terminal; all that should stay is printed above."""

    tenths = False

    def __init__(self, jobs: Sequence[Job], workers: int, console: Console | None = None) -> None:
        super().__init__()
        self.workers, self.waiting = workers, len(jobs)
        self.ended: list[str] = []
        """How the jobs ended: done, failed or stopped."""
        self.trainings: dict[str, tuple[float, float]] = {}
        """{digest: seconds of the training in all, and left}"""
        self.tasks: dict[str, TaskID] = {}
        longest = max((len(job.title) for job in jobs), default=0)
        self.bars = Progress(
            TextColumn("{task.description}", markup=False, table_column=Column(min_width=longest)),
            BarColumn(12),
            TextColumn("{task.fields[text]}", markup=False, table_column=Column(no_wrap=True)),
            console=console or Console(stderr=True),
            refresh_per_second=2,
            redirect_stdout=False,
        )
        self.summary = self.bars.add_task("all jobs", total=len(jobs), text="")
        self.bars.start()

    def __call__(self, job: Job, event: dict[str, Any]) -> None:
        key, kind = job.digest, event["event"]
        if kind == "ended":
            self.ended.append(event["outcome"])
            if key in self.tasks:
                self.bars.remove_task(self.tasks.pop(key))
            self.trainings[key] = (self.trainings.get(key, (0.0, 0.0))[0], 0.0)
        elif key not in self.tasks:
            self.waiting -= 1
            self.tasks[key] = self.bars.add_task(job.title, total=None, text="starting")
        super().__call__(job, event)
        if kind == "losses" and (total := self.totals.get(key)):
            self.bars.update(self.tasks[key], total=total, completed=event["step"])
            if "scorer" not in event["values"]:
                pace = event["seconds_per_step"]
                self.trainings[key] = (total * pace, (total - event["step"]) * pace)
        self.bars.update(self.summary, completed=len(self.ended), text=self.summary_text())

    def print(self, job: Job, kind: str, text: str) -> None:
        if kind in ("phase", "losses"):
            self.bars.update(self.tasks[job.digest], text=text)
        else:
            with contextlib.suppress(OSError):
                self.bars.console.print(Text(f"{job.title}  {text}", STYLES.get(kind, "")))

    def summary_text(self) -> str:
        """How long the trainings will take, and how many jobs have ended, run and wait."""
        text = f"{len(self.ended)} ended"
        if failed := self.ended.count("failed"):
            text += f" ({failed} failed)"
        text += f", {len(self.tasks)} running, {self.waiting} waiting"
        whole = [seconds for seconds, _ in self.trainings.values() if seconds]
        if not whole:
            return text
        left = sum(left for _, left in self.trainings.values())
        left += self.waiting * sum(whole) / len(whole)
        return f"about {duration(left / self.workers)} left; {text}"

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.bars.stop()


def make_progress(jobs: Sequence[Job], workers: int) -> Lines:
    """Bars if stderr is a terminal, else plain lines."""
    return Bars(jobs, workers) if sys.stderr.isatty() and jobs else Lines()
