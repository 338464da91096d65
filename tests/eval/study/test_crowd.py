"""Many participants at once, and a server that is killed: nothing is lost or doubled."""

import asyncio
import sqlite3
import threading

import numpy as np
import pytest
from crowd import crowd
from served_study import arguments, paint, running

from eval.study.answers import DATABASE, Answers
from eval.study.design import Study


def survives(tmp_path, people, trials, images, look, think, kills, size, figures=None):
    """Serve a study to a crowd, kill the server at `kills` (shares of all answers), compare."""
    options = [*arguments(paint(tmp_path / "images", images, size)), "--practice=1"]
    out = tmp_path / "study"
    command = ["eval.study", "serve", f"--out={out}", *options, f"--trials={trials - 1}"]
    with running(command) as server:
        server._command = [*server._command[:4], f"--out={out}"]
        persons: list = []
        walk = threading.Thread(
            target=lambda: persons.extend(asyncio.run(crowd(server.port, people, look, think)))
        )
        walk.start()
        for share in kills:
            wait_for_answers(out, share * people * trials, walk)
            server.kill()
            server.start()
        walk.join()
        seconds = server.cpu_seconds()
        answers = Answers(out, Study.read(out))
        table = answers.table()
        assert server.stop() in (0, 130)  # 0 where a shell made SIGINT ignored
    assert len(persons) == people
    assert len(table) == people * trials
    by_code = {person.code: person for person in persons}
    assert len(by_code) == people
    assert set(table.code) == set(by_code)
    for row in table.itertuples():
        assert row.choice == by_code[row.code].choice(row.trial)
    assert not table.duplicated(["participant", "trial"]).any()
    started = table.groupby("arm").participant.nunique()
    assert started.max() - started.min() <= 1
    latencies = np.concatenate([person.latencies for person in persons])
    return latencies, seconds, sum(person.repeats for person in persons)


def wait_for_answers(out, count, walk):
    database = sqlite3.connect(out / DATABASE, timeout=30)
    while walk.is_alive():
        (found,) = database.execute("SELECT COUNT(*) FROM answers").fetchone()
        if found >= count:
            break
        walk.join(0.05)
    database.close()


def test_a_killed_server_loses_and_doubles_nothing(tmp_path):
    _, _, repeats = survives(tmp_path, 30, 8, 10, 0.05, 0.05, (0.4,), (24, 32))
    assert repeats > 0


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("kills", [(), (0.2, 0.5, 0.8)], ids=["undisturbed", "killed"])
def test_two_hundred_participants_at_once(tmp_path, kills, figures):
    """Fifty trials each of 256×256 pixels; a person looks for a second and thinks for one more."""
    found = survives(tmp_path, 200, 50, 60, 1.5, 1.0, kills, (256, 256))
    latencies, seconds, repeats = found
    p50, p95, p99 = (1000 * np.percentile(latencies, q) for q in (50, 95, 99))
    figures.append(
        f"200 participants, {len(kills)} kills: answers p50 {p50:.0f}, p95 {p95:.0f}, p99 {p99:.0f}"
        f" ms; {seconds:.0f} s of processor time of the last server; {repeats} repeated requests"
    )
