"""Kill points: drawn from a seed over the phases of a study, carried out in chains.

A chain is one study, struck and started again until it has had its points, then finished. Each
point is looked at when it has struck (`wrong_so_far`), each chain when it has ended (`facts`).
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fault_compare import (
    Facts,
    by_step,
    checkpoint_facts,
    differences,
    facts,
    mirrored,
    wrong_so_far,
)
from fault_study import PATIENCE, Ended, Study

from experiments.run.journal import read_records

POINTS = int(os.environ.get("FAULTS_POINTS", "5"))
"""How many; from 50 on the long tests run too."""
Event = tuple[str, str, str, str]
HOWS = {"all": 10, "self": 4, "launcher": 2, "TERM": 2, "INT": 1, "tear": 3, "clock": 5}
"""What is struck, and how often: everything at once (a power cut), the process at hand, the
launcher alone, a signal to stop, a write torn in the middle, everything at a random time."""
TEARABLE = ("checkpoint", "generator", "translate", "score", "scorer", "reference", "train")


@dataclass
class Whole:
    """The uninterrupted study that all others are compared with."""

    facts: Facts
    digests: dict[str, str]
    mirrored: Facts
    checkpoints: dict[tuple[str, int], Facts]
    events: list[Event]
    seconds: float


@dataclass
class Point:
    """One strike: where it was aimed, and what became of it."""

    phase: str
    how: str
    plan: dict[str, Any]
    role: str = ""
    path: str = ""
    status: int | None = None
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        where = f"{self.role} {self.path}" if self.path else f"{self.plan}"
        return f"{self.how} in {self.phase} ({where}), status {self.status}: {self.wrong or 'ok'}"


def uninterrupted(study: Study) -> Whole:
    """Run a study to its end, keeping every checkpoint that it writes."""
    kept = study.folder / "kept"
    kept.mkdir()
    ended = study.run("--checkpoint-every", "0", plan={"copy_to": str(kept)})
    assert ended.status == 0, ended
    checkpoints = {}
    for path in kept.iterdir():
        state = checkpoint_facts(path)
        checkpoints[path.name.split("-")[0], state["/step"]] = state
    assert len(checkpoints) == 2 * study.steps
    return Whole(
        facts(study),
        {arm: cell.name for arm, cell in study.directories().items()},
        mirrored(study.folder / "mlflow.db"),
        checkpoints,
        study.events(),
        ended.seconds,
    )


def draw(rng: random.Random, whole: Whole, position: int, left: int) -> tuple[Point, int]:
    """The next point behind `position` in the uninterrupted study's events, and its position.

    Phases are equally likely, whatever the number of their events; `left` points are still to
    come, so that the study is not used up by the first.
    """
    end = min(len(whole.events), position + 2 * (len(whole.events) - position) // (left + 1) + 1)
    window = range(position, end)
    how = rng.choices(list(HOWS), list(HOWS.values()))[0]
    phase = rng.choice(sorted({whole.events[i][1] for i in window}))
    if how == "tear" and phase not in TEARABLE:
        how = "all"
    if how == "clock":
        return Point("any", how, {"seconds": rng.uniform(0, 0.8 * whole.seconds)}), position
    chosen = rng.choice([i for i in window if whole.events[i][1] == phase])
    before = sum(whole.events[i][1] == phase for i in range(position, chosen))
    plan: dict[str, Any] = {"phase": phase, "how": how, "count": before + 1}
    if how == "tear":
        opened = [e for e in whole.events if e[1:3] == (phase, "open")]
        size = 10**6 if phase in ("checkpoint", "generator") else 300
        plan |= {"only": "open", "bytes": rng.randrange(size)}
        plan["count"] = rng.randint(1, max(1, len(opened) // 3))
    return Point(phase, how, plan), chosen


def strike(study: Study, point: Point, every: float) -> Ended | None:
    """Start the study and carry a point out; how the launcher ended, None where nothing struck."""
    started = study.start("--checkpoint-every", str(every), plan=point.plan)
    if point.how == "clock":
        deadline = time.monotonic() + point.plan["seconds"]
        while time.monotonic() < deadline and started.process.poll() is None:
            time.sleep(0.02)
        struck = started.process.poll() is None
        study.kill()
        ended = started.end()
        return ended if struck else None
    ended = started.end()
    fired = study.fired()
    if fired is None or (point.how == "tear" and ended.status == 0):  # it wrote nothing so large
        return None
    if point.how == "all":
        study.kill()  # a process that had not reached the hook yet has no power either
    point.role, point.path = fired["role"], fired["path"]
    point.seconds = seconds_to_checkpoint(study, fired["time"])
    return ended


def seconds_to_checkpoint(study: Study, asked: float) -> float:
    """From a signal at `asked` (seconds since 1970) to the last checkpoint behind it; 0 for none.

    What the mirror takes afterwards, and the interpreters' ends, are not in it.
    """
    times = [
        record["time"]
        for path in study.out.glob("cells/*/journal.jsonl")
        for record in read_records(path)
        if record["event"] == "checkpoint"
    ]
    return max(0.0, max(times, default=asked) - asked)


def judge(point: Point, ended: Ended) -> None:
    """What the command has to say and do at once when it is struck like this."""
    point.status = ended.status
    allowed = {
        "all": {-9},
        "clock": {-9},
        "launcher": {-9},
        # Before and after the training Python dies of the signal itself, which a shell calls 143.
        "TERM": {143, -15},
        "INT": {130},
    }
    # A worker or the mirror that dies takes nothing down; the study says so, or mends it.
    words = allowed.get(point.how, {-9, -25} if point.role == "launcher" else {0, 1})
    if point.how in ("TERM", "INT"):
        words = words | {0}  # it came when all was done
        if point.seconds > 10 * PATIENCE:
            point.wrong.append(f"its checkpoint stood after {point.seconds:.1f} s")
    if ended.status not in words:
        point.wrong.append(f"exit status {ended.status} instead of {sorted(words)}: {ended.said}")
    if "Traceback" in ended.said:
        point.wrong.append(f"a traceback: {ended.said[-2000:]}")


def chain(folder: Path, store: Path, whole: Whole, seed: int, points: int) -> list[Point]:
    """Strike a study `points` times, finish it, compare it; its points, each with what was wrong.

    What the end shows is held against the last point, because no earlier look found it. Behind a
    strike at the launcher alone nothing is compared before the next strike or the end: its workers
    still write then, and the next start is to meet them.
    """
    rng, study = random.Random(seed), Study(folder, store)
    struck: list[Point] = []
    position, finished = 0, False
    while len(struck) < points and not finished:
        point, reached = draw(rng, whole, position, points - len(struck))
        ended = strike(study, point, every=rng.choice((0.0, 0.0, 0.1, 60.0)))
        position = reached
        if ended is None:  # the study came to its end before
            finished = True
            continue
        struck.append(point)
        judge(point, ended)
        if point.how != "launcher":  # then the next start comes while the workers are still there
            study.wait_until_alone()
            point.wrong += wrong_so_far(study, whole.facts, whole.checkpoints)
    ended = study.run()
    wrong = [] if ended.status == 0 else [str(ended)]
    if not wrong:
        wrong = differences(whole.facts, facts(study))
        there = mirrored(study.folder / "mlflow.db")
        wrong += differences(by_step(whole.mirrored), by_step(there))
    study.wait_until_alone()
    if wrong and struck:
        struck[-1].wrong += ["at the end:", *wrong]
    elif wrong:
        raise AssertionError(wrong)
    return struck
