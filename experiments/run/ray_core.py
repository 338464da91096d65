"""Ray as an engine: one task of Ray Core per job, on the nodes of a cluster that share `out`, or
that send their runs there (ray_apart.py).

A task starts the job's worker in a process of its own and waits for it, because Ray uses its own
worker processes again. A job whose worker or node died is handed to Ray again, up to RETRIES
times; the run then resumes from its checkpoint. Progress is read from the journals in `out`.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from experiments.checks import check_disk, check_networks
from experiments.plan import Plan
from experiments.run.follow import Follower
from experiments.run.jobs import Job
from experiments.run.launcher import (
    LOOK_AGAIN,
    Outcome,
    Watch,
    WorkerProcess,
    next_job,
    record_death,
)
from experiments.run.node import ROOT, installed, other_versions
from experiments.tracking.process import say
from pix2pix.common.errors import UserError
from pix2pix.common.files import write_whole

if TYPE_CHECKING:
    from experiments.run.ray_apart import Luggage

RETRIES = 10
"""How often a job is begun again whose worker or node died."""
LOOK = 0.5
"""Seconds between two looks at the journals."""
PROBE_SECONDS = 120.0
"""How long a node may take to answer; its first process imports the project."""
CLOCK_SECONDS = 60.0


class Ray:
    """The nodes of a Ray cluster."""

    waits = True

    def __init__(
        self,
        out: Path,
        *,
        address: str = "auto",
        threads: int = 1,
        gpus: float | None = None,
        workers: int | None = None,
        data: Sequence[Path] = (),
        apart: bool = False,
    ) -> None:
        """`gpus`: of one job, by default 1 if the cluster has any; `data`: what nodes must read;
        `apart`: they share neither it nor `out`."""
        self.out, self.address, self.workers = out.resolve(), address, workers
        self.threads, self.gpus, self.data = threads, gpus, [path.resolve() for path in data]
        self.apart = apart
        self.nodes: list[dict[str, Any]] = []
        self.slots = 0

    def check(self, plans: Sequence[Plan]) -> None:
        check_networks(plans)
        larger = [p for p in plans if any(c.translation.scale > 1 for c in p.configs())]
        if self.apart and larger:
            raise UserError(
                f"--no-shared-folder: suite {larger[0].suite.name} needs the images at two sizes,"
                " which nodes on their own do not get"
            )
        self._connect()
        import ray

        self.nodes = [node for node in ray.nodes() if node["Alive"]]
        if self.gpus is None:
            self.gpus = 1.0 if any(node["Resources"].get("GPU") for node in self.nodes) else 0.0
        self.slots = sum(map(self._slots, self.nodes))
        if not self.slots:
            have = "; ".join(
                f"{_name(node)} has {node['Resources'].get('CPU', 0):g} CPUs and "
                f"{node['Resources'].get('GPU', 0):g} GPUs"
                for node in self.nodes
            )
            raise UserError(
                f"--engine ray: no node can ever take a run with {self.threads} CPU(s) and "
                f"{self.gpus:g} GPU(s): {have} (see --threads, --gpus-per-run)"
            )
        self.nodes = [node for node in self.nodes if self._slots(node)]  # a head may have none
        self._check_nodes()

    def place(self, jobs: Sequence[Job]) -> str:
        at_once = self.at_once(jobs)
        check_disk(self.out, jobs, at_once)
        return f" on a Ray cluster of {len(self.nodes)} node(s), {at_once} at a time"

    def at_once(self, jobs: Sequence[Job]) -> int:
        return max(1, min(len(jobs), self.workers or self.slots))

    def launch(
        self, jobs: Sequence[Job], watch: Watch, signals: Sequence[int]
    ) -> dict[str, Outcome]:
        """As `Engine.launch`. More tasks are handed to Ray than it has room for, so that a cluster
        that grows by itself does."""
        if not self.apart:
            return self._launch(jobs, watch, signals, None)
        from experiments.run.ray_apart import Luggage

        luggage = Luggage()
        outcomes: dict[str, Outcome] = {}
        for kind in ("reference", "cell"):  # cells take their reference and its scorer along
            some = [job for job in jobs if job.kind == kind]
            outcomes |= self._launch(some, watch, signals, luggage)
        return outcomes

    def _launch(
        self, jobs: Sequence[Job], watch: Watch, signals: Sequence[int], luggage: Luggage | None
    ) -> dict[str, Outcome]:
        import ray

        remote = ray.remote(_task()).options(
            num_cpus=self.threads, num_gpus=self.gpus or 0, max_retries=0
        )
        here, device = installed(), "cuda:0" if self.gpus else "cpu"
        most = self.workers or 2 * self.slots + 8
        waiting = [(0.0, job) for job in jobs]
        running: dict[Any, Job] = {}
        outcomes: dict[str, Outcome] = {}
        killed: Counter[str] = Counter()
        follower, asked = Follower(watch), False

        def end(job: Job, outcome: Outcome) -> None:
            follower.look(job)
            outcomes[job.digest] = outcome
            watch(job, {"event": "ended", "outcome": outcome.word})

        while waiting or running:
            while len(running) < most and not signals and (job := next_job(waiting, watch)):
                if luggage and not luggage.own(job):
                    waiting.append((time.monotonic() + LOOK_AGAIN, job))
                    continue
                follower.begin(job)
                text = replace(job, device=device).to_json()
                taken = (luggage.mailbox, *luggage.of(job)) if luggage else ()
                running[remote.remote(str(ROOT), text, here, taken)] = job
            if signals and not asked:
                asked = True
                for ref in running:
                    ray.cancel(ref)
                outcomes |= {job.digest: Outcome("stopped") for _, job in waiting}
                waiting.clear()
            if len(signals) > 1:
                for ref, job in running.items():
                    ray.cancel(ref, force=True)
                    end(job, Outcome("stopped"))
                break
            if not running:  # all that is left is owned by others
                time.sleep(LOOK)
                continue
            ready, _ = ray.wait(list(running), num_returns=1, timeout=LOOK)
            if luggage:
                luggage.collect()
            for job in running.values():
                follower.look(job)
            for ref in ready:
                job = running.pop(ref)
                outcome = _result(ref)
                if luggage:
                    luggage.release(job)
                if signals and (outcome is None or outcome.word != "done"):
                    outcome = Outcome("stopped")
                elif outcome is None:  # another process owns the run directory
                    waiting.append((time.monotonic() + LOOK_AGAIN, job))
                    continue
                elif outcome.killed and killed[job.digest] < RETRIES:
                    killed[job.digest] += 1
                    watch(job, {"event": "phase", "phase": f"begun again: {outcome.reason}"})
                    waiting.insert(0, (0.0, job))
                    continue
                elif outcome.killed:
                    record_death(job, outcome.reason)
                end(job, outcome)
        return outcomes

    def _connect(self) -> None:
        """Connect this process to the cluster; UserError if none answers."""
        if importlib.util.find_spec("ray") is None:
            raise UserError("--engine ray needs Ray: pip install '.[ray]'")
        _use_token()
        import ray

        _check_answers(self.address)
        before = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(
                self.address,
                ignore_reinit_error=True,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except Exception as error:  # ConnectionError, RuntimeError, and others with its versions
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            reason = lines[0] if lines else type(error).__name__
            raise UserError(
                f"--address {self.address}: no Ray cluster can be used there: {reason} "
                "(ray start --head begins one)"
            ) from None
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, before)  # Ray's own would end without a word

    def _slots(self, node: Mapping[str, Any]) -> int:
        """How many jobs a node takes at once."""
        has, gpus = node["Resources"], self.gpus or 0
        slots = int(has.get("CPU", 0) // self.threads)
        return min(slots, int(has.get("GPU", 0) // gpus)) if gpus else slots

    def _check_nodes(self) -> None:
        """UserError naming the node that has other versions or does not share the folders."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        token, content = self.out / f".token-{secrets.token_hex(4)}", secrets.token_hex(8)
        write_whole(token, content.encode())
        began = time.time()
        checked = []
        try:
            asked = [
                ray.remote(_probe())
                .options(
                    num_cpus=0,
                    scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
                )
                .remote(
                    *(str(ROOT), "" if self.apart else str(token), content, node["NodeID"]),
                    list(map(str, self.data)),
                )
                for node in self.nodes
            ]
            for node, ref in zip(self.nodes, asked, strict=True):
                try:
                    problem, there, clock = ray.get(ref, timeout=PROBE_SECONDS)
                except ray.exceptions.RayError as error:
                    if any(n["NodeID"] == node["NodeID"] and n["Alive"] for n in ray.nodes()):
                        raise UserError(f"node {_name(node)}: {_reason(error)}") from None
                    say(f"node {_name(node)} has gone: it is left out")
                    continue
                answered = token.with_name(f"{token.name}.{node['NodeID']}")
                if not problem and not self.apart and not answered.exists():
                    problem = f"what it writes into {self.out} does not arrive here"
                if not problem and (others := other_versions(installed(), there)):
                    problem = f"has {others}: results would differ in their last bits"
                if problem:
                    raise UserError(f"--engine ray: node {_name(node)}: {problem}")
                # It answered at some time between the question and now.
                off = min(clock - began, 0) or max(clock - time.time(), 0)
                if abs(off) > CLOCK_SECONDS:
                    say(f"node {_name(node)}: its clock differs by {off:+.0f} s")
                checked.append(node)
        finally:
            for path in self.out.glob(f"{token.name}*"):
                path.unlink(missing_ok=True)
        self.nodes, self.slots = checked, sum(map(self._slots, checked))


