"""What a suite shows while it runs: a live table in a terminal, else a plain line now and then."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Any, Protocol

from experiments.run.jobs import Job


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
    """'FCN .813/.533/.430  Lab .91/.85/.86': the families that a paper's table has, short."""
    parts = []
    for family, title, digits in (("fcn", "FCN", 3), ("labels", "labels", 3), ("color", "Lab", 2)):
        of = [value for name, value in values.items() if name.split(".")[0] == family]
        if of:
            told = (f"{value:.{digits}f}".removeprefix("0") for value in of)
            parts.append(f"{title} {'/'.join(told)}")
    if "lpips" in values:
        parts.append(f"LPIPS {values['lpips']:.3f}")
    return "  ".join(parts)


def execution_text(event: dict[str, Any]) -> str:
    """Why steps are slower than they could be; empty where they are not."""
    if "instead_of" not in event:
        return ""
    return f"steps are launched one by one: no CUDA graph could be made of them ({event['error']})"


def done_text(event: dict[str, Any]) -> str:
    """'done in 3m10s, 6 % of it outside training steps'."""
    if not event.get("seconds"):
        return "done"
    text = f"done in {duration(event['seconds'])}"
    if "outside" in event:
        text += f", {100 * event['outside']:.0f} % of it outside training steps"
    return text


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
            self._say(job, f"resumes at step {event['step']}")
        elif kind == "scores":
            self._say(job, scores_text(event["values"]))
        elif kind == "failed":
            self._say(job, f"FAILED: {event['error']}")
        elif kind == "done":
            self._say(job, done_text(event))
        elif kind == "execution" and (text := execution_text(event)):
            self._say(job, text)

    def _say(self, job: Job, text: str) -> None:
        line = f"{time.strftime('%H:%M:%S')}  {job.title:<28} {text}"
        with contextlib.suppress(BrokenPipeError):  # nobody listens; the work goes on
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        pass
