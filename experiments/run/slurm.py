"""Slurm as an engine: array jobs through submitit, one task per job, on a shared folder.

A task starts the job's worker on its node and waits for it. Before the time limit Slurm signals
the task, which lets the worker write a checkpoint and requeues itself. What became of a job is read
from its journal, so neither accounting (sacct) nor submitit's own results are needed. The folder
`OUT/slurm` holds submitit's files and, in ARRAY.json, which task does which job.
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from experiments.checks import check_disk, check_networks
from experiments.plan import Plan
from experiments.run.engine import ClusterOptions
from experiments.run.follow import Follower
from experiments.run.jobs import Job, State, state
from experiments.run.journal import Record, write_json
from experiments.run.launcher import Outcome, Watch, WorkerProcess, python_path, record_death
from experiments.run.node import installed, other_versions
from experiments.tracking.process import say
from pix2pix.common.errors import UserError
from pix2pix.common.files import read_json
from pix2pix.common.locks import LEASE, owning
from pix2pix.config import CellConfig

SIGNAL_SECONDS = 90
"""How long before the time limit a task is told; a quarter of the limit where that is less."""
REQUEUES = 10_000
"""Time limits that one job may meet; `FRUITLESS` ends what gets no further."""
FRUITLESS = 3
"""Time limits in a row without a step after which a job has failed."""
ARRAY = 1000
"""Tasks per array where Slurm does not say how many it takes."""
LOOK, ASK = 1.0, 5.0
"""Seconds between two looks at the journals, and between two questions to Slurm."""
GRACE = 15.0
"""Seconds after a task's end in which a shared folder may still show an older journal."""


@dataclass(frozen=True)
class Entry:
    """A task in Slurm's queue."""

    task: str
    """Its number, such as 17_3."""
    state: str
    reason: str
    node: str

    @property
    def text(self) -> str:
        if self.state == "PENDING":
            reason = f" ({self.reason})" if self.reason not in ("", "None") else ""
            return f"waits in Slurm's queue{reason}, task {self.task}"
        return f"{self.state.lower()} on {self.node or 'a node'}, task {self.task}"


def minutes(text: str) -> int:
    """A time limit as sbatch takes it (`90`, `1:30:00`, `2-12`), in minutes, rounded up."""
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if not found:
        raise UserError(f"--time {text}: must be minutes, H:MM:SS or D-HH:MM:SS")
    days, *parts = (int(part) if part is not None else None for part in found.groups())
    first, second, third = parts
    if days is not None:
        seconds = days * 86400 + (first or 0) * 3600 + (second or 0) * 60 + (third or 0)
    elif third is not None:
        seconds = (first or 0) * 3600 + (second or 0) * 60 + third
    else:
        seconds = (first or 0) * 60 + (second or 0)
    if not seconds:
        raise UserError(f"--time {text}: must be at least a minute")
    return math.ceil(seconds / 60)


