import pytest

from experiments.jobs import DataSource, Job
from experiments.progress import Bars, Lines, duration, losses_text

VALUES = {"d_real": 0.6, "d_fake": 0.5, "g_gan": 1.25, "g_l1": 0.2}


def job(title="70x70 seed 1"):
    data = DataSource("procedural", None, "data", "cache")
    return Job("cell", "abc", title, "runs", data, {}, "r", None)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0s"), (59.6, "1m00s"), (75, "1m15s"), (7380, "2h03m")]
)
def test_durations_are_short(seconds, text):
    assert duration(seconds) == text


def test_losses_stand_in_a_fixed_order():
    assert losses_text(VALUES) == "L1 0.200  G 1.25  D 0.60/0.50"
    assert losses_text({"g_l1": 0.2}) == "L1 0.200"


def test_plain_lines_come_at_every_tenth_with_losses_and_time_left(capsys):
    lines = Lines()
    lines(job(), {"event": "phase", "phase": "training", "total": 200})
    for step in range(1, 201):
        event = {"event": "losses", "step": step, "values": VALUES, "seconds_per_step": 0.5}
        lines(job(), event)
    lines(job(), {"event": "done", "seconds": 100.0})
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 1 + 11 + 1
    assert "step 100/200  L1 0.200  G 1.25  D 0.60/0.50  50s left" in err[6]
    assert err[-1].endswith("done")


def test_bars_take_any_arms_name_for_text(capsys):
    bars = Bars()
    strange = job("U-Net [red]x[/] seed 1")
    bars(strange, {"event": "phase", "phase": "training", "total": 10})
    event = {"event": "losses", "step": 5, "values": VALUES, "seconds_per_step": 2.0}
    bars(strange, event)
    bars(strange, {"event": "failed", "error": "[/nothing] to close"})
    bars.close()
    assert "[red]x" in bars.bars.tasks[0].description.replace("\\", "")


def test_a_file_that_was_set_aside_is_said(capsys):
    event = {
        "event": "set aside",
        "file": "checkpoint-0000007.pt.damaged",
        "error": "why",
        "step": 3,
    }
    lines, bars = Lines(), Bars()
    lines(job(), event)
    bars(job(), event)
    bars.close()
    said = capsys.readouterr().err
    assert said.count("checkpoint-0000007.pt.damaged set aside: why") == 2
