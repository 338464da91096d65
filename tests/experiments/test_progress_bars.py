import errno
import io

import pytest
from planned_jobs import cell_job
from rich.console import Console

from experiments.progress import Bars

VALUES = {"d_real": 0.6, "d_fake": 0.5, "g_gan": 1.25, "g_l1": 0.2}


@pytest.fixture
def terminal():
    return Console(file=io.StringIO(), force_terminal=True, width=110, height=12)


def shown(bars):
    """The bars as plain text, printed by a console that has no live display."""
    paper = Console(file=io.StringIO(), width=bars.bars.console.width, height=12)
    paper.print(bars.bars)
    return paper.file.getvalue()


def train(bars, one, step, total=1000):
    bars(one, {"event": "phase", "phase": "training", "total": total})
    bars(one, {"event": "losses", "step": step, "values": VALUES, "seconds_per_step": 0.5})


def test_a_running_cell_shows_its_step_losses_and_time_left(terminal):
    jobs = [cell_job("a", "70x70 seed 1"), cell_job("b", "1x1 seed 1")]
    bars = Bars(jobs, 1, terminal)
    train(bars, jobs[0], 400)
    text = shown(bars)
    bars.close()
    assert "step 400/1000  5m00s left  L1 0.200  G 1.25  D 0.60/0.50" in text
    # 300 s of this one, and 500 s for the one that waits, one after the other.
    assert "about 13m20s left; 0 ended, 1 running, 1 waiting" in text


def test_scores_and_reasons_of_failures_stay_above_the_bars(terminal):
    jobs = [cell_job("a", "70x70 seed 1"), cell_job("b", "1x1 seed 1")]
    bars = Bars(jobs, 2, terminal)
    train(bars, jobs[0], 1000)
    bars(jobs[0], {"event": "phase", "phase": "scoring"})
    assert "scoring" in shown(bars)
    bars(jobs[0], {"event": "scores", "values": {"fcn.pixel_accuracy": 0.8131}})
    bars(jobs[0], {"event": "done", "seconds": 512.0})
    bars(jobs[0], {"event": "ended", "outcome": "done"})
    train(bars, jobs[1], 10)
    bars(jobs[1], {"event": "failed", "error": "step 12: the loss g_gan is nan"})
    bars(jobs[1], {"event": "ended", "outcome": "failed"})
    text, above = shown(bars), terminal.file.getvalue()
    bars.close()
    assert "70x70 seed 1  FCN .813" in above and "70x70 seed 1  done in 8m32s" in above
    assert "1x1 seed 1  FAILED: step 12: the loss g_gan is nan" in above
    assert "2 ended (1 failed), 0 running, 0 waiting" in text
    assert "seed 1" not in text


def test_an_arms_name_is_text_not_markup(terminal):
    strange = cell_job("a", "U-Net [red]x[/] seed 1")
    bars = Bars([strange], 1, terminal)
    bars(strange, {"event": "failed", "error": "[/nothing] to close"})
    text, above = shown(bars), terminal.file.getvalue()
    bars.close()
    assert "U-Net [red]x[/] seed 1" in text
    assert "U-Net [red]x[/] seed 1  FAILED: [/nothing] to close" in above


def test_a_job_that_another_process_finished_is_not_counted_as_training(terminal):
    jobs = [cell_job("a", "70x70 seed 1"), cell_job("b", "1x1 seed 1")]
    bars = Bars(jobs, 1, terminal)
    bars(jobs[0], {"event": "phase", "phase": "owned by process 1 on node3"})
    assert "owned by process 1 on node3" in shown(bars)
    bars(jobs[0], {"event": "done", "seconds": 0.0})
    bars(jobs[0], {"event": "ended", "outcome": "done"})
    text = shown(bars)
    bars.close()
    assert "1 ended, 0 running, 1 waiting" in text and "left" not in text


def test_eighty_columns_hold_the_title_the_step_and_the_time_left():
    narrow = Console(file=io.StringIO(), force_terminal=True, width=80, height=24)
    jobs = [cell_job("a", "encoder-decoder (L1+cGAN) seed 12")]
    bars = Bars(jobs, 2, narrow)
    train(bars, jobs[0], 2999, 3000)
    lines = shown(bars).splitlines()
    bars.close()
    assert max(map(len, lines)) <= 80 and len(lines) == 2
    assert lines[1].startswith("encoder-decoder (L1+cGAN) seed 12")
    assert "step 2999/3000  0s left" in lines[1]


class Terminal(io.StringIO):
    """A terminal that can be closed."""

    is_gone = False

    def write(self, text):
        if self.is_gone:
            raise OSError(errno.EIO, "Input/output error")
        return super().write(text)


def test_a_closed_terminal_does_not_end_the_study():
    file, one = Terminal(), cell_job("a", "70x70 seed 1")
    bars = Bars([one], 1, Console(file=file, force_terminal=True, width=80, height=24))
    train(bars, one, 10)
    file.is_gone = True
    bars(one, {"event": "scores", "values": {"fcn.pixel_accuracy": 0.8131}})
    bars(one, {"event": "done", "seconds": 512.0})
    bars(one, {"event": "ended", "outcome": "done"})
    bars.close()
    assert bars.ended == ["done"]