class Slurm:
    """The tasks of a Slurm cluster whose nodes share `out` with this machine."""

    def __init__(self, out: Path, options: ClusterOptions, threads: int) -> None:
        """UserError if the options name no time limit."""
        if options.time is None:
            raise UserError(
                "--engine slurm needs --time, the time limit of a task, such as 4:00:00; a run "
                "that needs longer is requeued and resumes"
            )
        self.out, self.waits = out.resolve(), options.wait
        self.folder = self.out / "slurm"
        self.gpus, self.parallelism = int(options.gpus_per_run or 0), options.array_parallelism
        self.minutes = minutes(options.time)
        self.sbatch: dict[str, Any] = {"cpus-per-task": threads, "time": self.minutes}
        self.sbatch |= {"partition": options.partition} if options.partition else {}
        self.sbatch |= {"gpus-per-node": self.gpus} if self.gpus else {}
        self.sbatch |= dict(options.sbatch)

    def check(self, plans: Sequence[Plan]) -> None:
        check_networks(plans)
        if importlib.util.find_spec("submitit") is None:
            raise UserError("--engine slurm needs submitit: pip install '.[slurm]'")
        if shutil.which("sbatch") is None:
            raise UserError(
                "--engine slurm: no sbatch here: run this on a login node of the cluster"
            )
        flags = [f"--{name}={value}" for name, value in self.sbatch.items()]
        done = _run("sbatch", "--test-only", *flags, "--wrap=true")
        if done.returncode:
            partitions = sorted({p.rstrip("*") for p in _run("sinfo", "-ho%P").stdout.split()})
            raise UserError(
                f"--engine slurm: Slurm refuses {' '.join(flags)}: {_first_error(done.stderr)} "
                f"(partitions here: {', '.join(partitions) or 'none that sinfo names'})"
            )

    def place(self, jobs: Sequence[Job]) -> str:
        check_disk(self.out, jobs, self.at_once(jobs))
        return " on Slurm"

    def at_once(self, jobs: Sequence[Job]) -> int:
        return min(len(jobs), self.parallelism or len(jobs))

    def launch(
        self, jobs: Sequence[Job], watch: Watch, signals: Sequence[int]
    ) -> dict[str, Outcome]:
        """As `Engine.launch`. Jobs that are in Slurm's queue already are not submitted again."""
        follower = Follower(watch)
        for job in jobs:
            follower.begin(job)
        with owning(self.folder / "submit.lock"):  # no second command submits the same jobs
            tasks = self._submit_new(jobs)
        if self.waits:
            return _Following(jobs, tasks, follower, signals, self).to_the_end()
        say(
            "they run without this command. To look: the same command with --status; to wait: "
            "with --wait; to collect what is finished: with --report-only; to stop: scancel "
            + " ".join(sorted({task.partition("_")[0] for task in tasks.values()}))
        )
        return {}

    def _submit_new(self, jobs: Sequence[Job]) -> dict[str, str]:
        """Submit the jobs that are not in Slurm's queue; {digest: task} of all."""
        queue = queued(self.out)
        if queue is None:
            raise UserError("--engine slurm: squeue does not answer: try again when Slurm is back")
        new = [job for job in jobs if job.digest not in queue]
        tasks = {job.digest: queue[job.digest].task for job in jobs if job.digest in queue}
        if tasks:
            say(f"{len(tasks)} of them are in Slurm's queue already")
        return tasks | self.submit(new)

    def submit(self, jobs: Sequence[Job]) -> dict[str, str]:
        """Hand jobs over to Slurm, in arrays that follow one another; {digest: task}.

        Jobs that take the generator of another one come after it, so that none holds a node while
        it waits.
        """
        import submitit

        found = re.search(r"MaxArraySize\s*=\s*(\d+)", _run("scontrol", "show", "config").stdout)
        most = int(found[1]) if found else ARRAY
        tasks: dict[str, str] = {}
        after: dict[str, str] = {}
        for part in _arrays(jobs, most):
            executor = submitit.AutoExecutor(
                self.folder, cluster="slurm", slurm_max_num_timeout=REQUEUES
            )
            executor.update_parameters(
                name="pix2pix",
                timeout_min=self.minutes,
                slurm_array_parallelism=self.parallelism or len(part),
                slurm_signal_delay_s=min(SIGNAL_SECONDS, self.minutes * 15),
                slurm_setup=[f"export {k}={shlex.quote(v)}" for k, v in python_path().items()],
                slurm_additional_parameters={**self.sbatch, "requeue": True, **after},
            )
            here = installed()
            device = "cuda:0" if self.gpus else "cpu"
            work = [Task(replace(job, device=device).to_json(), here) for job in part]
            try:
                with executor.batch():
                    submitted = [executor.submit(task) for task in work]
            except (
                submitit.core.utils.FailedJobError,
                submitit.core.utils.FailedSubmissionError,
            ) as error:
                raise UserError(f"--engine slurm: {_first_error(str(error))}") from None
            ids = {job.digest: one.job_id for job, one in zip(part, submitted, strict=True)}
            array = submitted[0].job_id.partition("_")[0]
            write_json(self.folder / f"{array}.json", ids)
            after = {"dependency": f"afterany:{array}"}
            tasks |= ids
        return tasks