def do_job(text: str, expected: Mapping[str, str], taken: Sequence[Any]) -> Outcome | None:
    """What a task does on its node; None if another process owns the run directory. `taken`: what
    `Luggage` gave it; empty where the nodes share a folder."""
    job = Job.from_json(text)
    if others := other_versions(expected, installed()):  # a node that joined later
        reason = f"node {socket.gethostname()} has {others}: results would differ"
        if not taken:
            record_death(job, reason)
        return Outcome("failed", reason)
    if taken:
        from experiments.run.ray_apart import do_job_apart

        return do_job_apart(text, *taken)
    worker = WorkerProcess(job)
    try:
        return worker.wait()
    except KeyboardInterrupt:  # of ray.cancel
        worker.stop(wait=True)
        return Outcome("stopped")


def _task() -> Any:
    """The function of a task. Ray sends functions within functions by value, so it runs before the
    project can be imported there."""

    def task(
        root: str, text: str, expected: dict[str, str], taken: Sequence[Any]
    ) -> tuple[str, str, bool] | None:
        import os
        import sys

        if os.path.isdir(root) and root not in sys.path:
            sys.path.insert(0, root)
        from experiments.run.ray_core import do_job

        ended = do_job(text, expected, taken)
        return None if ended is None else (ended.word, ended.reason, ended.killed)

    return task


