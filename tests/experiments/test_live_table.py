import io

import pytest
from rich.console import Console

from experiments.jobs import DataSource, Job
from experiments.live_table import LiveTable

VALUES = {"d_real": 0.6, "d_fake": 0.5, "g_gan": 1.25, "g_l1": 0.2}


def job(digest, title):
    data = DataSource("procedural", None, "data", "cache")
    return Job("cell", digest, title, "runs", data, {}, "r", None)


@pytest.fixture
def terminal():
    return Console(file=io.StringIO(), force_terminal=True, width=110, height=12)


def shown(table):
    """The table as plain text, printed by a console that has no live display."""
    paper = Console(file=io.StringIO(), width=110, height=12)
    paper.print(table.draw())
    return paper.file.getvalue()


def train(table, one, step, total=1000):
    table(one, {"event": "phase", "phase": "training", "total": total})
    table(one, {"event": "losses", "step": step, "values": VALUES, "seconds_per_step": 0.5})


def test_a_running_cell_shows_its_step_losses_and_time_left(terminal):
    jobs = [job("a", "70x70 seed 1"), job("b", "1x1 seed 1")]
    table = LiveTable(jobs, 1, terminal)
    train(table, jobs[0], 400)
    text = shown(table)
    table.close()
    assert "400/1000" in text and "5m00s" in text
    assert "L1 0.200  G 1.25  D 0.60/0.50" in text
    # 300 s of this one, and 500 s for the one that waits, one after the other.
    assert "0 of 2 ended, 1 running, 1 waiting; about 13m20s left" in text


def test_scores_replace_losses_and_failures_say_why(terminal):
    jobs = [job("a", "70x70 seed 1"), job("b", "1x1 seed 1")]
    table = LiveTable(jobs, 2, terminal)
    train(table, jobs[0], 1000)
    table(jobs[0], {"event": "scores", "values": {"fcn.pixel_accuracy": 0.8131}})
    table(jobs[0], {"event": "done", "seconds": 512.0})
    train(table, jobs[1], 10)
    table(jobs[1], {"event": "failed", "error": "step 12: the loss g_gan is nan"})
    table(jobs[1], {"event": "ended", "outcome": "failed"})
    text = shown(table)
    table.close()
    assert "FCN .813" in text and "took 8m32s" in text and "G 1.25" not in text
    assert "failed: step 12: the loss g_gan is nan" in text
    assert "2 of 2 ended (1 failed), 0 running, 0 waiting" in text


def test_an_arms_name_is_text_not_markup(terminal):
    strange = job("a", "U-Net [red]x[/] seed 1")
    table = LiveTable([strange], 1, terminal)
    table(strange, {"event": "failed", "error": "[/nothing] to close"})
    text = shown(table)
    table.close()
    assert "U-Net [red]x[/] seed 1" in text and "[/nothing] to close" in text


def test_the_table_is_never_higher_than_the_terminal(terminal):
    jobs = [job(str(i), f"arm seed {i}") for i in range(60)]
    table = LiveTable(jobs, 2, terminal)
    for one in jobs[:40]:
        table(one, {"event": "done", "seconds": 1.0})
    train(table, jobs[40], 10)
    lines = shown(table).splitlines()
    table.close()
    assert len(lines) < terminal.height
    assert "arm seed 40" in lines[-2] and "earlier ones not shown" in lines[-1]
    assert any("arm seed 39" in line for line in lines)
