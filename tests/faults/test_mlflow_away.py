"""MLflow away, slow, locked or corrupted: promise 5 of docs/reliability.md."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import statistics
import threading
import time

import pytest
from fault_compare import differences, facts, losses, mirrored
from fault_proxy import Server
from fault_study import PATIENCE, Study

from experiments.run.journal import last, read_records

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.close()


def points_held(database):
    """{(arm, term, step): how often} in a store, of losses; and {arm: number of runs}."""
    held = {}
    for key, values in mirrored(database).items():
        arm, _, rest = key.partition(": ")
        if rest.startswith("losses/"):
            curve, _, step = rest.rpartition(" at ")
            held[arm, curve.removeprefix("losses/"), int(step)] = len(values)
    return held


def points_recorded(study):
    """{(arm, term, step): 1} of the cells' journals."""
    recorded = {}
    for arm, cell in study.cells().items():
        for step, values in losses(read_records(cell / "journal.jsonl")).items():
            recorded |= {(arm, term, step): 1 for term in values}
    return recorded


def gaps(study):
    """Seconds between neighbouring records of losses, of all cells: [(when, seconds)]."""
    found = []
    for cell in study.cells().values():
        records = read_records(cell / "journal.jsonl")
        times = [r["time"] for r in records if r["event"] == "losses"]
        found += [(b, b - a) for a, b in itertools.pairwise(times)]
    return found


def outage(study, server, seconds, modes, plan):
    """Run a study that loses its server in every way for so long, from its first step on.

    A way lasts until a request has met it, however long the mirror takes to start; a worker that
    `plan` stops goes on behind the outage, so that the study does not end before.
    """
    study.environment["MLFLOW_TRACKING_URI"] = server.uri
    started = study.start(plan=plan)
    times = []
    deadline = time.monotonic() + 120 * PATIENCE

    def wait_until(sign):
        while not sign():
            assert time.monotonic() < deadline and started.process.poll() is None, started.said
            time.sleep(0.05)

    def trains():
        journals = study.out.glob("cells/*/journal.jsonl")
        return any(last(read_records(path), "losses") for path in journals)

    wait_until(trains)
    if plan:
        wait_until(study.fired)
    for mode in modes:
        seen = server.proxy.seen[mode]
        server.proxy.mode = mode
        times.append(time.time())
        time.sleep(seconds / len(modes))
        wait_until(lambda mode=mode, seen=seen: server.proxy.seen[mode] > seen)
    server.proxy.mode = "pass"
    times.append(time.time())
    if plan:
        os.kill(study.fired()["pid"], signal.SIGCONT)
    return started.end(400), (times[0], times[-1])


def check_outage(study, server, seconds, modes, figures, plan=None):
    server.proxy.seen = dict.fromkeys(server.proxy.seen, 0)
    ended, (begin, end) = outage(study, server, seconds, modes, plan or {})
    assert ended.status == 0, ended
    assert "Traceback" not in ended.said
    recorded, held = points_recorded(study), points_held(server.database)
    lost = [point for point in recorded if point not in held]
    doubled = [point for point, count in held.items() if count > 1]
    away = [gap for when, gap in gaps(study) if begin <= when <= end]
    there = [gap for when, gap in gaps(study) if not begin <= when <= end]
    ratio = statistics.median(away) / statistics.median(there) if there and away else None
    asked = {mode: count for mode, count in server.proxy.seen.items() if count}
    figures.append(
        f"MLflow away for {end - begin:.0f} s ({', '.join(modes)}; requests {asked}): "
        f"{len(lost)} of {len(recorded)} points lost, {len(doubled)} doubled; "
        f"time between records × {ratio:.2f}, longest {max(away, default=0):.2f} s"
        if ratio
        else f"MLflow away for {end - begin:.0f} s: {len(lost)} lost, {len(doubled)} doubled"
    )
    assert not lost and not doubled
    if not plan:  # the worker that was stopped waited for us
        assert max(away, default=0) < 5 * PATIENCE, "training waited for MLflow"
    there = mirrored(server.database, server.artifacts)
    runs = {key: states for key, states in there.items() if key.endswith(": runs")}
    assert set(map(len, runs.values())) == {1}, runs
    for arm in study.cells():
        steps = there[f"{arm}: images"]
        assert len(steps) == len(set(steps)) >= 8, steps


WRITES = ("experiments/create", "runs/create", "runs/log-batch", "runs/set-tag", "runs/update")
"""What the mirror asks of a server that changes something there."""


def test_an_outage_loses_and_doubles_nothing(study, server, whole, figures):
    # What the server does and nobody hears of is done again: everything must bear that.
    server.proxy.lose = list(WRITES)
    plan = {"phase": "train", "path": whole.digests["GAN"], "count": 30, "how": "stop"}
    check_outage(study, server, 0, ("drop", "error", "delay"), figures, plan)
    assert set(server.proxy.lost) >= set(WRITES) - {"runs/set-tag"}, server.proxy.lost


@pytest.mark.long
def test_half_a_minute_of_outage(tmp_path, store, figures):
    study, server = Study(tmp_path / "study", store), Server(tmp_path / "server")
    study.steps = 4000
    try:
        check_outage(study, server, 30, ("drop", "error", "delay", "swallow", "drop"), figures)
    finally:
        study.kill()
        server.close()


def finished(study):
    return all(
        (cell / "journal.jsonl").exists()
        and read_records(cell / "journal.jsonl")[-1:]
        and read_records(cell / "journal.jsonl")[-1]["event"] == "done"
        for cell in study.cells().values()
    )


@pytest.mark.long
def test_a_database_that_another_process_holds_stops_nothing(study, whole):
    free = threading.Event()

    def hold():
        with sqlite3.connect(study.folder / "mlflow.db", isolation_level=None) as connection:
            connection.execute("begin exclusive")
            free.wait(200)
            connection.execute("rollback")

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        started = study.start(plan={})
        deadline = time.monotonic() + 120 * PATIENCE
        while not (list(study.out.glob("suites/mine/*.json")) and finished(study)):
            assert time.monotonic() < deadline and started.process.poll() is None, started.said
            time.sleep(0.1)
    finally:
        free.set()
        holder.join()
    ended = started.end()
    assert "Traceback" not in ended.said
    assert ended.status in (0, 1), ended
    if ended.status == 1:
        assert "--report-only" in ended.said
        assert study.run("--report-only").status == 0
    assert differences(whole.facts, facts(study)) == []
    assert differences(whole.mirrored, mirrored(study.folder / "mlflow.db")) == []


@pytest.mark.long
def test_a_corrupted_database_is_one_line_before_the_training_and_a_new_one_is_filled(study, whole):
    database = study.folder / "mlflow.db"
    content = bytearray(database.read_bytes())
    content[:4096] = b"\xa5" * 4096
    database.write_bytes(content)
    ended = study.run()
    assert ended.status == 2, ended
    assert "Traceback" not in ended.said
    telling = [line for line in ended.said.splitlines() if "not a database" in line]
    assert telling and "mlflow.db" in "".join(telling), ended.said

    for path in study.folder.glob("mlflow.db*"):
        path.unlink()
    ended = study.run()
    assert ended.status == 0, ended
    assert differences(whole.facts, facts(study)) == []
    assert differences(whole.mirrored, mirrored(database)) == []
