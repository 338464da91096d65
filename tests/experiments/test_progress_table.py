import io

import pytest
from planned_jobs import cell_job
from rich.console import Console

from experiments.progress import LiveTable, shortened

VALUES = {"d_real": 0.6, "d_fake": 0.5, "g_gan": 1.25, "g_l1": 0.2}


@pytest.fixture
def terminal():
    return Console(file=io.StringIO(), force_terminal=True, width=110, height=12)


def shown(table):
    """The table as plain text, printed by a console that has no live display."""
    paper = Console(file=io.StringIO(), width=table.console.width, height=12)
    paper.print(table.draw())
    return paper.file.getvalue()


def train(table, one, step, total=1000):
    table(one, {"event": "phase", "phase": "training", "total": total})
    table(one, {"event": "losses", "step": step, "values": VALUES, "seconds_per_step": 0.5})


def test_a_running_cell_shows_its_step_losses_and_time_left(terminal):
    jobs = [cell_job("a", "70x70 seed 1"), cell_job("b", "1x1 seed 1")]
    table = LiveTable(jobs, 1, terminal)
    train(table, jobs[0], 400)
    text = shown(table)
    table.close()
    assert "400/1000" in text and "5m00s" in text
    assert "L1 0.200  G 1.25  D 0.60/0.50" in text
    # 300 s of this one, and 500 s for the one that waits, one after the other.
    assert "0 of 2 ended, 1 running, 1 waiting; about 13m20s left" in text


def test_scores_replace_losses_and_failures_say_why(terminal):
    jobs = [cell_job("a", "70x70 seed 1"), cell_job("b", "1x1 seed 1")]
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
    strange = cell_job("a", "U-Net [red]x[/] seed 1")
    table = LiveTable([strange], 1, terminal)
    table(strange, {"event": "failed", "error": "[/nothing] to close"})
    text = shown(table)
    table.close()
    assert "U-Net [red]x[/] seed 1" in text and "[/nothing] to close" in text


def test_the_table_is_never_higher_than_the_terminal(terminal):
    jobs = [cell_job(str(i), f"arm seed {i}") for i in range(60)]
    table = LiveTable(jobs, 2, terminal)
    for one in jobs[:40]:
        table(one, {"event": "done", "seconds": 1.0})
    train(table, jobs[40], 10)
    lines = shown(table).splitlines()
    table.close()
    assert len(lines) < terminal.height
    assert "arm seed 40" in lines[-2] and "earlier ones not shown" in lines[-1]
    assert any("arm seed 39" in line for line in lines)


def test_a_closed_table_is_whole(terminal):
    jobs = [cell_job(str(i), f"arm seed {i}") for i in range(60)]
    table = LiveTable(jobs, 2, terminal)
    for one in jobs[:40]:
        table(one, {"event": "done", "seconds": 1.0})
    table(jobs[40], {"event": "ended", "outcome": "stopped"})
    table.close()
    lines = shown(table).splitlines()
    assert [line.split()[2] for line in lines[1:-1]] == [str(i) for i in range(60)]
    assert lines[-1].strip() == "41 of 60 ended, 19 not started"


def test_waiting_cells_are_shown_while_there_is_room(terminal):
    jobs = [cell_job("a", "70x70 seed 1"), cell_job("b", "1x1 seed 1")]
    table = LiveTable(jobs, 1, terminal)
    train(table, jobs[0], 400)
    lines = shown(table).splitlines()
    table.close()
    assert lines[1].startswith("70x70 seed 1") and lines[2].split() == [
        "1x1",
        "seed",
        "1",
        "waiting",
    ]


def test_a_phase_without_steps_has_no_time_left(terminal):
    jobs = [cell_job("a", "70x70 seed 1"), cell_job("b", "1x1 seed 1")]
    table = LiveTable(jobs, 1, terminal)
    train(table, jobs[0], 1000)
    table(jobs[0], {"event": "phase", "phase": "scoring"})
    line = shown(table).splitlines()[1]
    assert line.split() == ["70x70", "seed", "1", "scoring"]
    # The next one takes what this one took, scoring and all.
    table(jobs[0], {"event": "done", "seconds": 600.0})
    table(jobs[1], {"event": "phase", "phase": "scoring"})
    foot = shown(table).splitlines()[-1]
    table.close()
    assert "0 waiting; about 10m00s left" in foot or "0 waiting; about 9m59s left" in foot


def test_eighty_columns_hold_steps_time_and_scores():
    narrow = Console(file=io.StringIO(), force_terminal=True, width=80, height=24)
    arms = ["encoder-decoder (L1)", "encoder-decoder (L1+cGAN)"]
    jobs = [cell_job(str(i), f"{arm} seed {i}") for i, arm in enumerate(arms)]
    table = LiveTable(jobs, 2, narrow)
    train(table, jobs[0], 2999, 3000)
    names = ("fcn.pixel_accuracy", "fcn.class_accuracy", "fcn.class_iou")
    scores = dict.fromkeys((*names, "color.L", "color.a", "color.b"), 0.51)
    table(jobs[1], {"event": "scores", "values": scores})
    table(jobs[1], {"event": "done", "seconds": 3723.0})
    lines = shown(table).splitlines()
    table.close()
    assert max(map(len, lines)) <= 80 and len(lines) == 4
    assert "2999/3000" in lines[2] and "0s left" in lines[2] and "L1 0.200" in lines[2]
    assert "took 1h02m" in lines[1] and "FCN .510/.510/.510  Lab .51/.51/.51" in lines[1]
    assert lines[1].split("  ")[0].endswith("L1+cGAN) seed 1")


def test_a_shortened_title_keeps_its_end():
    assert shortened("70x70 seed 1", 20) == "70x70 seed 1"
    assert shortened("encoder-decoder (L1) seed 12", 20) == "enco…er (L1) seed 12"
