import pytest
from planned_jobs import cell_job

from experiments.progress import (
    Lines,
    duration,
    event_text,
    losses_text,
    scores_text,
)

VALUES = {"d_real": 0.6, "d_fake": 0.5, "g_gan": 1.25, "g_l1": 0.2}


JOB = cell_job("procedural")


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
    lines(JOB, {"event": "phase", "phase": "training", "total": 200})
    for step in range(1, 201):
        event = {"event": "losses", "step": step, "values": VALUES, "seconds_per_step": 0.5}
        lines(JOB, event)
    lines(JOB, {"event": "done", "seconds": 100.0})
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 1 + 11 + 1
    assert "step 100/200  50s left  L1 0.200  G 1.25  D 0.60/0.50" in err[6]
    assert err[-1].endswith("done in 1m40s")


def test_scores_stand_in_the_order_of_a_papers_table():
    values = {"fcn.pixel_accuracy": 0.8131, "fcn.class_accuracy": 0.5, "fcn.class_iou": 0.43}
    values |= {"color.L": 0.9, "color.a": 1.0, "lpips": 0.2514, "pixel.l1": 0.1}
    values |= {"fcn.class_iou/from-scratch": 0.4, "color.L/batch-4": 0.8}
    assert scores_text(values) == "FCN .813/.500/.430  Lab .90/1.00  LPIPS 0.251"


def test_a_file_that_was_set_aside_is_said(capsys):
    event = {"event": "set aside", "file": "checkpoint-0000007.pt.damaged", "error": "why"}
    Lines()(JOB, event | {"step": 3})
    assert "checkpoint-0000007.pt.damaged set aside: why" in capsys.readouterr().err


def test_the_end_says_what_was_no_training_and_a_slow_engine_says_why():
    done = {"event": "done", "seconds": 190.2, "outside": 0.062}
    assert event_text(done) == "done in 3m10s, 6 % of it outside training steps"
    assert event_text({"event": "done", "seconds": 0.0}) == "done"
    assert event_text({"event": "execution", "engine": "graph"}) == ""
    event = {"event": "execution", "engine": "paired", "instead_of": "graph", "error": "no stream"}
    assert "slower steps, without a CUDA graph: no stream" in event_text(event)