def _arrays(jobs: Sequence[Job], most: int) -> Iterator[Sequence[Job]]:
    """The jobs in parts of at most so many; those that share an earlier one's training last."""
    trainings: set[str] = set()
    first: list[Job] = []
    later: list[Job] = []
    for job in jobs:
        config = job.config
        training = config.as_trained.digest if isinstance(config, CellConfig) else job.digest
        (later if training in trainings else first).append(job)
        trainings.add(training)
    for some in (first, later):
        yield from (some[start : start + most] for start in range(0, len(some), most))


class Task:
    """What a node runs: the worker of one job. submitit pickles it and calls `checkpoint`."""

    def __init__(self, job: str, expected: dict[str, str], fruitless: int = 0) -> None:
        """`expected`: what the launcher has installed; `fruitless`: time limits without a step."""
        self.job, self.expected, self.fruitless = job, expected, fruitless
        self._worker: WorkerProcess | None = None
        self._before = State("new")
        self._asked = False

    def __call__(self) -> str:
        """Do the job; how it ended. RuntimeError if it failed, so that Slurm knows that, too."""
        job = Job.from_json(self.job)
        if others := other_versions(self.expected, installed()):
            reason = (
                f"node {_node()} has {others}: results would differ in their last bits (if this "
                "project was changed since the runs were submitted, start the command again)"
            )
            record_death(job, reason)
            raise RuntimeError(reason)
        self._before = state(job)
        patience = time.monotonic() + 2 * LEASE  # a lost node's lease ends within that
        while True:
            self._worker = WorkerProcess(job)
            signal.signal(signal.SIGTERM, self._stop)  # preemption, scontrol requeue, scancel
            ended = self._worker.wait()
            if ended is not None:
                if ended.killed:
                    record_death(job, ended.reason)
                if ended.word == "failed":
                    raise RuntimeError(ended.reason)
                return ended.word
            if self._asked or time.monotonic() > patience:
                say("another process owns the run directory and goes on with it")
                return "stopped"
            time.sleep(LOOK)

    def checkpoint(self) -> Any:
        """At the time limit: stop in order and come again; None if that leads nowhere."""
        from submitit.helpers import DelayedSubmission

        job = Job.from_json(self.job)
        self._stop(wait=True)
        now = state(job)
        stuck = (now.word, now.step) == (self._before.word, self._before.step)
        fruitless = self.fruitless + 1 if stuck else 0
        if fruitless >= FRUITLESS:
            record_death(job, f"no step in {FRUITLESS} time limits in a row: raise --time")
            return None
        return DelayedSubmission(Task(self.job, self.expected, fruitless))

    def _stop(self, *_: object, wait: bool = False) -> None:
        self._asked = True
        if self._worker:
            self._worker.stop(wait=wait)