def _probe() -> Any:
    """The function that asks a node; (problem, what it has installed, its clock)."""

    def probe(
        root: str, token: str, content: str, name: str, data: list[str]
    ) -> tuple[str, dict[str, str], float]:
        import os
        import sys
        import time

        if os.path.isdir(root) and root not in sys.path:
            sys.path.insert(0, root)
        try:
            from experiments.run.node import answer, installed
        except ImportError as error:
            return f"cannot import this project ({error}): install it there", {}, time.time()
        problem = answer(token, content, name, data) if token else ""
        return problem, installed(), time.time()

    return probe


def _result(ref: Any) -> Outcome | None:
    """How the task of a reference ended."""
    import ray

    try:
        result = ray.get(ref)
    except ray.exceptions.TaskCancelledError:
        return Outcome("stopped")
    except (
        ray.exceptions.WorkerCrashedError,
        ray.exceptions.NodeDiedError,
        ray.exceptions.OutOfMemoryError,
    ) as error:
        return Outcome("failed", _reason(error), killed=True)
    except ray.exceptions.RayError as error:
        return Outcome("failed", _reason(error))
    return None if result is None else Outcome(*result)


def _reason(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"Ray: {type(error).__name__}: {lines[-1] if lines else 'no reason given'}"


def _name(node: Mapping[str, Any]) -> str:
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"


def _use_token() -> None:
    """Talk to the cluster with a token where there is one, as `ray start` does since 2.59; ray.init
    takes it only if it is told so, before Ray is imported."""
    token = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    if token or Path("~/.ray/auth_token").expanduser().exists():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _check_answers(address: str) -> None:
    """UserError if nobody listens at an address; Ray itself would try for minutes."""
    if address == "auto":
        return
    found = urlsplit(address if "://" in address else f"//{address}")
    try:
        port = found.port
    except ValueError:
        port = None
    if not found.hostname or not port or found.scheme not in ("", "ray"):
        raise UserError(f"--address {address}: must be auto, HOST:6379 or ray://HOST:10001")
    try:
        socket.create_connection((found.hostname, port), timeout=5).close()
    except OSError as error:
        raise UserError(f"--address {address}: nobody answers: {error.strerror or error}") from None