class _Following:
    """Waits for tasks and shows their progress."""

    def __init__(
        self,
        jobs: Sequence[Job],
        tasks: Mapping[str, str],
        follower: Follower,
        signals: Sequence[int],
        slurm: Slurm,
    ) -> None:
        self.tasks, self.follower, self.signals, self.slurm = tasks, follower, signals, slurm
        self.left = {job.digest: job for job in jobs}
        self.outcomes: dict[str, Outcome] = {}
        self.ending: dict[str, Record] = {}
        """{digest: its newest `done` or `failed` of this launch}"""
        self.gone: dict[str, float] = {}
        """{digest: when its task was first seen to have left the queue}"""
        self.shown: dict[str, str] = {}

    def to_the_end(self) -> dict[str, Outcome]:
        cancelled, asked = False, -math.inf
        while self.left:
            if self.signals and not cancelled:
                cancelled = True
                _cancel([self.tasks[digest] for digest in self.left])
            if len(self.signals) > 1:
                for digest in list(self.left):
                    self._end(digest, Outcome("stopped"))
                break
            if time.monotonic() - asked >= ASK:
                asked = time.monotonic()
                self._look(queued(self.slurm.out))
            time.sleep(LOOK)
        return self.outcomes

    def _look(self, queue: Mapping[str, Entry] | None) -> None:
        """Pass on what is new; `queue` is None where Slurm does not answer now."""
        for digest, job in list(self.left.items()):
            for record in self.follower.look(job):
                if record["event"] in ("done", "failed", "start"):
                    self.ending[digest] = record
            entry = (queue or {}).get(digest)
            if entry is not None or queue is None:
                self.gone.pop(digest, None)
                if entry and self.shown.get(digest) != entry.text:
                    self.shown[digest] = entry.text
                    self.follower.watch(job, {"event": "phase", "phase": entry.text})
                continue
            if outcome := self._outcome(job, self.gone.setdefault(digest, time.monotonic())):
                self._end(digest, outcome)

    def _outcome(self, job: Job, gone: float) -> Outcome | None:
        """How a job ended whose task has left the queue; None if its journal may be late."""
        ending = self.ending.get(job.digest)
        if ending and ending["event"] == "failed":
            return Outcome("failed", ending["error"])
        if state(job).word == "done" or (ending and ending["event"] == "done"):
            return Outcome("done")
        task = self.tasks[job.digest]
        word, node = _how_it_ended(task)
        if self.signals or word in ("CANCELLED", "PREEMPTED"):
            return Outcome("stopped")
        if time.monotonic() - gone < GRACE:
            return None
        if word == "COMPLETED":  # another process owns the run directory
            return Outcome("stopped")
        log = self.slurm.folder / f"{task}_0_log.err"
        where = f" on {node}" if node else ""
        reason = f"Slurm ended task {task} as {word or 'unknown'}{where} (see {log})"
        if ending is None:
            reason += f"; it never began: does the node see {self.slurm.out} and this project?"
        record_death(job, reason)
        self.follower.look(job)
        return Outcome("failed", reason)

    def _end(self, digest: str, outcome: Outcome) -> None:
        self.outcomes[digest] = outcome
        self.follower.watch(self.left.pop(digest), {"event": "ended", "outcome": outcome.word})


def queued(out: Path) -> dict[str, Entry] | None:
    """{digest: its task in Slurm's queue} of what was submitted from `out`; None if Slurm does not
    answer. No Slurm here and nothing submitted: empty."""
    jobs: dict[str, str] = {}
    for path in sorted((out / "slurm").glob("*.json")):
        with contextlib.suppress(OSError, ValueError):
            jobs |= {task: digest for digest, task in read_json(path).items()}
    if not jobs:
        return {}
    done = _run("squeue", "--me", "--noheader", "--array", "--format=%i|%T|%r|%N")
    if done.returncode:
        return None
    found = {}
    for line in done.stdout.splitlines():
        task, *rest = line.split("|")
        if task in jobs and len(rest) == 3:
            found[jobs[task]] = Entry(task, *rest)
    return found


def _how_it_ended(task: str) -> tuple[str, str]:
    """(Slurm's word, node) of a task that has left the queue; empty if Slurm has forgotten it."""
    text = _run("scontrol", "--oneliner", "show", "job", task).stdout
    word, node = (re.search(rf"\b{name}=(\S+)", text) for name in ("JobState", "NodeList"))
    return word[1] if word else "", node[1] if node and node[1] != "(null)" else ""


def _cancel(tasks: Sequence[str]) -> None:
    for start in range(0, len(tasks), 500):
        _run("scancel", *tasks[start : start + 500])


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    """A command of Slurm's; status 127 where it is missing or hangs."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, errors="replace")
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))


def _first_error(text: str) -> str:
    lines = [line.partition("error: ")[2] or line for line in text.splitlines() if line.strip()]
    return lines[0] if lines else "no reason given"


def _node() -> str:
    return os.environ.get("SLURMD_NODENAME") or os.uname().nodename
